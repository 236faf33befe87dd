"""Sorting the expanded channels of every block by importance, so that slices keep the channels that matter.

Once-for-all (Cai et al., ICLR 2020) does it before expand ratios become elastic, by the L1 norm of the weights with
which the projection reads a channel. For a trained network that was never sliced `contributions` tell more: batch norm
says how much of the block's output comes from each channel.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.slots import squeeze_channels
from nat.supernet.supernet import Supernet

Importance = Callable[[ElasticInvertedResidual], Tensor]
SAMPLES = 2048  # of a standard normal variable, at even steps of its distribution


def projection_norms(block: ElasticInvertedResidual) -> Tensor:
    """L1 norm of the weights with which the projection reads each expanded channel, shape (channels,)."""
    norms: Tensor = block.point_linear.conv.conv.weight.abs().sum((0, 2, 3))
    return norms


def contributions(block: ElasticInvertedResidual) -> Tensor:
    """How much each expanded channel moves the block's normalised output, shape (channels,).

    The standard deviation of the channel behind its activation, which batch norm's scale and shift give if what comes
    in is normal, times the L2 norm of the weights that read it, in units of the output's own scale. Squeeze-and-excite
    is left out.
    """
    even = (torch.arange(SAMPLES) + 0.5) / SAMPLES
    normal = torch.special.ndtri(even)[:, None]
    inner, outer = block.depth_conv.bn.bn, block.point_linear.bn.bn
    deviation = block.depth_conv.act(normal * inner.weight.cpu() + inner.bias.cpu()).std(dim=0)
    assert outer.running_var is not None
    gain = outer.weight / (outer.running_var + outer.eps).sqrt()
    weights = block.point_linear.conv.conv.weight[:, :, 0, 0] * gain[:, None]
    found: Tensor = weights.norm(dim=0) * deviation.to(weights)
    return found


@torch.no_grad()
def sort_channels(supernet: Supernet, trained: Sequence[float] = (), importance: Importance = projection_norms) -> None:
    """Sorts channels, most important first; the function of the largest network stays the same.

    Args:
        supernet: changed in place.
        trained: expand ratios that have been trained as slices: no channel leaves the smallest slice that it is in,
            so that their functions stay the same as well.
        importance: of the expanded channels of a block.
    """
    for block in list(supernet.blocks)[1:]:
        layer = block.get_submodule("conv")
        assert isinstance(layer, ElasticInvertedResidual)
        _sort_block(layer, sorted(trained), importance)


def _sort_block(block: ElasticInvertedResidual, trained: Sequence[float], importance: Importance) -> None:
    mids = [block.slot.mid_channels(expand) for expand in trained]
    project = block.point_linear.conv.conv.weight
    order = _order(importance(block), mids)
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
