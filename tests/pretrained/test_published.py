from pathlib import Path

import pytest
import torch
from torch import Tensor

from nat.errors import CheckpointError
from nat.pretrained.published import plain_name, published_card, published_space, published_spaces
from nat.supernet.space import named_spaces
from nat.supernet.supernet import Supernet


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ofa_mbv3_d234_e346_k357_w1.0", "ofa_mbv3_d234_e346_k357_w1.0"),
        ("here/net-r176_imagenet.pth", "net-r176_imagenet"),
        ("net.v2.pth.tar", "net.v2"),
        ("w1.2.safetensors", "w1.2"),
    ],
)
def test_names_lose_what_says_the_format_only(file: str, name: str) -> None:
    assert plain_name(Path(file)) == name


# title: tensors, parameters (with 1000 classes), channels of the stem, epsilon (nat.md 2.2; once-for-all's model zoo)
FACTS = {
    "MobileNetV3, width 1.0": (475, 7_678_880, 16, 1e-5),
    "MobileNetV3, width 1.2": (475, 10_715_752, 24, 1e-5),
    "ProxylessNAS, width 1.3": (446, None, 40, 1e-3),
}


def shapes(title: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(Supernet(published_spaces()[title], 1000).state_dict())


def test_all_published_spaces_are_tested() -> None:
    assert published_spaces().keys() == FACTS.keys()


def test_all_published_spaces_have_names() -> None:
    assert all(space in named_spaces().values() for space in published_spaces().values())


@pytest.mark.parametrize("title", FACTS)
def test_published_supernets_are_told_apart(title: str) -> None:
    tensors, parameters, stem, epsilon = FACTS[title]
    state = shapes(title)
    assert published_space(state) == (title, published_spaces()[title], 1000)
    assert len(state) == tensors and state["first_conv.conv.weight"].shape[0] == stem
    with torch.device("meta"):
        supernet = Supernet(published_spaces()[title], 1000)
    assert parameters in (None, sum(p.numel() for p in supernet.parameters()))
    assert supernet.get_submodule("blocks.3.conv.depth_conv.bn.bn").eps == epsilon
    card = published_card("x", state)
    assert (card.title, card.trained_on) == (f"once-for-all {title}", "ImageNet-1k")
    state["classifier.linear.weight"] = state["classifier.linear.weight"][:7]
    assert (published_card("x", state).num_classes, published_card("x", state).trained_on) == (7, "images of 7 classes")


def test_the_last_stage_of_proxyless_has_one_layer() -> None:
    space = published_spaces()["ProxylessNAS, width 1.3"]
    assert [depths[-1] for depths in space.stage_depths] == [4, 4, 4, 4, 4, 1]
    widths = [space.slots[offset].out_channels for offset in space.stage_offsets]
    assert widths == [32, 56, 104, 128, 248, 416]  # what once-for-all makes of 24 to 320 times 1.3


def test_a_stem_does_not_do_without_its_head() -> None:
    state = shapes("MobileNetV3, width 1.0")
    del state["final_expand_layer.conv.weight"]
    with pytest.raises(CheckpointError, match=r"40 without it \(ProxylessNAS, width 1.3\), got 16"):
        published_space(state)
    state = shapes("ProxylessNAS, width 1.3")
    state["final_expand_layer.conv.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="got 40"):
        published_space(state)


@pytest.mark.parametrize("state", [{}, {"a": torch.zeros(1)}, {"first_conv.conv.weight": torch.zeros(16, 3, 3, 3)}])
def test_others_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match=rf"expected the weights .* got {len(state)} tensors"):
        published_space(state)
