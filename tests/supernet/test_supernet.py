import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.encodings import at_resolution
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

MakeSupernet = Callable[..., Supernet]
SE = [5, 6, 7, 8, *range(13, 21)]
NORM = ("weight", "bias", "running_mean", "running_var")


def images_for(resolution: int, count: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, resolution, resolution, generator=torch.Generator().manual_seed(seed))


def nets_of(space: MobileNetSpace, count: int, seed: int = 0) -> list[Architecture]:
    sampled = space.decode(sample_uniform(space, count, np.random.default_rng(seed)))
    return [space.smallest(), *sampled, space.largest()]


# --- names and shapes of the published checkpoints (derived by instantiating once-for-all's class, f03b267)


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        supernet = Supernet(MobileNetSpace(width=1.0), 1000)
    return {name: tuple(tensor.shape) for name, tensor in supernet.state_dict().items()}


@pytest.mark.parametrize(("width", "params"), [(1.0, 7_678_880), (1.2, 10_715_752)])
def test_tensor_and_parameter_counts_are_the_published_ones(width: float, params: int) -> None:
    with torch.device("meta"):
        supernet = Supernet(MobileNetSpace(width=width), 1000)
    assert len(supernet.state_dict()) == 475
    assert sum(p.numel() for p in supernet.parameters()) == params


def test_tensor_names_are_the_published_ones(shapes: dict[str, tuple[int, ...]]) -> None:
    tensors = [*NORM, "num_batches_tracked"]
    expected = {"first_conv.conv.weight", "final_expand_layer.conv.weight", "feature_mix_layer.conv.weight"}
    expected |= {"classifier.linear.weight", "classifier.linear.bias"}
    expected |= {f"blocks.0.conv.{layer}.conv.weight" for layer in ("depth_conv", "point_linear")}
    for norm in ("first_conv", "final_expand_layer", "blocks.0.conv.depth_conv", "blocks.0.conv.point_linear"):
        expected |= {f"{norm}.bn.{name}" for name in tensors}
    for n in range(1, 21):
        block = f"blocks.{n}.conv"
        for layer in ("inverted_bottleneck", "depth_conv", "point_linear"):
            expected |= {f"{block}.{layer}.conv.conv.weight"} | {f"{block}.{layer}.bn.bn.{name}" for name in tensors}
        expected |= {f"{block}.depth_conv.conv.7to5_matrix", f"{block}.depth_conv.conv.5to3_matrix"}
        if n in SE:
            expected |= {f"{block}.depth_conv.se.fc.{fc}.{t}" for fc in ("reduce", "expand") for t in NORM[:2]}
    assert set(shapes) == expected


def test_tensor_shapes_are_the_published_ones(shapes: dict[str, tuple[int, ...]]) -> None:
    assert shapes["first_conv.conv.weight"] == (16, 3, 3, 3)
    assert shapes["blocks.0.conv.depth_conv.conv.weight"] == (16, 1, 3, 3)
    assert shapes["blocks.0.conv.point_linear.conv.weight"] == (16, 16, 1, 1)
    assert shapes["blocks.5.conv.depth_conv.se.fc.reduce.weight"] == (40, 144, 1, 1)
    assert shapes["blocks.5.conv.depth_conv.se.fc.expand.weight"] == (144, 40, 1, 1)
    assert shapes["final_expand_layer.conv.weight"] == (960, 160, 1, 1)
    assert shapes["feature_mix_layer.conv.weight"] == (1280, 960, 1, 1)
    assert shapes["classifier.linear.weight"] == (1000, 1280)
    outs = [16] + [width for width in (24, 40, 80, 112, 160) for _ in range(4)]
    for n in range(1, 21):
        block, mid = f"blocks.{n}.conv", 6 * outs[n - 1]
        assert shapes[f"{block}.inverted_bottleneck.conv.conv.weight"] == (mid, outs[n - 1], 1, 1)
        assert shapes[f"{block}.depth_conv.conv.conv.weight"] == (mid, 1, 7, 7)
        assert shapes[f"{block}.depth_conv.conv.7to5_matrix"] == (25, 25)
        assert shapes[f"{block}.depth_conv.conv.5to3_matrix"] == (9, 9)
        assert shapes[f"{block}.point_linear.conv.conv.weight"] == (outs[n], mid, 1, 1)


# --- elastic equals extracted


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_elastic_and_extracted_networks_answer_alike(
    any_space: MobileNetSpace, make_supernet: MakeSupernet, fast: bool, count: int
) -> None:
    supernet = make_supernet(any_space)
    for net in nets_of(any_space, 8):
        subnet = supernet.extract(net, fast=fast)
        assert not subnet.training
        for resolution in (32, 40, 57):
            images = images_for(resolution, count)
            with torch.no_grad():
                elastic, extracted = supernet(images, net), subnet(images)
            assert elastic.shape == (count, 7)
            assert elastic.std() > 1e-3
            torch.testing.assert_close(extracted, elastic, rtol=1e-5, atol=1e-5)


def test_elastic_and_extracted_networks_answer_alike_in_the_published_space(make_supernet: MakeSupernet) -> None:
    space = MobileNetSpace(width=1.2)
    supernet = make_supernet(space, num_classes=10)
    net = nets_of(space, 1)[1]
    with torch.no_grad():
        torch.testing.assert_close(
            supernet.extract(net)(images_for(64)), supernet(images_for(64), net), rtol=1e-5, atol=1e-5
        )


def test_elastic_and_extracted_networks_train_alike(any_space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    for seed, net in enumerate(nets_of(any_space, 4)):
        supernet = make_supernet(any_space, seed=seed).train()
        subnet = supernet.extract(net)
        assert subnet.training
        images = images_for(64, 4)
        torch.testing.assert_close(subnet(images), supernet(images, net), rtol=1e-4, atol=1e-4)
        # the running statistics of the slices moved alike
        again = supernet.extract(net).state_dict()
        for name, tensor in subnet.state_dict().items():
            if "running" in name:
                torch.testing.assert_close(tensor, again[name], rtol=1e-4, atol=1e-5)


# --- gradients


def support(supernet: Supernet, net: Architecture) -> dict[str, Tensor]:
    """For each parameter, a mask of the entries that the architecture uses (on maps no smaller than 4 x 4)."""
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in supernet.named_parameters()}
    active = {index: (kernel, expand) for index, kernel, expand in supernet.space.active_slots(net)}
    for name, mask in masks.items():
        found = re.match(r"blocks\.(\d+)\.conv\.(.*)", name)
        if found is None or found[1] == "0":
            continue
        slot = supernet.space.slots[int(found[1]) - 1]
        mask[...] = False
        if int(found[1]) - 1 not in active:
            continue
        kernel, expand = active[int(found[1]) - 1]
        mid = slot.mid_channels(expand)
        match found[2].split("."):
            case ["inverted_bottleneck", *_]:
                mask[:mid] = True
            case ["depth_conv", "conv", "conv", "weight"]:
                margin = 0 if kernel == 7 else 1  # a 3x3 kernel comes from the transformed 5x5, so from all its taps
                mask[:mid, :, margin : 7 - margin, margin : 7 - margin] = True
            case ["depth_conv", "conv", "7to5_matrix"]:
                rows = torch.arange(25).reshape(5, 5)
                mask[(rows if kernel == 5 else rows[1:4, 1:4]).flatten()] = kernel < 7
            case ["depth_conv", "conv", "5to3_matrix"]:
                mask[...] = kernel == 3
            case ["depth_conv", "bn", *_]:
                mask[:mid] = True
            case ["depth_conv", "se", "fc", layer, kind]:
                hidden = max(8, (mid // 4 + 4) // 8 * 8)
                hidden += 8 if hidden < 0.9 * (mid // 4) else 0
                first, second = (hidden, mid) if layer == "reduce" else (mid, hidden)
                mask[(slice(first), slice(second)) if kind == "weight" else slice(first)] = True
            case ["point_linear", "conv", *_]:
                mask[:, :mid] = True
            case ["point_linear", "bn", *_]:
                mask[...] = True
            case other:
                raise AssertionError(other)
    return masks


@pytest.mark.parametrize("number", range(4))
def test_gradients_reach_exactly_the_weights_in_use(
    space: MobileNetSpace, make_supernet: MakeSupernet, number: int
) -> None:
    supernet = make_supernet(space).train()
    net = nets_of(space, 2, seed=1)[number]
    supernet(images_for(128, 4), net).square().sum().backward()
    for name, mask in support(supernet, net).items():
        gradient = supernet.get_parameter(name).grad
        if not mask.any():
            assert gradient is None or not gradient.any(), name
            continue
        assert gradient is not None, name
        assert not gradient[~mask].any(), name
        # within a tensor, units behind a dead ReLU may have none
        assert gradient[mask].count_nonzero() > 0.2 * mask.sum(), name


def test_gradients_of_slices_are_those_of_the_extracted_network(
    space: MobileNetSpace, make_supernet: MakeSupernet
) -> None:
    supernet = make_supernet(space).train()
    net = space.uniform(7, 2, 1, 128)  # the full kernel, which is stored as it is used
    subnet = supernet.extract(net)
    for logits in (supernet(images_for(128, 4), net), subnet(images_for(128, 4))):
        logits.square().sum().backward()
    for place, (index, _, expand) in enumerate(space.active_slots(net), start=1):
        mid = space.slots[index].mid_channels(expand)
        elastic = supernet.blocks[index + 1].get_submodule("conv")
        plain = subnet.blocks[place].get_submodule("conv")
        assert isinstance(elastic, ElasticInvertedResidual)
        for name, cut in (
            ("inverted_bottleneck.conv.conv.weight", (slice(mid),)),
            ("depth_conv.conv.conv.weight", (slice(mid),)),
            ("point_linear.conv.conv.weight", (slice(None), slice(mid))),
            ("depth_conv.bn.bn.weight", (slice(mid),)),
        ):
            expected = plain.get_parameter(re.sub(r"(conv|bn)\.\1", r"\1", name)).grad
            actual = elastic.get_parameter(name).grad
            assert expected is not None and actual is not None
            scale = float(expected.abs().max())
            torch.testing.assert_close(actual[cut], expected, rtol=1e-3, atol=1e-4 * scale)


# --- no hidden state


def test_answers_do_not_depend_on_earlier_calls(any_space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    supernet, images = make_supernet(any_space), images_for(40)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    nets = nets_of(any_space, 3)
    with torch.no_grad():
        first = [supernet(images, net) for net in nets]
        for net in nets:
            supernet.extract(net)
        second = [supernet(images, net) for net in reversed(nets)][::-1]
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], first[-1])
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


def test_extracted_networks_share_no_memory_with_the_supernet(
    space: MobileNetSpace, make_supernet: MakeSupernet
) -> None:
    supernet = make_supernet(space)
    subnet = supernet.extract(space.largest())
    ours = {tensor.untyped_storage().data_ptr() for tensor in supernet.state_dict().values()}
    theirs = {tensor.untyped_storage().data_ptr() for tensor in subnet.state_dict().values()}
    assert not ours & theirs
    assert all(p.requires_grad and p.is_leaf for p in subnet.parameters())
    with torch.no_grad():
        before = subnet(images_for(32))
        for p in supernet.parameters():
            p.zero_()
        assert torch.equal(before, subnet(images_for(32)))


def test_images_of_any_size_are_taken_whatever_the_resolution(
    space: MobileNetSpace, make_supernet: MakeSupernet
) -> None:
    supernet, net = make_supernet(space), space.smallest()
    with torch.no_grad():
        same = [supernet(images_for(40), at_resolution(net, resolution)) for resolution in (32, 40, 128, 77)]
    assert all(torch.equal(same[0], other) for other in same)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Architecture((4,) * 5, (2,) * 5, (1,) * 5, 32, 0.25), r"'ks' among 3, 5, 7, got 4"),
        (Architecture((3,) * 5, (6,) * 5, (1,) * 5, 32, 0.25), r"'e' among 2, 3, got 6"),
        (Architecture((3,) * 7, (2,) * 7, (3, 1, 1, 1, 1), 32, 0.25), r"'d' among 1, 2, got 3"),
        (Architecture((3,) * 5, (2,) * 5, (1,) * 5, 32, 1.2), r"width 0\.25, got width 1\.2"),
    ],
)
def test_networks_of_other_spaces_are_refused_rather_than_run_wrongly(
    space: MobileNetSpace, make_supernet: MakeSupernet, net: Architecture, message: str
) -> None:
    supernet = make_supernet(space)
    for use in (lambda: supernet(images_for(32), net), lambda: supernet.extract(net)):
        with pytest.raises(InputError, match=message):
            use()


def test_reset_classifier_leaves_the_rest_alone(space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    supernet = make_supernet(space)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    supernet.reset_classifier(3, torch.Generator().manual_seed(0))
    assert supernet(images_for(32), space.smallest()).shape == (2, 3)
    assert supernet.extract(space.smallest()).num_classes == 3
    changed = {name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classifier.linear.weight", "classifier.linear.bias"}


def test_initial_weights_come_from_the_generator(space: MobileNetSpace) -> None:
    first, second, other = (Supernet(space, 5, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.first_conv[0].weight, other.first_conv[0].weight)


def test_extracted_network_survives_torch_export(any_space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    subnet = make_supernet(any_space).extract(any_space.uniform(5, any_space.expands[-1], 1, 32), fast=True)
    images = images_for(32)
    exported = torch.export.export(subnet, (images,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images), subnet(images), rtol=1e-5, atol=1e-5)
