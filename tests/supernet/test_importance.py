"""Sorting channels keeps functions and puts the important ones first."""

from collections.abc import Callable

import pytest
import torch

from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.importance import sort_channels
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

MakeSupernet = Callable[..., Supernet]
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def space() -> MobileNetSpace:
    return MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 4, 6), depths=(1, 2), resolutions=(64,))


def norms(supernet: Supernet, block: int) -> torch.Tensor:
    layer = supernet.blocks[block].get_submodule("conv")
    assert isinstance(layer, ElasticInvertedResidual)
    return layer.point_linear.conv.conv.weight.abs().sum((0, 2, 3))


def test_the_largest_network_stays_the_same_function_and_its_channels_are_sorted(
    space: MobileNetSpace, make_supernet: MakeSupernet
) -> None:
    supernet = make_supernet(space)
    nets = [space.largest(), space.uniform(3, 6, 1, 64), space.smallest()]
    before = [supernet(IMAGES, net) for net in nets]
    weight = supernet.blocks[3].state_dict()["conv.inverted_bottleneck.conv.conv.weight"].clone()
    sort_channels(supernet)
    for net, old in zip(nets[:2], before[:2], strict=True):
        torch.testing.assert_close(supernet(IMAGES, net), old, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(supernet(IMAGES, nets[2]), before[2], atol=1e-3), "other channels are in the slice"
    assert not torch.equal(weight, supernet.blocks[3].state_dict()["conv.inverted_bottleneck.conv.conv.weight"])
    for block in range(1, len(supernet.blocks)):
        importance = norms(supernet, block)
        assert (importance[:-1] >= importance[1:]).all()


def test_slices_that_have_been_trained_keep_their_functions(space: MobileNetSpace, make_supernet: MakeSupernet) -> None:
    supernet = make_supernet(space)
    nets = [space.uniform(5, expand, 2, 64) for expand in (6, 4, 2)]
    before = [supernet(IMAGES, net) for net in nets]
    sort_channels(supernet, trained=(4, 6))
    after = [supernet(IMAGES, net) for net in nets]
    for old, new in zip(before[:2], after[:2], strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after[2], before[2], atol=1e-3)
    importance, kept = norms(supernet, 4), supernet.space.slots[3].mid_channels(4)
    assert (importance[: kept - 1] >= importance[1:kept]).all()
    assert (importance[kept:-1] >= importance[kept + 1 :]).all()
