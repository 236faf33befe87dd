"""Larger spaces around trained networks, without changing their functions; and spaces in which they only shrink.

    >>> grown = grow(source, grown_space(source.space.structure))
    >>> grown(images, counterpart(source.space.largest(), source.space, grown.space))  # the source's own logits

What is added can be trained but has no effect yet (Net2Net, Chen et al., ICLR 2016): kernels sit in the centre of
larger ones with zeros around; additional expanded channels have fresh incoming and zero outgoing weights; additional
layers are residual blocks whose last batch norm has no gain. The largest subnets of `grown_space` cost two to three
times the source; those of `shrink_space` at most as much.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.importance import contributions, sort_channels
from nat.supernet.slots import Slot, squeeze_channels
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import Structure
from nat.supernet.supernet import Supernet

SHARES = (0.5, 0.75, 1.0)
LEAST_RATIO = 3
RESOLUTIONS = tuple(range(128, 257, 32))


def shrink_space(structure: Structure, shares: Sequence[float] = SHARES) -> MobileNetSpace:
    """The space whose largest network is the one that a structure with limits for each layer describes.

    A layer keeps three times its input's channels, which is NAT's least expand ratio, or all that it has.

    Args:
        structure: every stage has `layers`.
        shares: of a layer's expanded channels, ascending, the last 1.
    """
    structure = _with_least_widths(structure)
    layers = [stage.layers or () for stage in structure.stages]
    kernels = {3, *(layer.kernel for stage in layers for layer in stage)}
    deepest = max(map(len, layers))
    return MobileNetSpace(
        width=1.0,
        kernels=tuple(sorted(kernels)),
        expands=tuple(shares),
        depths=tuple(range(min(2, deepest), deepest + 1)),
        resolutions=RESOLUTIONS,
        structure=structure,
    )


def _with_least_widths(structure: Structure) -> Structure:
    stages, channels = [], structure.fixed
    for stage in structure.stages:
        inputs = [channels, *[stage.width] * (len(stage.layers or ()) - 1)]
        pairs = zip(stage.layers or (), inputs, strict=True)
        layers = tuple(replace(layer, least=min(1.0, LEAST_RATIO * width / layer.expanded)) for layer, width in pairs)
        stages.append(replace(stage, layers=layers))
        channels = stage.width
    return replace(structure, stages=tuple(stages))


def grown_space(structure: Structure) -> MobileNetSpace:
    """NAT's choices (kernels 3, 5, 7; expand ratios 3, 4, 6; depths from 2 on) around a structure, without its limits.

    A last stage of one layer stays so, as in ProxylessNAS.
    """
    *stages, last = structure.stages
    single = last.layers is not None and len(last.layers) == 1
    free = [replace(stage, layers=None) for stage in stages]
    free.append(replace(last, layers=None, most=1 if single else None))
    named = replace(structure, name=f"{structure.name}-grown", stages=tuple(free))
    deepest = max(4, *(len(stage.layers or ()) for stage in structure.stages))
    depths = tuple(range(2, deepest + 1))
    return MobileNetSpace(width=1.0, depths=depths, resolutions=RESOLUTIONS, structure=named)


def counterpart(architecture: Architecture, source: MobileNetSpace, target: MobileNetSpace) -> Architecture:
    """The least architecture of a grown space that contains one of its source's, at the same resolution.

    Raises:
        InputError: the target has no room for a layer of it.
    """
    for stage, (depth, legal) in enumerate(zip(architecture.depths, target.stage_depths, strict=True), start=1):
        if depth not in legal:
            raise InputError(f"expected a depth among {list(legal)} in stage {stage}, got {depth}.")
    expands = []
    for index, kernel, expand in source.active_slots(architecture):
        place = _place(source.slots[index], target)
        mid, slot = source.slots[index].mid_channels(expand), target.slots[place]
        room = [ratio for ratio in slot.expands if slot.mid_channels(ratio) >= mid]
        if kernel not in slot.kernels or not room:
            raise InputError(f"expected room for {mid} channels and a kernel of {kernel} in layer {place + 1}.")
        expands.append(room[0])
    return replace(architecture, expands=tuple(expands), width=target.width, family=target.structure.name)


def _place(slot: Slot, target: MobileNetSpace) -> int:
    """Index of the slot of a larger space that is at the same place as a slot."""
    return target.stage_offsets[slot.stage] + slot.layer


@torch.no_grad()
def grow(source: Supernet, space: MobileNetSpace, generator: torch.Generator | None = None) -> Supernet:
    """A supernet of a larger space that has the source's function at the source's largest architecture and above.

    Args:
        source: its largest subnet is kept; channels need not be sorted.
        space: of the same stem, stages and head, with at least as many layers, channels and kernel sizes.
        generator: of what is added.

    Returns:
        The supernet, in evaluation mode, its channels sorted by importance.
    """
    counterpart(source.space.largest(), source.space, space)  # says what there is no room for
    source = deepcopy(source)
    sort_channels(source, importance=contributions)
    grown = Supernet(space, source.num_classes, generator=generator)
    own = grown.state_dict()
    for name, tensor in source.state_dict().items():
        if not name.startswith("blocks.") or name.startswith("blocks.0."):
            own[name].copy_(tensor)
    filled = {_place(slot, space): index for index, slot in enumerate(source.space.slots)}
    for place in range(len(space.slots)):
        if place in filled:
            _embed(_block(source, filled[place]), _block(grown, place))
        else:
            _block(grown, place).point_linear.bn.bn.weight.zero_()
    return grown.eval()


def _block(supernet: Supernet, slot: int) -> ElasticInvertedResidual:
    block = supernet.blocks[1 + slot].get_submodule("conv")
    assert isinstance(block, ElasticInvertedResidual)
    return block


def _embed(source: ElasticInvertedResidual, target: ElasticInvertedResidual) -> None:
    """Copies a block into the first channels of a larger one, whose other channels reach nothing yet."""
    mid = source.inverted_bottleneck.conv.conv.out_channels
    target.inverted_bottleneck.conv.conv.weight[:mid] = source.inverted_bottleneck.conv.conv.weight
    _centre(source.depth_conv.conv.kernel(mid, source.slot.kernels[-1]), target.depth_conv.conv.conv.weight[:mid])
    project = target.point_linear.conv.conv.weight
    project.zero_()
    project[:, :mid] = source.point_linear.conv.conv.weight
    for layer in ("inverted_bottleneck", "depth_conv", "point_linear"):
        norms = (block.get_submodule(f"{layer}.bn.bn").state_dict() for block in (source, target))
        for old, new in zip(*(norm.values() for norm in norms), strict=True):
            new[: len(old)].copy_(old) if old.ndim else new.copy_(old)
    if source.slot.squeeze_excite:
        _embed_excite(source, target, mid)


def _embed_excite(source: ElasticInvertedResidual, target: ElasticInvertedResidual, mid: int) -> None:
    """The source's channels are scaled by what its own hidden units say of its own channels, as before."""
    hidden = squeeze_channels(mid)
    old, new = (block.depth_conv.get_submodule("se.fc").state_dict() for block in (source, target))
    new["reduce.weight"][:hidden] = 0
    new["expand.weight"][:mid] = 0
    new["reduce.weight"][:hidden, :mid] = old["reduce.weight"]
    new["expand.weight"][:mid, :hidden] = old["expand.weight"]
    new["reduce.bias"][:hidden] = old["reduce.bias"]
    new["expand.bias"][:mid] = old["expand.bias"]


def _centre(small: Tensor, large: Tensor) -> None:
    """Writes kernels (c, 1, k, k) into the middle of larger ones, with zeros around."""
    margin = (large.shape[-1] - small.shape[-1]) // 2
    large.zero_()
    large[:, :, margin : margin + small.shape[-1], margin : margin + small.shape[-1]] = small
