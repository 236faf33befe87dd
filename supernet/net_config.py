"""NAT's `net.config` files: a network as JSON, layer by layer as it is built. Once-for-all's MobileNetV3 has the same.

Only networks of NAT's space are read; what the file says beyond an architecture (channels, strides,
squeeze-and-excite) must be as the space has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from nat.errors import InputError
from nat.supernet.architecture import Architecture, whole_numbers
from nat.supernet.slots import Slot
from nat.supernet.space import MobileNetSpace

NAT_WIDTHS = (1.0, 1.2)
USUAL_RESOLUTION = 224  # where a config says none: what NAT's evaluation falls back to
Layer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NetConfig:
    """What a file says.

    Attributes:
        architecture: the network.
        num_classes: outputs of its classifier.
        says_resolution: whether it does; most of NAT's do not.
        remarks: sentences on what an architecture cannot say.
    """

    architecture: Architecture
    num_classes: int
    says_resolution: bool
    remarks: tuple[str, ...]


def read_net_config(config: Mapping[str, Any]) -> NetConfig:
    """Reads the content of a `net.config`, in either spelling of its blocks.

    Raises:
        InputError: a field is missing or of the wrong kind, or the network is not of NAT's space.
    """
    try:
        fixed, *layers = [block.get("mobile_inverted_conv") or block["conv"] for block in config["blocks"]]
        space = _space(config["first_conv"]["out_channels"])
        resolution = config.get("img_size")
        architecture = _architecture(space, layers, resolution or USUAL_RESOLUTION)
        slots = [space.slots[index] for index, _, _ in space.active_slots(architecture)]
        _check_layers(layers, slots)
        head = (config["final_expand_layer"], config["feature_mix_layer"])
        _check_outer(space, (fixed, *head))
        found = [str(layer["act_func"]) for layer in (config["first_conv"], fixed, *layers, *head)]
        usual = found == list(_activations(space, slots))
        remarks = () if usual else (_other_activations(found),)
        (num_classes,) = whole_numbers([config["classifier"]["out_features"]], "classes")
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise InputError(f"expected a net.config of NAT; a field is missing or malformed: {error}.") from error
    return NetConfig(architecture, num_classes, bool(resolution), remarks)


def _space(stem: object) -> MobileNetSpace:
    """The space of a number of channels of the stem."""
    for width in NAT_WIDTHS:
        space = MobileNetSpace(width=width)
        if space.channels(space.structure.stem) == stem:
            return space
    raise InputError(f"expected a net.config with a stem of 16 (width 1.0) or 24 channels (width 1.2), got {stem}.")


def _architecture(space: MobileNetSpace, layers: Sequence[Layer], resolution: int) -> Architecture:
    """The architecture of layers, which are of one stage as long as their output channels are the same."""
    stages = [(width, len(list(same))) for width, same in groupby(layer["out_channels"] for layer in layers)]
    expected = [space.channels(stage.width) for stage in space.structure.stages]
    _demand("the output channels of its stages", [width for width, _ in stages], expected)
    architecture = Architecture(
        kernels=tuple(layer["kernel_size"] for layer in layers),
        expands=tuple(layer["expand_ratio"] for layer in layers),
        depths=tuple(depth for _, depth in stages),
        resolution=resolution,
        width=space.width,
    )
    space.validate_layers(architecture)
    return architecture


def _check_layers(layers: Sequence[Layer], slots: Sequence[Slot]) -> None:
    for number, (layer, slot) in enumerate(zip(layers, slots, strict=True), start=1):
        expected = {"in_channels": slot.in_channels, "stride": slot.stride, "use_se": slot.squeeze_excite}
        if layer.get("mid_channels") is not None:  # may be left to the expand ratio
            expected["mid_channels"] = slot.mid_channels(layer["expand_ratio"])
        _demand(f"layer {number}", {key: layer[key] for key in expected}, expected)


def _check_outer(space: MobileNetSpace, layers: Sequence[Layer]) -> None:
    """Checks block 0 and the two layers of the head."""
    structure = space.structure
    expected = [space.channels(base) for base in (structure.fixed, structure.head.expand or 0, structure.head.mix)]
    _demand("the output channels of block 0 and the head", [layer["out_channels"] for layer in layers], expected)


def _demand(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InputError(f"expected a net.config of NAT's space, where {what} would be {expected}, got {found}.")


def _activations(space: MobileNetSpace, slots: Sequence[Slot]) -> Iterator[str]:
    """Those of NAT's space: of the stem, block 0, the layers and the head."""
    yield space.structure.stem_activation
    yield space.structure.fixed_activation
    yield from (slot.activation for slot in slots)
    yield from 2 * [space.structure.head.activation]


def _other_activations(found: Sequence[str]) -> str:
    kinds = sorted(set(found))
    named = (
        f"{kinds[0]} throughout" if len(kinds) == 1 else f"{' and '.join(kinds)}, in other places than in NAT's space"
    )
    return (
        f"its activations are {named}: its weights in this architecture would be another function. Multiply-adds and "
        "parameters are the same."
    )
