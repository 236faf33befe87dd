"""The spellings of architectures that are in use: NAT's genes and digits, once-for-all's lists, NAT's files.

NAT publishes a network as three: `net.subnet` (JSON of the present layers), `net.encoding` (23 digits) and `net.config`
(JSON of every layer as it is built, with activations and the number of classes).

>>> net = from_nat_digits("08" + "0" + "11001100110011001100")
>>> net.resolution, net.depths, to_nat_digits(net)
(224, (2, 2, 2, 2, 2), '08011001100110011001100')
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.net_config import NAT_WIDTHS, read_net_config
from nat.supernet.space import MobileNetSpace

NAT_GENES = 22
NAT_DIGITS = 23


@dataclass(frozen=True, slots=True)
class Described:
    """What a text says of a network.

    Attributes:
        kind: "architecture" (our JSON), "net.subnet", "net.config" or "encoding".
        architecture: the network.
        num_classes: outputs of the classifier, where the text says it.
        assumed: what the text does not say of the architecture: "resolution", "width" or nothing.
        remarks: sentences on what an architecture cannot say.
    """

    kind: str
    architecture: Architecture
    num_classes: int | None = None
    assumed: Literal["resolution", "width", ""] = ""
    remarks: tuple[str, ...] = ()


def to_nat_genes(architecture: Architecture) -> list[int]:
    """NAT's 22 integers: resolution 192 + 4 r, width (0: 1.0, 1: 1.2), and 20 codes, 0 for a skipped layer.

    Raises:
        InputError: the architecture is not in NAT's space (other widths, resolutions or choices).
    """
    if architecture.width not in NAT_WIDTHS:
        raise InputError(f"expected width 1.0 or 1.2 for NAT's encoding, got {architecture.width}.")
    genes = MobileNetSpace(width=architecture.width).encode([architecture])[0].tolist()
    return [genes[0], NAT_WIDTHS.index(architecture.width), *genes[1:]]


def from_nat_genes(genes: Sequence[int]) -> Architecture:
    """Reads NAT's 22 integers. A fourth layer behind a skipped third one is dropped, as in NAT's decoder.

    Raises:
        InputError: a gene is out of its bounds, or their number is not 22.
    """
    if len(genes) != NAT_GENES:
        raise InputError(f"expected {NAT_GENES} genes, got {len(genes)}.")
    width = genes[1]
    if width not in (0, 1):
        raise InputError(f"expected gene 2 (width) to be 0 or 1, got {width}.")
    space = MobileNetSpace(width=NAT_WIDTHS[width])
    row = np.array([genes[0], *genes[2:]])
    wrong = np.flatnonzero((row < space.lower) | (row > space.upper))
    if len(wrong):
        gene, place = int(wrong[0]), 1 if wrong[0] == 0 else int(wrong[0]) + 2
        raise InputError(
            f"expected gene {place} between {space.lower[gene]} and {space.upper[gene]}, got {row[gene]}. "
            "(Genes: resolution, width, then four layers for each of five stages, the first two of which cannot be 0.)"
        )
    return space.decode(row[None])[0]


def to_nat_digits(architecture: Architecture) -> str:
    """NAT's genes as 23 digits: two for the resolution, one for the width, one for each of 20 layers."""
    genes = to_nat_genes(architecture)
    return f"{genes[0]:02d}" + "".join(str(gene) for gene in genes[1:])


def from_nat_digits(text: str) -> Architecture:
    """Reads the 23 digits of a `net.encoding` file."""
    if len(text) != NAT_DIGITS or not (text.isascii() and text.isdigit()):
        raise InputError(f"expected {NAT_DIGITS} digits, got '{text[:60]}' ({len(text)} characters).")
    return from_nat_genes([int(text[:2]), *(int(digit) for digit in text[2:])])


def to_ofa_lists(architecture: Architecture, layers_per_stage: int = 4) -> dict[str, Any]:
    """Once-for-all's form: `ks` and `e` name every slot of every stage; absent layers are padded with 0.

    Args:
        architecture: any.
        layers_per_stage: slots of a stage; 4 in the published spaces.

    Raises:
        InputError: a stage has more layers than slots.
    """
    if max(architecture.depths) > layers_per_stage:
        raise InputError(f"expected at most {layers_per_stage} layers a stage, got depths {list(architecture.depths)}.")
    kernels, expands = iter(architecture.kernels), iter(architecture.expands)
    present = [layer < depth for depth in architecture.depths for layer in range(layers_per_stage)]
    return {
        "ks": [next(kernels) if here else 0 for here in present],
        "e": [next(expands) if here else 0 for here in present],
        "d": list(architecture.depths),
        "r": architecture.resolution,
        "w": architecture.width,
    }


def read_architecture(text: str) -> Architecture:
    """Reads any of the spellings: see `describe`.

    Raises:
        InputError: the text is none of them.
    """
    return describe(text).architecture


def describe(text: str) -> Described:
    """Reads a JSON object (ours, `net.subnet`, once-for-all's, `net.config`), 23 digits, or a list of 22 genes.

    Raises:
        InputError: the text is none of them.
    """
    text = text.strip()
    if text.isdigit():
        return Described("encoding", from_nat_digits(text))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and deep nesting
        raise InputError(
            f"expected an architecture as JSON, as {NAT_DIGITS} digits, or a file of either, got '{text[:60]}'."
        ) from error
    if isinstance(data, list):
        if not all(isinstance(gene, int) and not isinstance(gene, bool) for gene in data):
            raise InputError("expected a list of 22 whole numbers.")
        return Described("encoding", from_nat_genes(data))
    if isinstance(data, Mapping) and "blocks" in data:
        config = read_net_config(data)
        assumed: Literal["resolution", ""] = "" if config.says_resolution else "resolution"
        return Described("net.config", config.architecture, config.num_classes, assumed, config.remarks)
    architecture = Architecture.from_json(data)
    if "space" in data:
        return Described("architecture", architecture)
    return Described("net.subnet", architecture, assumed="" if data.get("w") else "width")


def at_resolution(architecture: Architecture, resolution: int) -> Architecture:
    """The same network at another input size."""
    return replace(architecture, resolution=resolution)
