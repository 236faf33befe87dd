"""Weights of others: synthetic files of every kind that is known, and what is wrong with files."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from nat.errors import CheckpointError, InputError
from nat.pretrained import store
from nat.pretrained.catalogue import load_supernet
from nat.pretrained.importing import Imported, import_weights
from nat.pretrained.published import published_spaces
from nat.pretrained.store import destination, save_new_supernet
from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.importance import contributions
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import Conventions, Head, Layer, Stage, Structure
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet

State = dict[str, Tensor]
Content = dict[str, Any]


def stirred(network: nn.Module) -> nn.Module:
    """The network with nothing at its neutral starting value, in evaluation mode."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("_matrix"):
                tensor.add_(0.1 * noise)
            elif name.endswith("running_var") or re.search(r"bn\.weight$", name):
                tensor.copy_(0.5 + noise.abs())
            elif name.endswith(("running_mean", "bias", "linear.weight")):
                tensor.copy_(0.3 * noise)
            elif tensor.ndim == 4:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
    return network.eval()


def legacy(name: str) -> str:
    """The spelling of the distributed files: `mobile_inverted_conv`, and one level of nesting less."""
    name = re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name)
    return re.sub(r"\b(bn|conv)\.\1\b", r"\1", name)


def renamed(state: Mapping[str, Tensor]) -> State:
    return {legacy(name): tensor.clone() for name, tensor in state.items()}


@torch.inference_mode()
def answers(network: nn.Module, *architecture: Any, size: int = 64) -> Tensor:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    found: Tensor = network(images, *architecture)
    return found


def alike(found: Tensor, expected: Tensor) -> bool:
    assert expected.std() > 0.01  # else anything would be alike
    return torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


# --- once-for-all's supernets

PROXYLESS = "ProxylessNAS, width 1.3"
KINDS = {
    "MobileNetV3, width 1.0": "ofa-mobilenetv3",
    "MobileNetV3, width 1.2": "ofa-mobilenetv3",
    PROXYLESS: "ofa-proxyless",
}


def save(imported: Imported, path: Path) -> None:
    save_new_supernet(imported.supernet, imported.card, path)


@pytest.fixture(scope="module")
def published() -> dict[str, Supernet]:
    made = {}
    for title, space in published_spaces().items():
        supernet = Supernet(space, 20, generator=torch.Generator().manual_seed(3))
        stirred(supernet)
        made[title] = supernet
    return made


def bare(state: State) -> Content:
    return dict(state)


def in_state_dict(state: State) -> Content:
    return {"state_dict": state, "epoch": 5}


def in_model_state_dict(state: State) -> Content:
    return {"model_state_dict": state}


def parallel(state: State) -> Content:
    return {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}


@pytest.mark.parametrize("title", KINDS)
@pytest.mark.parametrize("wrap", [bare, in_state_dict, in_model_state_dict, parallel])
def test_published_supernets_keep_their_function(
    tmp_path: Path, published: dict[str, Supernet], title: str, wrap: Callable[[State], Content]
) -> None:
    path, source = tmp_path / "ofa_w1.x", published[title]
    torch.save(wrap(renamed(source.state_dict())), path)
    imported = import_weights(path, "mine")
    assert (imported.kind, imported.card.title) == (KINDS[title], f"once-for-all {title}")
    assert imported.card.space == source.space and imported.card.num_classes == 20
    expected = len(source.state_dict())
    assert imported.fit.to_json() == {
        "matched": expected,
        "missing": 0,
        "unexpected": 0,
        "reshaped": 0,
        "names": {"matched": list(source.state_dict())[:3]},
    }
    for net in (source.space.smallest(), source.space.largest()):
        assert alike(answers(imported.supernet, net), answers(source, net))


def test_published_files_load_without_importing_as_well(tmp_path: Path, published: dict[str, Supernet]) -> None:
    source, path = published[PROXYLESS], tmp_path / "ofa_proxyless_d234_e346_k357_w1.3"
    torch.save({"state_dict": renamed(source.state_dict())}, path)
    loaded, card = load_supernet(path)
    assert (card.name, card.title) == (path.name, f"once-for-all {PROXYLESS}") and card.space == source.space
    assert alike(answers(loaded.eval(), source.space.largest()), answers(source, source.space.largest()))


def test_the_current_spelling_in_safetensors_without_counters(tmp_path: Path, published: dict[str, Supernet]) -> None:
    source = published[PROXYLESS]
    state = {name: t for name, t in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "ofa.safetensors")
    imported = import_weights(tmp_path / "ofa.safetensors", "mine")
    assert len(imported.fit.missing) == len(source.state_dict()) - len(state) > 50
    assert all(name.endswith("num_batches_tracked") for name in imported.fit.missing)
    assert alike(answers(imported.supernet, source.space.largest()), answers(source, source.space.largest()))


def test_what_was_imported_loads_as_any_supernet(tmp_path: Path, published: dict[str, Supernet]) -> None:
    source = published[PROXYLESS]
    torch.save(renamed(source.state_dict()), tmp_path / "file")
    imported = import_weights(tmp_path / "file", "mine")
    path = destination(tmp_path / "new" / "folder", "mine")
    save(imported, path)
    assert sorted(p.name for p in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]
    loaded, card = load_supernet(path)
    assert card == imported.card and card.recipe["source"] == "file" and len(card.recipe["sha256"]) == 64
    net = source.space.smallest()
    assert alike(answers(loaded.eval(), net), answers(source, net))
    assert loaded.get_submodule("blocks.1.conv.depth_conv.bn.bn").eps == 1e-3
    with pytest.raises(CheckpointError, match="has its card beside it: nothing to import"):
        import_weights(path, "again")


# --- single ProxylessNAS networks

NUMBERS = (1, 2, 5, 7, 9, 13, 14, 15, 16, 17, 20, 21)  # of the searched blocks; others were skipped
WIDTHS = {0: 16, 1: 24, 2: 24, 3: 32, 4: 40, 5: 48}
MIDDLES = (24, 48, 64, 72, 48, 96, 56, 64, 40, 96, 72, 80)
KERNELS = (5, 3, 7, 3, 5, 3, 3, 7, 5, 7, 3, 7)


@pytest.fixture(scope="module")
def network() -> Subnet:
    """A small network as ProxylessNAS has them, all numbers written out."""
    layers: dict[int, list[Layer]] = {stage: [] for stage in WIDTHS}
    for number, middle, kernel in zip(NUMBERS, MIDDLES, KERNELS, strict=True):
        layers[(number - 1) // 4].append(Layer(kernel, middle))
    stages = [
        Stage(WIDTHS[stage], stride, False, "relu6", layers=tuple(layers[stage]))
        for stage, stride in enumerate((2, 2, 2, 1, 2, 1))
    ]
    structure = Structure(
        "small",
        stem=16,
        stem_activation="relu6",
        fixed=8,
        fixed_activation="relu6",
        stages=tuple(stages),
        head=Head(expand=None, mix=64, bias=False, activation="relu6"),
        conventions=Conventions(epsilon=1e-3),
    )
    space = MobileNetSpace(1.0, (3, 5, 7), (1,), (1, 2, 3, 4), (64,), structure)
    made = Subnet(space, space.largest(), 9)
    assert len(made.blocks) == 1 + len(NUMBERS)
    stirred(made)
    return made


@pytest.fixture
def state(network: Subnet) -> State:
    """Its tensors as published files spell them."""

    def number(found: re.Match[str]) -> str:
        return f"blocks.{(0, *NUMBERS)[int(found[1])]}.mobile_inverted_conv."

    named = {re.sub(r"^blocks\.(\d+)\.conv\.", number, name): t.clone() for name, t in network.state_dict().items()}
    assert "blocks.7.mobile_inverted_conv.inverted_bottleneck.bn.running_var" in named
    return named


def write(tmp_path: Path, state: Mapping[str, Tensor], name: str = "net-w0.3-r176_imagenet.pth") -> Path:
    torch.save({"state_dict": dict(state)}, tmp_path / name)
    return tmp_path / name


def test_a_network_becomes_the_largest_subnet(tmp_path: Path, network: Subnet, state: State) -> None:
    imported = import_weights(write(tmp_path, state), "mine")
    space = imported.card.space
    assert (imported.kind, imported.card.num_classes, imported.card.name) == ("proxyless", 9, "mine")
    assert imported.card.mean == imported.card.std == (0.5, 0.5, 0.5)
    assert len(imported.fit.matched) == len(state) and not imported.fit.problems()
    assert alike(answers(imported.supernet, space.largest()), answers(network))
    assert space.resolutions == (128, 160, 176) and space.structure.name == "mine"
    assert [len(stage.layers or ()) for stage in space.structure.stages] == [2, 2, 1, 4, 2, 1]
    parameters = sum(t.numel() for name, t in state.items() if name.endswith((".weight", ".bias")))
    assert imported.facts()["largest"]["params"] == parameters
    assert imported.facts()["largest"]["resolution"] == 176
    small = answers(imported.supernet, space.smallest())
    assert small.isfinite().all() and not alike(small, answers(network))


def test_channels_are_sorted_so_that_shrinking_keeps_those_that_matter(tmp_path: Path, state: State) -> None:
    imported = import_weights(write(tmp_path, state), "mine")
    block = imported.supernet.get_submodule("blocks.3.conv")
    assert isinstance(block, ElasticInvertedResidual)
    importance = contributions(block)
    assert torch.equal(importance, importance.sort(descending=True).values)


@pytest.mark.parametrize(
    ("file", "size"), [("net.pth", 224), ("net-r96.pth", 96), ("net-rest.pth", 224), ("my-run-r50-net.pth", 224)]
)
def test_the_name_of_the_file_says_the_input_size(tmp_path: Path, state: State, file: str, size: int) -> None:
    imported = import_weights(write(tmp_path, state, file), "mine-r32")
    assert imported.card.space.resolutions[-1] == size


def test_names_of_known_families_stay_theirs(tmp_path: Path, network: Subnet, state: State) -> None:
    imported = import_weights(write(tmp_path, state), "proxyless")
    assert imported.card.space.structure.name == "proxyless-network"
    path = destination(tmp_path, "proxyless")
    save(imported, path)
    loaded, card = load_supernet(path)
    assert card.name == "proxyless"
    assert alike(answers(loaded.eval(), loaded.space.largest()), answers(network))


def test_supernets_of_single_networks_take_new_classes_and_train(tmp_path: Path, state: State) -> None:
    path = destination(tmp_path / "out", "mine")
    save(import_weights(write(tmp_path, state), "mine"), path)
    loaded, card = load_supernet(path)
    loaded.reset_classifier(3)
    loaded.train()(torch.randn(4, 3, 48, 48), card.space.smallest()).sum().backward()
    gradient = loaded.get_parameter("blocks.1.conv.inverted_bottleneck.conv.conv.weight").grad
    assert gradient is not None and gradient.abs().sum() > 0


@pytest.fixture
def shared_folder() -> Path:
    folder = Path(__file__).parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip(f"reference material {folder} is absent")
    return folder


def test_the_published_network(shared_folder: Path) -> None:
    path = shared_folder / "weights" / "proxyless-w0.3-r176_imagenet.pth"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    imported = import_weights(path, "w0.3")
    facts = imported.facts()
    content = torch.load(path, weights_only=True)["state_dict"]
    parameters = sum(t.numel() for name, t in content.items() if name.endswith((".weight", ".bias")))
    assert facts["tensors"]["matched"] == len(content) == 368 and not imported.fit.problems()
    assert facts["largest"] == {"macs": 38_282_216, "params": parameters, "resolution": 176}
    assert [len(stage.layers or ()) for stage in imported.card.space.structure.stages] == [2, 4, 4, 4, 4, 1]


# --- what is wrong with files


def refusal(path: Path) -> str:
    """The message that importing a file ends with: a line or two that name the file."""
    with pytest.raises(CheckpointError) as caught:
        import_weights(path, "mine")
    message = str(caught.value)
    assert path.name in message and len(message.splitlines()) <= 2 and len(message) < 500 + 2 * len(str(path))
    return message


MID = "blocks.5.mobile_inverted_conv.inverted_bottleneck.conv.weight"
OURS = "blocks.5.conv.inverted_bottleneck.conv.conv.weight"
SPATIAL = "blocks.5.mobile_inverted_conv.depth_conv.conv.weight"
POINT = "blocks.2.mobile_inverted_conv.point_linear.conv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(MID), rf"1 tensors missing \({OURS}\)"),
        (lambda s: s.pop(SPATIAL), r"1 tensors missing \(blocks.5.conv.depth_conv.conv.weight\)"),
        (lambda s: s.pop("feature_mix_layer.conv.weight"), r"1 tensors missing \(feature_mix_layer.conv.weight\)"),
        (lambda s: s.pop("blocks.5.mobile_inverted_conv.depth_conv.bn.bias"), "1 tensors missing"),
        (lambda s: s.update({"se.weight": torch.zeros(2)}), r"1 tensors unexpected \(se.weight\)"),
        (lambda s: s.update({MID: torch.zeros(64, 8, 1, 1)}), rf"1 tensors of other shapes or types \({OURS}\)"),
        (lambda s: s.update({MID: s[MID].to(torch.int32)}), r"1 tensors of other shapes or types"),
        (lambda s: s.update({SPATIAL: torch.zeros(64, 1, 3)}), "with 4 axes, none of them empty"),
        (lambda s: s.update({SPATIAL: torch.zeros(64, 1, 4, 4)}), "odd kernels .* got 4 x 4"),
        (lambda s: s.update({SPATIAL: torch.zeros(60, 1, 7, 7)}), "a multiple of 8 .* got 60"),
        (lambda s: s.update({SPATIAL: torch.zeros(0, 1, 7, 7)}), "none of them empty"),
        (lambda s: s.update({POINT: torch.zeros(32, 48, 1, 1)}), r"blocks 1, 2 \(stage 1\) .* got 16, 32"),
        (lambda s: s.update({"classifier.linear.weight": torch.zeros(9)}), "'classifier.linear.weight' with 2 axes"),
        (lambda s: s["classifier.linear.weight"].fill_(float("nan")), "not finite, in classifier.linear.weight"),
        (lambda s: s[MID].view(-1)[3:4].fill_(float("inf")), f"not finite, in {OURS}"),
        (lambda s: s["classifier.linear.weight"].fill_(3e38), "its smallest subnet are not finite"),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    tmp_path: Path, state: State, change: Callable[[State], object], message: str
) -> None:
    import_weights(write(tmp_path, state), "mine")  # so the change is what is wrong
    change(state)
    assert re.search(message, refusal(write(tmp_path, state)))


def moved(state: State, old: int, new: int) -> State:
    return {name.replace(f"blocks.{old}.", f"blocks.{new}."): tensor for name, tensor in state.items()}


def test_networks_of_other_stages_are_refused(tmp_path: Path, state: State) -> None:
    assert "which start at 1, 5, 9, 13, 17, 21, got blocks [1, 2, 5" in refusal(write(tmp_path, moved(state, 21, 25)))
    without = {name: tensor for name, tensor in state.items() if "blocks.9." not in name}
    assert "expected blocks of 6 stages" in refusal(write(tmp_path, without))
    none = {name: tensor for name, tensor in state.items() if not re.match(r"blocks\.[1-9]", name)}
    assert "expected blocks of 6 stages" in refusal(write(tmp_path, none))


def test_numbers_without_gaps_are_no_stages(tmp_path: Path, state: State) -> None:
    for place, number in enumerate(NUMBERS, start=1):
        state = moved(state, number, place)
    assert "expected blocks of 6 stages" in refusal(write(tmp_path, state))


def test_a_fixed_block_that_would_become_residual_is_refused(tmp_path: Path, state: State) -> None:
    state["blocks.0.mobile_inverted_conv.point_linear.conv.weight"] = torch.zeros(16, 16, 1, 1)
    assert "fewer channels behind block 0 than in front of it, got 16 and 16" in refusal(write(tmp_path, state))


def test_one_tensor_under_two_names_is_refused(tmp_path: Path, state: State) -> None:
    state["first_conv.bn.bn.weight"] = state["first_conv.bn.weight"]
    assert "under two names" in refusal(write(tmp_path, state))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("blocks.3.mobile_inverted_conv.depth_conv.conv.7to5_matrix"),
            "1 tensors missing .*7to5_matrix",
        ),
        (lambda s: s.update({"late.weight": torch.zeros(1)}), r"1 tensors unexpected \(late.weight\)"),
        (lambda s: s.update({"first_conv.bn.bias": torch.zeros(41)}), r"1 tensors of other .* \(first_conv.bn.bias\)"),
        (lambda s: s["feature_mix_layer.bn.bias"].fill_(float("nan")), "not finite, in feature_mix_layer.bn.bias"),
        (lambda s: s.pop("first_conv.conv.weight"), "with 'first_conv.conv.weight' and"),
    ],
)
def test_supernets_that_do_not_fit_are_refused(
    tmp_path: Path, published: dict[str, Supernet], change: Callable[[State], object], message: str
) -> None:
    state = renamed(published[PROXYLESS].state_dict())
    change(state)
    assert re.search(message, refusal(write(tmp_path, state)))


def test_many_tensors_are_counted_and_some_named(tmp_path: Path, published: dict[str, Supernet]) -> None:
    state = renamed(published[PROXYLESS].state_dict())
    state = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.7.")}
    assert re.search(r"17 tensors missing \((blocks\.7\.\S+, ){3}\.\.\.\)", refusal(write(tmp_path, state)))


def test_a_single_mobilenetv3_is_told_what_it_is(tmp_path: Path, published: dict[str, Supernet]) -> None:
    state = renamed(published["MobileNetV3, width 1.0"].state_dict())
    single = {name: tensor for name, tensor in state.items() if not name.endswith("_matrix")}
    assert "a single MobileNetV3 network: it has no kernel transforms" in refusal(write(tmp_path, single))


def test_networks_of_timm_are_pointed_to_grow(tmp_path: Path) -> None:
    path = tmp_path / "timm.safetensors"
    save_file({"conv_stem.weight": torch.zeros(16, 3, 3, 3)}, path)
    assert "nat checkpoints grow FILE --model" in refusal(path)
    save_file({}, path)
    assert "got 0 tensors" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, state: State, share: float) -> None:
    path = write(tmp_path, state)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("suffix", ["", ".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"hello", bytes(100), b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"other{suffix}").write_bytes(content)
    assert "damaged" in refusal(tmp_path / f"other{suffix}")


class Burglar:
    """Would make a folder when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_pickles_that_would_run_code_are_refused_and_do_not(tmp_path: Path, state: State) -> None:
    path, marker = tmp_path / "burglar.pth", tmp_path / "marker"
    torch.save({"state_dict": state, "extra": Burglar(marker)}, path)
    assert "wants to run code, which is refused" in refusal(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # so the test could have failed


# --- places


@pytest.fixture
def imported(tmp_path: Path, state: State) -> Imported:
    return import_weights(write(tmp_path, state, "source.pth"), "mine")


@pytest.mark.parametrize("there", ["mine.safetensors", "mine.json"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(InputError, match=rf"'.*{there}' is there already and stays as it is"):
        destination(tmp_path, "mine")
    assert (tmp_path / there).read_text() == "precious"


def test_places_that_are_none_are_named(tmp_path: Path, imported: Imported) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder as --out, got the file"):
        destination(tmp_path / "file", "mine")
    with pytest.raises(InputError, match=r"cannot write in '.*below'"):
        save(imported, tmp_path / "file" / "below" / "mine.safetensors")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "-x", "x\n"])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected a --name"):
        destination(tmp_path, name)


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def full_for_safetensors(*_: object) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("where", "function", "failure"), [(store, "save_file", full_for_safetensors), (Path, "write_text", full)]
)
@pytest.mark.parametrize("folder", [".", "new/folder"])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path,
    imported: Imported,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    function: str,
    failure: Callable[..., None],
    folder: str,
) -> None:
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / folder / "mine.safetensors"
    monkeypatch.setattr(where, function, failure)
    with pytest.raises(InputError, match="No space left on device"):
        save(imported, path)
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.undo()
    save(imported, path)
    assert json.loads(path.with_suffix(".json").read_text())["name"] == "mine"
