"""Sorting the expanded channels of every block by importance, so that slices keep the channels that matter.

Once-for-all (Cai et al., ICLR 2020) does it before expand ratios become elastic. Importance is the L1 norm of the
weights with which the projection reads a channel.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.space import squeeze_channels
from nat.supernet.supernet import Supernet


@torch.no_grad()
def sort_channels(supernet: Supernet, trained: Sequence[float] = ()) -> None:
    """Sorts channels, most important first; the function of the largest network stays the same.

    Args:
        supernet: changed in place.
        trained: expand ratios that have been trained as slices: no channel leaves the smallest slice that it is in,
            so that their functions stay the same as well.
    """
    for block in list(supernet.blocks)[1:]:
        layer = block.get_submodule("conv")
        assert isinstance(layer, ElasticInvertedResidual)
        _sort_block(layer, sorted(trained))


def _sort_block(block: ElasticInvertedResidual, trained: Sequence[float]) -> None:
    mids = [block.slot.mid_channels(expand) for expand in trained]
    project = block.point_linear.conv.conv.weight
    order = _order(project.abs().sum((0, 2, 3)), mids)
    _reorder(project, order, 1)
    for layer in (block.inverted_bottleneck, block.depth_conv):
        _reorder(layer.conv.conv.weight, order)
        for tensor in layer.bn.bn.state_dict().values():
            if tensor.ndim:
                _reorder(tensor, order)
    if block.slot.squeeze_excite:
        fc = block.depth_conv.get_submodule("se.fc")
        reduce, expand = fc.get_parameter("reduce.weight"), fc.get_parameter("expand.weight")
        _reorder(reduce, order, 1)
        _reorder(expand, order)
        _reorder(fc.get_parameter("expand.bias"), order)
        hidden = _order(expand.abs().sum((0, 2, 3)), [squeeze_channels(mid) for mid in mids])
        _reorder(expand, hidden, 1)
        _reorder(reduce, hidden)
        _reorder(fc.get_parameter("reduce.bias"), hidden)


def _order(importance: Tensor, borders: Sequence[int]) -> Tensor:
    """Indices that sort by falling importance within each bracket between borders."""
    edges = sorted({0, len(importance), *borders})
    brackets = [start + importance[start:stop].argsort(descending=True, stable=True) for start, stop in pairwise(edges)]
    return torch.cat(brackets)


def _reorder(tensor: Tensor, order: Tensor, dim: int = 0) -> None:
    tensor.copy_(tensor.index_select(dim, order))
