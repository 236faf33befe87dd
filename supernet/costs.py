"""Multiply-adds and parameters of architectures, as arithmetic on tables.

One multiply-add counts as one; convolutions and linear layers count, nothing else (batch norm is folded, biases,
activations, means and the products of squeeze-and-excite are free); batch size 1. This is what the NAT and OFA papers
call FLOPs and half of what `torch.utils.flop_counter` says. Parameters include batch norm's scale and shift, and
biases.

    >>> from nat.supernet.space import MobileNetV3Space
    >>> space = MobileNetV3Space()
    >>> CostTable(space, num_classes=1000).macs(space.encode([space.smallest()]))
    array([89841344])
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nat.supernet.architecture import Architecture
from nat.supernet.space import (
    FEATURE_MIX_WIDTH,
    FINAL_EXPAND_WIDTH,
    STEM_WIDTH,
    Encodings,
    MobileNetV3Space,
    Slot,
    squeeze_channels,
)

Counts = NDArray[np.int64]


class CostTable:
    """Costs of every choice in every slot of a space, summed for whole arrays of encodings at once.

    Args:
        space: the space of the encodings.
        num_classes: outputs of the classifier.
    """

    def __init__(self, space: MobileNetV3Space, num_classes: int) -> None:
        self.space = space
        self.num_classes = num_classes
        codes = 1 + len(space.kernels) * len(space.expands)
        self._slot_macs = np.zeros((len(space.resolutions), len(space.slots), codes), dtype=np.int64)
        self._slot_params = np.zeros((len(space.slots), codes), dtype=np.int64)
        self._fixed_macs = np.zeros(len(space.resolutions), dtype=np.int64)
        for r, resolution in enumerate(space.resolutions):
            self._fill_macs(r, resolution)
        for s, slot in enumerate(space.slots):
            for (kernel, expand), code in space.choices.items():
                self._slot_params[s, code] = block_params(slot, kernel, expand)
        self._fixed_params = head_and_stem_params(space, num_classes)

    def _fill_macs(self, row: int, resolution: int) -> None:
        space, size = self.space, _halved(resolution)
        stem = space.channels(STEM_WIDTH)
        fixed = (27 * stem + 9 * stem + stem * stem) * size**2
        for s, slot in enumerate(space.slots):
            for (kernel, expand), code in space.choices.items():
                self._slot_macs[row, s, code] = block_macs(slot, kernel, expand, size)
            size = _halved(size) if slot.stride == 2 else size
        final, mix = space.channels(FINAL_EXPAND_WIDTH), space.channels(FEATURE_MIX_WIDTH)
        fixed += space.slots[-1].out_channels * final * size**2 + final * mix + mix * self.num_classes
        self._fixed_macs[row] = fixed

    def macs(self, encodings: Encodings) -> Counts:
        """Multiply-adds of canonical encodings (n, 1 + slots), shape (n,)."""
        rows, slots = encodings[:, :1], np.arange(len(self.space.slots))
        macs: Counts = self._fixed_macs[encodings[:, 0]] + self._slot_macs[rows, slots, encodings[:, 1:]].sum(axis=1)
        return macs

    def params(self, encodings: Encodings) -> Counts:
        """Parameters of canonical encodings (n, 1 + slots), shape (n,)."""
        slots = np.arange(len(self.space.slots))
        params: Counts = self._fixed_params + self._slot_params[slots, encodings[:, 1:]].sum(axis=1)
        return params

    def of(self, architecture: Architecture) -> tuple[int, int]:
        """Multiply-adds and parameters of one architecture of the space."""
        encodings = self.space.encode([architecture])
        return int(self.macs(encodings)[0]), int(self.params(encodings)[0])


def block_macs(slot: Slot, kernel: int, expand: float, size: int) -> int:
    """Multiply-adds of one inverted residual block on an input of size x size."""
    mid = slot.mid_channels(expand)
    out = _halved(size) if slot.stride == 2 else size
    excite = 2 * mid * squeeze_channels(mid) if slot.squeeze_excite else 0
    return slot.in_channels * mid * size**2 + (mid * kernel**2 + mid * slot.out_channels) * out**2 + excite


def block_params(slot: Slot, kernel: int, expand: float) -> int:
    """Parameters of one inverted residual block."""
    mid = slot.mid_channels(expand)
    squeeze = squeeze_channels(mid)
    excite = 2 * mid * squeeze + squeeze + mid if slot.squeeze_excite else 0
    convolutions = slot.in_channels * mid + mid * kernel**2 + mid * slot.out_channels
    return convolutions + excite + 2 * (mid + mid + slot.out_channels)


def head_and_stem_params(space: MobileNetV3Space, num_classes: int) -> int:
    """Parameters of everything that is not searched."""
    stem = space.channels(STEM_WIDTH)
    final, mix = space.channels(FINAL_EXPAND_WIDTH), space.channels(FEATURE_MIX_WIDTH)
    before = (27 + 2) * stem + (9 + 2) * stem + (stem + 2) * stem
    return before + (space.slots[-1].out_channels + 2) * final + final * mix + (mix + 1) * num_classes


def _halved(size: int) -> int:
    return (size + 1) // 2


def costs_of(architecture: Architecture, num_classes: int) -> tuple[int, int]:
    """Multiply-adds and parameters of any architecture of the family, of whatever space."""
    macs, params = costs_of_all([architecture], num_classes)
    return int(macs[0]), int(params[0])


def costs_of_all(architectures: Sequence[Architecture], num_classes: int) -> tuple[Counts, Counts]:
    """Multiply-adds and parameters of any architectures of the family, of whatever spaces; two arrays of shape (n,).

    Args:
        architectures: any kernels, expand ratios, depths, widths and resolutions.
        num_classes: outputs of the classifier.
    """
    macs, params = np.zeros((2, len(architectures)), dtype=np.int64)
    widths = np.array([architecture.width for architecture in architectures])
    for width in np.unique(widths):
        rows = np.flatnonzero(widths == width)
        members = [architectures[row] for row in rows.tolist()]
        costs = CostTable(space_around(*members), num_classes)
        encodings = costs.space.encode(members)
        macs[rows], params[rows] = costs.macs(encodings), costs.params(encodings)
    return macs, params


def space_around(*architectures: Architecture) -> MobileNetV3Space:
    """The least space that holds architectures of one width.

    Raises:
        InputError: no space of the family has them.
    """
    space = MobileNetV3Space(
        width=architectures[0].width,
        kernels=tuple(sorted({kernel for a in architectures for kernel in a.kernels})),
        expands=tuple(sorted({expand for a in architectures for expand in a.expands})),
        depths=tuple(sorted({depth for a in architectures for depth in a.depths})),
        resolutions=tuple(sorted({a.resolution for a in architectures})),
    )
    for architecture in architectures:
        space.validate(architecture)
    return space
