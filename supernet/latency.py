"""Latency of architectures as a sum over a table of measured parts.

A part is the stem with the fixed block, one inverted residual block, or everything behind the stages, each at a size of
its input. `nat.supernet.timing` measures a table and how far its sums are from whole networks. The idea of a table of
blocks is that of ProxylessNAS (Cai et al., ICLR 2019); NAT and MSuNAS use one for CPU and GPU latency.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nat.errors import InputError
from nat.supernet.slots import Slot
from nat.supernet.space import Encodings, MobileNetSpace

SCHEMA = 1


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of parts of networks, for one image.

    Attributes:
        ms: of each part, by its key.
        machine: what they were measured on and how, for reports.
        error: how far sums are from whole networks: "subnets" measured, "mape" (mean absolute percentage error, as a
            fraction), "kendall_tau", and both between two measurements of the same subnets, "noise_mape" and
            "noise_kendall_tau"; empty if it was not looked at.
    """

    ms: Mapping[str, float]
    machine: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {"schema": SCHEMA, "machine": dict(self.machine), "error": dict(self.error), "ms": dict(self.ms)}

    @classmethod
    def from_json(cls, data: Any) -> "LatencyTable":
        """Reads `to_json`'s form.

        Raises:
            InputError: it is none, or a time is not a number above 0.
        """
        parts = data.get("ms") if isinstance(data, Mapping) and data.get("schema") == SCHEMA else None
        if not isinstance(parts, Mapping) or not parts or not all(map(_is_time, parts.values())):
            raise InputError(f"expected a latency table of schema {SCHEMA} with milliseconds above 0 as 'ms'.")
        return cls(dict(parts), data.get("machine") or {}, data.get("error") or {})


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


class SpaceLatency:
    """A table laid out for a space.

    Args:
        space: the space of the encodings.
        table: milliseconds of all its parts.

    Raises:
        InputError: the table lacks parts of the space.
    """

    def __init__(self, space: MobileNetSpace, table: LatencyTable) -> None:
        self.space, self.table = space, table
        if missing := [key for key, *_ in parts_of(space) if key not in table.ms]:
            raise InputError(
                f"the latency table lacks {len(set(missing))} parts of the supernet, such as '{missing[0]}'. Measure "
                "one for its input sizes: nat latency SUPERNET --resolutions "
                f"{','.join(map(str, space.resolutions))} --out FILE"
            )
        codes = 1 + int(space.upper[1:].max())
        self._slots = np.zeros((len(space.resolutions), len(space.slots), codes))
        self._fixed = np.zeros(len(space.resolutions))
        for key, row, slot, code in parts_of(space):
            if slot is None:
                self._fixed[row] += table.ms[key]
            else:
                self._slots[row, slot, code] = table.ms[key]

    def ms(self, encodings: Encodings) -> NDArray[np.float64]:
        """Milliseconds of canonical encodings (n, 1 + slots), shape (n,)."""
        rows, slots = encodings[:, :1], np.arange(len(self.space.slots))
        total: NDArray[np.float64] = self._fixed[encodings[:, 0]] + self._slots[rows, slots, encodings[:, 1:]].sum(1)
        return total

    def extremes(self) -> Encodings:
        """The fastest and the slowest architecture by the table, exactly, shape (2, genes).

        They need not be the smallest and the largest: times are measured, and some kernels are slow.
        """
        ends = []
        for sign in (1, -1):
            rows = np.array([self._best(row, sign) for row in range(len(self.space.resolutions))])
            ends.append(rows[np.argmin(sign * self.ms(rows))])
        return np.array(ends)

    def _best(self, row: int, sign: int) -> list[int]:
        """At one resolution: in each stage, the depth whose best codes have the least sum (sign 1) or greatest (-1)."""
        genes = [row]
        for offset, depths in zip(self.space.stage_offsets, self.space.stage_depths, strict=True):
            places = range(offset, offset + depths[-1])
            counts = [len(self.space.choices[place]) for place in places]
            times = [sign * self._slots[row, place, 1 : 1 + n] for place, n in zip(places, counts, strict=True)]
            sums = np.cumsum([time.min() for time in times])
            depth = min(depths, key=lambda count: sums[count - 1])
            genes += [1 + int(time.argmin()) if layer < depth else 0 for layer, time in enumerate(times)]
        return genes


def parts_of(space: MobileNetSpace) -> Iterator[tuple[str, int, int | None, int]]:
    """(key, index of the resolution, slot, code) of every part of a space; slot None for what is not searched.

    Equal parts of several slots have one key.
    """
    for row, resolution in enumerate(space.resolutions):
        yield start_key(space, resolution), row, None, 0
        *sizes, last = space.map_sizes(resolution)
        for s, (slot, size) in enumerate(zip(space.slots, sizes, strict=True)):
            for (kernel, expand), code in space.choices[s].items():
                yield block_key(slot, kernel, expand, size), row, s, code
        yield end_key(space, last), row, None, 0


def block_key(slot: Slot, kernel: int, expand: float, size: int) -> str:
    """Names an inverted residual block on an input of size x size: "block 16px 24>72>40 k5 s2 relu se"."""
    words = [f"block {size}px {slot.in_channels}>{slot.mid_channels(expand)}>{slot.out_channels}"]
    words += [f"k{kernel} s{slot.stride} {slot.activation}"]
    words += ["se"] * slot.squeeze_excite + ["same"] * slot.conventions.same_padding
    return " ".join(words)


def start_key(space: MobileNetSpace, resolution: int) -> str:
    """Names the stem and the fixed block on images of a size."""
    s = space.structure
    same = " same" * s.conventions.same_padding
    return (
        f"start {resolution}px {space.channels(s.stem)}>{space.channels(s.fixed)} "
        f"{s.stem_activation} {s.fixed_activation}{same}"
    )


def end_key(space: MobileNetSpace, size: int) -> str:
    """Names the head on maps of size x size; the classifier's few outputs are not told apart."""
    head = space.structure.head
    wide = "" if head.expand is None else f"{space.channels(head.expand)}>"
    return f"end {size}px {space.slots[-1].out_channels}>{wide}{space.channels(head.mix)} {head.activation}"
