"""Single ProxylessNAS networks, as their published files spell them, as the largest subnet of a space of their own.

Everything is read off the shapes: widths, kernels, expanded channels, and which layers there are. What shapes do not
say is the family's (Cai et al., ICLR 2019): six stages of up to four layers and the strides below, ReLU6, no
squeeze-and-excite, batch norm with epsilon 1e-3, and images scaled to [-1, 1].

Blocks are numbered as in the search, with gaps where it chose to have no layer: blocks 1 to 4 are of the first stage.
"""

import re
from collections.abc import Mapping
from itertools import groupby

import torch
from torch import Tensor

from nat.errors import CheckpointError
from nat.pretrained.card import Card
from nat.pretrained.fitting import Fit, fitted
from nat.pretrained.published import CLASSIFIER, FINAL_EXPAND, STEM, TRANSFORM, flattened
from nat.supernet.growth import shrink_space
from nat.supernet.structure import PROXYLESS, Head, Layer, Stage, Structure, named_structures
from nat.supernet.supernet import Supernet

SLOTS = 4
STRIDES = (2, 2, 2, 1, 2, 1)
USUAL_SIZE = 224
SIZES = range(32, 513, 8)  # in pixels; other numbers in a name are about something else
SCALE = (0.5, 0.5, 0.5)  # mean and std
FIXED = "blocks.0.conv.point_linear.conv.weight"
MIX = "feature_mix_layer.conv.weight"


def is_proxyless(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names of a single ProxylessNAS network."""
    flat = {flattened(name) for name in state}
    return {STEM, CLASSIFIER} <= flat and FINAL_EXPAND not in flat and not any(map(_is_transform, flat))


def convert(state: Mapping[str, Tensor], name: str, size: int) -> tuple[Supernet, Card, Fit]:
    """The network as the largest subnet of a space in which depths and expanded widths can only shrink.

    Args:
        state: tensors of the file.
        name: for the card and the structure.
        size: input size of the largest subnet, in pixels.

    Returns:
        The supernet, its channels in the network's order; its card; and how the tensors compare with those of the
        network, whose blocks are numbered as in the file.

    Raises:
        CheckpointError: the tensors are not those of a ProxylessNAS network, or of one that cannot be had here.
    """
    flat = {flattened(key): tensor for key, tensor in state.items()}
    numbers = _numbers(flat)
    space = shrink_space(_structure(flat, name, numbers))
    space = space.with_resolutions([*(smaller for smaller in space.resolutions if smaller < size), size])
    with torch.device("meta"):
        supernet = Supernet(space, _shape(flat, CLASSIFIER, 2)[0])
    own = supernet.state_dict()
    ours = {_renumbered(key, [0, *numbers]): key for key in own if not _is_transform(key)}
    tensors, fit = fitted(state, {theirs: own[key] for theirs, key in ours.items()})
    identities = {key: torch.eye(len(like)) for key, like in own.items() if _is_transform(key)}
    supernet.load_state_dict({ours[theirs]: tensor for theirs, tensor in tensors.items()} | identities, assign=True)
    title = "ProxylessNAS network, elastic by shrinking"
    return supernet, Card(name, title, space, supernet.num_classes, SCALE, SCALE, elastic=False), fit


def input_size(file_name: str) -> int:
    """The input size in pixels that a published file's name says, as in `proxyless-w0.3-r176_imagenet`; else 224."""
    said = re.search(r"-r(\d{2,3})(?!\d)", file_name)
    return int(said[1]) if said and int(said[1]) in SIZES else USUAL_SIZE


def _is_transform(name: str) -> bool:
    return name.endswith(TRANSFORM)


def _renumbered(name: str, numbers: list[int]) -> str:
    """The name of a tensor of ours with its block's number in the file."""
    return re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{numbers[int(found[1])]}.", name)


# --- the structure -------------------------------------------------------------------------------------------------


def _numbers(flat: Mapping[str, Tensor]) -> list[int]:
    """Numbers of the searched blocks that there are, ascending."""
    found = {int(match[1]) for key in flat if (match := re.match(r"blocks\.(\d{1,4})\.", key))}
    return sorted(found - {0})


def _structure(flat: Mapping[str, Tensor], name: str, numbers: list[int]) -> Structure:
    stem, fixed, mix = (_channels(flat, key) for key in (STEM, FIXED, MIX))
    if stem == fixed:
        raise CheckpointError(
            f"expected fewer channels behind block 0 than in front of it, got {fixed} and {stem}. With as many, the "
            "block would add its input here, which it does not in ProxylessNAS. Take a wider network."
        )
    stages = {stage: list(layers) for stage, layers in groupby(numbers, lambda number: (number - 1) // SLOTS)}
    if list(stages) != list(range(len(STRIDES))):
        firsts = ", ".join(str(1 + SLOTS * stage) for stage in range(len(STRIDES)))
        raise CheckpointError(
            f"expected blocks of {len(STRIDES)} stages, which start at {firsts}, got blocks {numbers or 'of none'}."
        )
    return Structure(
        name=f"{name}-network" if name in named_structures() else name,
        stem=stem,
        stem_activation="relu6",
        fixed=fixed,
        fixed_activation="relu6",
        stages=tuple(_stage(flat, stage, layers) for stage, layers in stages.items()),
        head=Head(expand=None, mix=mix, bias=False, activation="relu6"),
        conventions=PROXYLESS.conventions,
    )


def _stage(flat: Mapping[str, Tensor], stage: int, numbers: list[int]) -> Stage:
    widths = [_channels(flat, f"blocks.{number}.conv.point_linear.conv.weight") for number in numbers]
    if len(set(widths)) > 1:
        raise CheckpointError(
            f"expected blocks {', '.join(map(str, numbers))} (stage {stage + 1}) to have equally many output channels, "
            f"got {', '.join(map(str, widths))}."
        )
    layers = tuple(_layer(flat, f"blocks.{number}.conv.depth_conv.conv.weight") for number in numbers)
    return Stage(widths[0], STRIDES[stage], False, "relu6", layers=layers)


def _layer(flat: Mapping[str, Tensor], spatial: str) -> Layer:
    kernel = _shape(flat, spatial, 4)[-1]
    if kernel % 2 == 0:
        raise CheckpointError(f"expected odd kernels in '{spatial}', got {kernel} x {kernel}.")
    return Layer(kernel, _channels(flat, spatial))


def _channels(flat: Mapping[str, Tensor], name: str) -> int:
    """Output channels of a convolution."""
    channels = _shape(flat, name, 4)[0]
    if channels < 8 or channels % 8:
        raise CheckpointError(f"expected a multiple of 8 as output channels of '{name}', got {channels}.")
    return channels


def _shape(flat: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in flat:
        raise CheckpointError(f"it does not hold the tensors of a ProxylessNAS network: 1 tensors missing ({name}).")
    shape = tuple(flat[name].shape)
    if len(shape) != axes or not all(shape):
        raise CheckpointError(f"expected '{name}' with {axes} axes, none of them empty, got shape {list(shape)}.")
    return shape
