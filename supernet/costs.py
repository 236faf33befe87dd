"""Multiply-adds, parameters, peak memory and latency of architectures, as arithmetic on tables.

One multiply-add counts as one; convolutions and linear layers count, nothing else (batch norm is folded, biases,
activations, means and the products of squeeze-and-excite are free); batch size 1. This is what the NAT and OFA papers
call FLOPs and half of what `torch.utils.flop_counter` says. Parameters include batch norm's scale and shift, and
biases.

    >>> from nat.supernet.space import MobileNetSpace
    >>> space = MobileNetSpace()
    >>> CostTable(space, num_classes=1000).macs(space.encode([space.smallest()]))
    array([89841344])
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.latency import LatencyTable, SpaceLatency
from nat.supernet.memory import MemoryTable
from nat.supernet.slots import Slot, halved, squeeze_channels
from nat.supernet.space import Encodings, MobileNetSpace
from nat.supernet.structure import Structure, find_structure

Counts = NDArray[np.int64]


class CostTable:
    """Costs of every choice in every slot of a space, summed for whole arrays of encodings at once.

    Args:
        space: the space of the encodings.
        num_classes: outputs of the classifier.
        latency: measured milliseconds of all parts of the space, if latency is to be asked for.
    """

    def __init__(self, space: MobileNetSpace, num_classes: int, latency: LatencyTable | None = None) -> None:
        self.space = space
        self.num_classes = num_classes
        self._latency = None if latency is None else SpaceLatency(space, latency)
        codes = 1 + int(space.upper[1:].max())
        self._slot_macs = np.zeros((len(space.resolutions), len(space.slots), codes), dtype=np.int64)
        self._slot_params = np.zeros((len(space.slots), codes), dtype=np.int64)
        self._fixed_macs = np.zeros(len(space.resolutions), dtype=np.int64)
        for r, resolution in enumerate(space.resolutions):
            self._fill_macs(r, resolution)
        for s, slot in enumerate(space.slots):
            for (kernel, expand), code in space.choices[s].items():
                self._slot_params[s, code] = block_params(slot, kernel, expand)
        self._fixed_params = head_and_stem_params(space, num_classes)

    def _fill_macs(self, row: int, resolution: int) -> None:
        space = self.space
        *sizes, last = space.map_sizes(resolution)
        stem, channels = space.channels(space.structure.stem), space.channels(space.structure.fixed)
        fixed = (27 * stem + 9 * stem + stem * channels) * halved(resolution) ** 2
        for s, (slot, size) in enumerate(zip(space.slots, sizes, strict=True)):
            for (kernel, expand), code in space.choices[s].items():
                self._slot_macs[row, s, code] = block_macs(slot, kernel, expand, size)
        classifier = space.channels(space.structure.head.mix) * self.num_classes
        self._fixed_macs[row] = fixed + head_macs(space, last) + classifier

    def macs(self, encodings: Encodings) -> Counts:
        """Multiply-adds of canonical encodings (n, 1 + slots), shape (n,)."""
        rows, slots = encodings[:, :1], np.arange(len(self.space.slots))
        macs: Counts = self._fixed_macs[encodings[:, 0]] + self._slot_macs[rows, slots, encodings[:, 1:]].sum(axis=1)
        return macs

    def macs_of_parts(self, resolution: int) -> tuple[int, list[Counts]]:
        """Multiply-adds at the input size of an index: of all that is not searched, and of each slot's layer.

        The latter by expand ratio and kernel size, shape (expands, kernels) each.
        """
        shapes = [(len(slot.expands), len(slot.kernels)) for slot in self.space.slots]
        rows = zip(self._slot_macs[resolution], shapes, strict=True)
        layers = [row[1 : 1 + expands * kernels].reshape(expands, kernels) for row, (expands, kernels) in rows]
        return int(self._fixed_macs[resolution]), layers

    def params(self, encodings: Encodings) -> Counts:
        """Parameters of canonical encodings (n, 1 + slots), shape (n,)."""
        slots = np.arange(len(self.space.slots))
        params: Counts = self._fixed_params + self._slot_params[slots, encodings[:, 1:]].sum(axis=1)
        return params

    def memory(self, encodings: Encodings) -> Counts:
        """Peak activation memory in bytes of canonical encodings (n, 1 + slots), shape (n,)."""
        return self._memory.peak_bytes(encodings)

    @cached_property
    def _memory(self) -> MemoryTable:
        return MemoryTable(self.space, self.num_classes)

    @property
    def latency(self) -> SpaceLatency:
        """Latency by the table that was given.

        Raises:
            InputError: none was given.
        """
        if self._latency is None:
            raise InputError("expected a latency table: make one with 'nat latency SUPERNET --out FILE'.")
        return self._latency

    def latency_ms(self, encodings: Encodings) -> NDArray[np.float64]:
        """Milliseconds for one image of canonical encodings (n, 1 + slots), by the latency table, shape (n,)."""
        return self.latency.ms(encodings)

    def ends(self) -> Encodings:
        """Architectures that have the least and the greatest of every cost: the smallest, the largest, and more.

        All but latency grow with every choice; with a latency table the fastest and the slowest follow.
        """
        ends = self.space.encode([self.space.smallest(), self.space.largest()])
        return ends if self._latency is None else np.concatenate([ends, self._latency.extremes()])

    def of(self, architecture: Architecture) -> tuple[int, int]:
        """Multiply-adds and parameters of one architecture of the space."""
        encodings = self.space.encode([architecture])
        return int(self.macs(encodings)[0]), int(self.params(encodings)[0])


def block_macs(slot: Slot, kernel: int, expand: float, size: int) -> int:
    """Multiply-adds of one inverted residual block on an input of size x size."""
    mid = slot.mid_channels(expand)
    out = slot.out_size(size)
    excite = 2 * mid * squeeze_channels(mid) if slot.squeeze_excite else 0
    return slot.in_channels * mid * size**2 + (mid * kernel**2 + mid * slot.out_channels) * out**2 + excite


def block_params(slot: Slot, kernel: int, expand: float) -> int:
    """Parameters of one inverted residual block."""
    mid = slot.mid_channels(expand)
    squeeze = squeeze_channels(mid)
    excite = 2 * mid * squeeze + squeeze + mid if slot.squeeze_excite else 0
    convolutions = slot.in_channels * mid + mid * kernel**2 + mid * slot.out_channels
    return convolutions + excite + 2 * (mid + mid + slot.out_channels)


def head_macs(space: MobileNetSpace, size: int) -> int:
    """Multiply-adds between the stages, whose maps are size x size, and the classifier."""
    head, last = space.structure.head, space.slots[-1].out_channels
    mix = space.channels(head.mix)
    if head.expand is None:
        return last * mix * size**2
    final = space.channels(head.expand)
    return last * final * size**2 + final * mix


def head_and_stem_params(space: MobileNetSpace, num_classes: int) -> int:
    """Parameters of everything that is not searched."""
    head, last = space.structure.head, space.slots[-1].out_channels
    stem, fixed, mix = (space.channels(base) for base in (space.structure.stem, space.structure.fixed, head.mix))
    before = (27 + 2) * stem + (9 + 2) * stem + (stem + 2) * fixed
    classifier = (mix + 1) * num_classes
    if head.expand is None:
        return before + (last + 2) * mix + classifier
    final = space.channels(head.expand)
    return before + (last + 2) * final + (final + head.bias) * mix + classifier


def costs_of(architecture: Architecture, num_classes: int, structure: Structure | None = None) -> tuple[int, int]:
    """Multiply-adds and parameters of any architecture, of whatever space.

    Args:
        architecture: any kernels, expand ratios, depths, width and resolution.
        num_classes: outputs of the classifier.
        structure: of its family; None for the one of that name.
    """
    costs = CostTable(space_around(architecture, structure=structure), num_classes)
    return costs.of(architecture)


def costs_of_all(
    architectures: Sequence[Architecture], num_classes: int, structures: Sequence[Structure] | None = None
) -> tuple[Counts, Counts]:
    """Multiply-adds and parameters of any architectures; two arrays of shape (n,).

    Args:
        architectures: any kernels, expand ratios, depths, widths and resolutions.
        num_classes: outputs of the classifier.
        structures: of each one's family; None for those of their names.
    """
    macs, params = np.zeros((2, len(architectures)), dtype=np.int64)
    structures = structures or [find_structure(architecture.family) for architecture in architectures]
    kinds: dict[tuple[float, Structure], list[int]] = {}
    for row, (architecture, structure) in enumerate(zip(architectures, structures, strict=True)):
        kinds.setdefault((architecture.width, structure), []).append(row)
    for (_, structure), rows in kinds.items():
        members = [architectures[row] for row in rows]
        costs = CostTable(space_around(*members, structure=structure), num_classes)
        encodings = costs.space.encode(members)
        macs[rows], params[rows] = costs.macs(encodings), costs.params(encodings)
    return macs, params


def space_around(*architectures: Architecture, structure: Structure | None = None) -> MobileNetSpace:
    """The least space that holds architectures of one width and family.

    Args:
        architectures: at least one.
        structure: of their family; None for the one of that name.

    Raises:
        InputError: no space of the family has them, or the family is unknown.
    """
    first = architectures[0]
    space = MobileNetSpace(
        width=first.width,
        kernels=tuple(sorted({kernel for a in architectures for kernel in a.kernels})),
        expands=tuple(sorted({expand for a in architectures for expand in a.expands})),
        depths=tuple(sorted({depth for a in architectures for depth in a.depths})),
        resolutions=tuple(sorted({a.resolution for a in architectures})),
        structure=structure or find_structure(first.family),
    )
    for architecture in architectures:
        space.validate(architecture)
    return space
