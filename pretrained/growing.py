"""Supernets out of trained networks of timm, with the same function.

    >>> supernet, card = grown_supernet("mobilenetv3_large_100")

`shrink` makes the network the largest subnet of a space of its own; `nat` puts it into NAT's choices of kernels, expand
ratios and depths, up to three times its cost. Shrinking is the default: larger subnets gained nothing over the source.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from timm import create_model
from torch import nn

from nat.errors import InputError
from nat.pretrained.card import TIMM, Card
from nat.pretrained.published import SUFFIXES
from nat.pretrained.timm_models import FAMILIES, check_family, convert, load_timm
from nat.supernet.architecture import Architecture
from nat.supernet.growth import counterpart, grow, grown_space
from nat.supernet.importance import contributions, sort_channels
from nat.supernet.supernet import Supernet

Kind = Literal["shrink", "nat"]


def timm_name(source: str) -> str | None:
    """The model of `timm:MODEL`; None of anything else."""
    return source.removeprefix(TIMM) if source.startswith(TIMM) else None


def source_of(source: str, model: str | None) -> tuple[str, Path | None]:
    """The timm model and the file of its weights that a command names; no file for the published weights.

    Args:
        source: a model of timm, with or without `timm:` and the tag of published weights, or a file in timm's format.
        model: of the file.

    Raises:
        InputError: a file without a model, a model without a file, or two models.
    """
    if model is not None:
        path = Path(source).expanduser()
        if not path.is_file():
            raise InputError(f"expected a file of weights with --model, got '{source}', which is none.")
        return model, path
    path = Path(source)
    if timm_name(source) is None and (path.suffix in SUFFIXES or "/" in source or path.is_file()):
        raise InputError(f"expected --model with the file '{source}': the name of a {FAMILIES}.")
    return timm_name(source) or source, None


def grown_supernet(
    model: str, weights: Path | None = None, kind: Kind = "shrink", seed: int = 0
) -> tuple[Supernet, Card]:
    """A supernet with the function of a trained network, its channels sorted by importance.

    Args:
        model: of timm.
        weights: in timm's format; None for the published ones.
        kind: of space.
        seed: of what is added.

    Raises:
        InputError: the model is of no family that can grow, or its weights cannot be had.
        CheckpointError: the file cannot be used.
    """
    return grown(*convert(load_timm(model, weights), model), kind, seed)


def untrained_supernet(model: str, kind: Kind = "shrink") -> tuple[Supernet, Card]:
    """What `grown_supernet` gives, but for the weights, which are random: nothing is downloaded."""
    check_family(model)
    return grown(*convert(create_model(model, pretrained=False).eval(), model), kind)


def grown(source: Supernet, card: Card, kind: Kind, seed: int = 0) -> tuple[Supernet, Card]:
    """The supernet of a kind around a converted network; see `grown_supernet`."""
    if kind == "shrink":
        sort_channels(source, importance=contributions)
        return source, card
    space = grown_space(source.space.structure)
    supernet = grow(source, space, torch.Generator().manual_seed(seed))
    title = f"timm's {card.name} in NAT's choices"
    return supernet, replace(card, name=space.structure.name, title=title, space=space)


def preserved(source: Supernet, supernet: Supernet) -> dict[str, Architecture]:
    """The architectures of a grown supernet that have its source's function, by what they are."""
    own = source.space.largest()
    if supernet.space == source.space:
        return {"source": own}
    least = counterpart(own, source.space, supernet.space)
    kernel, space = supernet.space.kernels[-1], supernet.space
    deepest = space.largest().depths
    layers = zip(least.depths, deepest, _stages(least), strict=True)
    expands = [ratio for depth, most, stage in layers for ratio in (*stage, *[space.expands[-1]] * (most - depth))]
    full = sum(deepest)
    return {
        "source": least,
        "largest kernels": replace(least, kernels=(kernel,) * len(least.kernels)),
        "greatest depths": replace(least, kernels=(kernel,) * full, expands=tuple(expands), depths=deepest),
        "largest": space.largest(),
    }


def _stages(architecture: Architecture) -> list[tuple[float, ...]]:
    """Expand ratios stage by stage."""
    ratios = iter(architecture.expands)
    return [tuple(next(ratios) for _ in range(depth)) for depth in architecture.depths]


@torch.no_grad()
def greatest_difference(
    network: nn.Module, supernet: Supernet, architectures: dict[str, Architecture], size: int = 97
) -> tuple[dict[str, float], float]:
    """How far the logits of architectures are from a network's, on random images.

    Args:
        network: the source, in evaluation mode.
        supernet: in evaluation mode.
        architectures: of the supernet, by name.
        size: of the images; odd, where paddings tell.

    Returns:
        Greatest difference of each, and the greatest logit of the network.
    """
    images = torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = network(images)
    found = {name: float((supernet(images, net) - expected).abs().max()) for name, net in architectures.items()}
    return found, float(expected.abs().max())
