"""Trained networks of timm as the largest subnet of a space of their own.

    >>> source, card = convert(create_timm("mobilenetv3_large_100"), "mobilenetv3_large_100")
    >>> source(images, card.space.largest())  # the network's own logits

Everything is read off the network: widths, kernels, activations, padding, squeeze-and-excite, head. So whatever timm
builds of a stem, one depthwise-separable block, stages of inverted residual blocks and one of two heads will do; those
of `TESTED` are tested.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from timm import create_model, is_model, is_model_pretrained
from timm.layers import Conv2dSame  # type: ignore[attr-defined]  # not marked as a re-export
from timm.models._efficientnet_blocks import ConvBnAct, DepthwiseSeparableConv, InvertedResidual, SqueezeExcite
from torch import Tensor, nn

from nat.errors import CheckpointError, InputError, reason_of
from nat.pretrained.card import Card
from nat.pretrained.fitting import check_finite, compare, named_in_errors
from nat.pretrained.published import trained_on
from nat.pretrained.store import read_tensors
from nat.pretrained.timm_hub import published
from nat.supernet.growth import shrink_space
from nat.supernet.slots import squeeze_channels
from nat.supernet.structure import Conventions, Head, Layer, Stage, Structure
from nat.supernet.supernet import Supernet

TESTED = (
    *("mobilenetv3_large_075", "mobilenetv3_large_100"),
    *("tf_mobilenetv3_large_075", "tf_mobilenetv3_large_100", "tf_mobilenetv3_large_minimal_100"),
    *("mobilenetv2_035", "mobilenetv2_050", "mobilenetv2_075", "mobilenetv2_100", "mobilenetv2_140"),
    *("mobilenetv2_110d", "mobilenetv2_120d"),
)
FAMILIES = f"MobileNetV3-Large or MobileNetV2 of timm ({', '.join(TESTED)})"
_ACTIVATIONS = {"ReLU": "relu", "ReLU6": "relu6", "Hardswish": "h_swish", "HardSwish": "h_swish"}


def load_timm(model: str, weights: Path | None = None) -> nn.Module:
    """A network of timm in evaluation mode, with its published weights or those of a file in timm's format.

    Args:
        model: name of a timm model, such as `mobilenetv3_large_100`.
        weights: safetensors or pickled state dict; None has timm download the published ones, or take them from its
            cache.

    Raises:
        InputError: timm has no such model, it is of no family that can be converted, or the published weights cannot be
            had.
        CheckpointError: the file cannot be used, or is of another network.
    """
    check_family(model)  # before anything is downloaded
    return load_any(model, weights, f"FILE --model {model}")


def load_any(model: str, weights: Path | None, spelling: str) -> nn.Module:
    """What `load_timm` gives, of any family.

    Args:
        model: likewise.
        weights: likewise.
        spelling: how a command names a file instead, for the error.

    Raises:
        InputError: the published weights cannot be had.
        CheckpointError: as for `load_timm`.
    """
    if weights is None:
        return published(model, spelling)
    state = read_tensors(weights)
    network: nn.Module = create_model(model, pretrained=False, num_classes=_classes(state))
    with named_in_errors(weights):
        _check_fit(network.state_dict(), state, model)
    network.load_state_dict(state)
    return network.eval()


def check_family(model: str) -> None:
    """Raises `InputError` unless timm has the model and it can be converted; needs no weights."""
    check_known(model)
    with torch.device("meta"):
        _structure(create_model(model, pretrained=False), model)


def check_known(model: str) -> None:
    """Raises `InputError` unless timm has the model."""
    if not is_known(model):
        raise InputError(f"expected the name of a timm model, got '{model}': see timm.list_models().")


def is_known(model: str) -> bool:
    """Whether timm has a model of that name, which may end in the tag of published weights: `NAME.TAG`."""
    return is_model(model) and ("." not in model or is_model_pretrained(model))


def _classes(state: dict[str, Tensor]) -> int:
    weight = state.get("classifier.weight")
    return weight.shape[0] if weight is not None and weight.ndim == 2 and len(weight) else 1000


def _check_fit(expected: dict[str, Tensor], state: dict[str, Tensor], model: str) -> None:
    """Raises `CheckpointError` unless the tensors are those of the model, and finite."""
    fit = compare(state, expected)
    if problems := fit.problems():
        raise CheckpointError(
            f"it does not hold the weights of timm's {model}: {problems}. Name the model that they are of."
        )
    check_finite(state)


def convert(network: nn.Module, name: str) -> tuple[Supernet, Card]:
    """The same function as the largest subnet of a space in which depths and expanded widths can only shrink.

    Args:
        network: in evaluation mode, with its trained weights.
        name: of the timm model; names the structure.

    Returns:
        The supernet, in evaluation mode, its channels in the network's order, and its card.

    Raises:
        InputError: the network is not of a family that can be converted.
    """
    structure = _structure(network, name)
    num_classes = network.get_parameter("classifier.weight").shape[0]
    supernet = Supernet(shrink_space(structure), num_classes)
    state = {**supernet.state_dict(), **dict(_renamed(network, structure))}  # transforms: identity
    if problems := compare(state, supernet.state_dict()).problems():
        raise _refusal(name, problems)
    supernet.load_state_dict(state)
    config: dict[str, Any] = getattr(network, "pretrained_cfg", {})
    card = Card(
        name=name,
        title=f"timm's {name}, elastic by shrinking",
        space=supernet.space,
        num_classes=num_classes,
        mean=tuple(config.get("mean", (0.5, 0.5, 0.5))),
        std=tuple(config.get("std", (0.5, 0.5, 0.5))),
        trained_on=trained_on(num_classes),
        licence=str(config.get("license", "") or "see timm's model card"),
        elastic=False,
    )
    _check_function(network, supernet.eval(), name)
    return supernet, card


# --- the structure -----------------------------------------------------------------------------------------------


def _structure(network: nn.Module, name: str) -> Structure:
    try:
        return _read_structure(network, name)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _refusal(name, reason_of(error)) from error


def _refusal(name: str, reason: str) -> InputError:
    return InputError(f"expected a {FAMILIES}, got '{name}' ({reason}).")


def _read_structure(network: Any, name: str) -> Structure:
    first, *stages = network.blocks
    _demand(len(first) == 1 and isinstance(first[0], DepthwiseSeparableConv), "its first stage is not one plain block")
    fixed = first[0]
    _demand(fixed.conv_dw.stride == (1, 1) and fixed.conv_dw.kernel_size == (3, 3), "its first block is not 3x3")
    _demand(isinstance(fixed.se, nn.Identity), "its first block has squeeze-and-excite")
    last = stages.pop() if isinstance(stages[-1][0], ConvBnAct) else None
    return Structure(
        name=name,
        stem=network.conv_stem.out_channels,
        stem_activation=_activation(network.bn1),
        fixed=fixed.conv_pw.out_channels,
        fixed_activation=_activation(fixed.bn1),
        stages=tuple(_stage(stage) for stage in stages),
        head=Head(
            expand=last[0].conv.out_channels if last else None,
            mix=network.conv_head.out_channels,
            bias=network.conv_head.bias is not None,
            activation=_activation(last[0].bn1 if last else network.bn2),
        ),
        conventions=Conventions(isinstance(network.conv_stem, Conv2dSame), network.bn1.eps),
    )


def _stage(blocks: Any) -> Stage:
    for block in blocks:
        mid = block.conv_dw.out_channels
        _demand(type(block) is InvertedResidual, f"it has a {type(block).__name__} in its stages")
        _demand(mid % 8 == 0 and block.conv_pwl.out_channels % 8 == 0, "it has widths that are no multiples of 8")
        if not isinstance(block.se, nn.Identity):
            _demand(type(block.se) is SqueezeExcite, f"it has a {type(block.se).__name__} in its stages")
            hidden = block.se.conv_reduce.out_channels
            _demand(hidden == squeeze_channels(mid), "its squeeze-and-excite has another width")
    same = {
        (isinstance(block.se, nn.Identity), _activation(block.bn1), block.conv_pwl.out_channels) for block in blocks
    }
    _demand(len(same) == 1, "blocks of a stage differ")
    plain, activation, width = same.pop()
    layers = (Layer(block.conv_dw.kernel_size[0], block.conv_dw.out_channels) for block in blocks)
    return Stage(width, blocks[0].conv_dw.stride[0], not plain, activation, layers=tuple(layers))


def _activation(norm: Any) -> Any:
    return _ACTIVATIONS[type(norm.act).__name__]


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


# --- the tensors -------------------------------------------------------------------------------------------------

_FIXED = {
    "conv_dw": "depth_conv.conv",
    "bn1": "depth_conv.bn",
    "conv_pw": "point_linear.conv",
    "bn2": "point_linear.bn",
}
_BLOCK = {
    "conv_pw": "inverted_bottleneck.conv.conv",
    "bn1": "inverted_bottleneck.bn.bn",
    "conv_dw": "depth_conv.conv.conv",
    "bn2": "depth_conv.bn.bn",
    "se.conv_reduce": "depth_conv.se.fc.reduce",
    "se.conv_expand": "depth_conv.se.fc.expand",
    "conv_pwl": "point_linear.conv.conv",
    "bn3": "point_linear.bn.bn",
}


def _renamed(network: nn.Module, structure: Structure) -> Iterator[tuple[str, Tensor]]:
    """Name in the supernet, and value, of each tensor of the network; what the supernet has not keeps its own name."""
    depths = [len(stage.layers or ()) for stage in structure.stages]
    layers = [f"blocks.{1 + stage}.{layer}" for stage, depth in enumerate(depths) for layer in range(depth)]
    parts = {"conv_stem": "first_conv.conv", "bn1": "first_conv.bn", "classifier": "classifier.linear"}
    parts |= {f"blocks.0.0.{theirs}": f"blocks.0.conv.{ours}" for theirs, ours in _FIXED.items()}
    for number, layer in enumerate(layers, start=1):
        parts |= {f"{layer}.{theirs}": f"blocks.{number}.conv.{ours}" for theirs, ours in _BLOCK.items()}
    last = f"blocks.{1 + len(depths)}.0"
    parts |= {f"{last}.conv": "final_expand_layer.conv", f"{last}.bn1": "final_expand_layer.bn"}
    parts |= {"conv_head": "feature_mix_layer.conv", "bn2": "feature_mix_layer.bn"}
    for name, tensor in network.state_dict().items():
        module, kind = name.rsplit(".", 1)
        yield f"{parts.get(module, module)}.{kind}", tensor


@torch.no_grad()
def _check_function(network: nn.Module, supernet: Supernet, name: str) -> None:
    """Raises `InputError` if the two answer differently, which would be an oddity that was not read off."""
    images = torch.randn(2, 3, 65, 64, generator=torch.Generator().manual_seed(0))
    expected, found = network(images), supernet(images, supernet.space.largest())
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise _refusal(name, "it does something else between layers")
