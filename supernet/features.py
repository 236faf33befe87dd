"""What surrogates are told of an architecture: each layer's choices, and how much each stage can do.

The choices alone leave a surrogate to find out from few examples that a stage of three wide layers resembles one of
four narrow ones. The logarithm of a stage's multiply-adds says so: errors fall along it smoothly and ever more slowly,
in every elastic space of stages. `benchmarks/surrogates.py` measures what that is worth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LayerTable:
    """The slots of a space as arrays; see `nat.supernet.space` for encodings and their codes.

    Attributes:
        resolutions: input sizes, ascending, shape (resolutions,).
        kernels: number of kernel sizes of each slot, shape (slots,).
        expands: number of expand ratios of each slot, shape (slots,).
        stages: stage of each slot, ascending from 0, shape (slots,).
        optional: whether some architecture lacks the slot, shape (slots,).
        channels: expanded channels by slot and code, 0 for codes that are absent layers or none, shape (slots, codes).
        macs: multiply-adds of the convolutions for each position of the stage's map, like `channels`.
        area: positions of a stage's map by those of the stem's, shape (stages,).
    """

    resolutions: Integers
    kernels: Integers
    expands: Integers
    stages: Integers
    optional: NDArray[np.bool_]
    channels: Integers
    macs: Integers
    area: Floats

    def features(self, encodings: Integers) -> Floats:
        """Columns in [0, 1], shape (n, 2 + 2 * slots + 2 * stages), of canonical encodings (n, 1 + slots).

        The resolution; kernel and expand ratio of each slot as (1 + index) / choices, 0 in both for an absent layer,
        which so never looks like the least present one; of each stage the logarithms of its multiply-adds (with
        equal maps) and of its expanded channels; the logarithm of all stages' multiply-adds at the resolution.
        Logarithms are scaled from the least to the greatest that the space has, constants are 0.
        """
        codes = encodings[:, 1:]
        kernel = np.where(codes > 0, (codes - 1) % self.kernels + 1, 0) / self.kernels
        expand = np.where(codes > 0, (codes - 1) // self.kernels + 1, 0) / self.expands
        sizes = np.log(self.resolutions[encodings[:, :1]])
        macs = self._by_stage(self.macs, codes)
        total = np.log(macs @ self.area)[:, None] + 2 * sizes
        ends = [self._ends(table) for table in (self.macs, self.channels)]
        size_ends = np.log(self.resolutions[[0, -1]])
        total_ends = np.log(ends[0] @ self.area) + 2 * size_ends
        return np.concatenate(
            [
                _scaled(sizes, *size_ends),
                kernel,
                expand,
                _scaled(np.log(macs), *np.log(ends[0])),
                _scaled(np.log(self._by_stage(self.channels, codes)), *np.log(ends[1])),
                _scaled(total, *total_ends),
            ],
            axis=1,
        )

    def _by_stage(self, table: Integers, codes: Integers) -> Integers:
        """Sums over the layers of each stage, shape (n, stages)."""
        starts = np.flatnonzero(np.diff(self.stages, prepend=-1))
        sums: Integers = np.add.reduceat(table[np.arange(len(self.stages)), codes], starts, axis=1)
        return sums

    def _ends(self, table: Integers) -> Integers:
        """Least and greatest sum of each stage, shape (2, stages)."""
        least = np.where(self.optional, 0, np.where(table > 0, table, table.max()).min(axis=1))
        starts = np.flatnonzero(np.diff(self.stages, prepend=-1))
        return np.stack([np.add.reduceat(ends, starts) for ends in (least, table.max(axis=1))])


def _scaled(values: Floats, least: Floats, greatest: Floats) -> Floats:
    """From 0 at the least to 1 at the greatest; 0 where the two are equal."""
    span = greatest - least
    return np.where(span > 0, (values - least) / np.where(span > 0, span, 1.0), 0.0)
