"""The MobileNetV3 search space of once-for-all and NAT, as data.

    >>> space = MobileNetV3Space(width=1.2)
    >>> space.largest().resolution
    256

Macro-structure (NAT, Lu et al., TPAMI 2021; once-for-all, Cai et al., ICLR 2020; blocks of MobileNetV3, Howard et al.,
ICCV 2019): a stem convolution (3x3, stride 2), a fixed block, five stages of inverted residual blocks, a 1x1
convolution before and one after the pooling, a classifier. Searched: the depth of each stage, the kernel size and the
expand ratio of each layer, and the input resolution. The width multiplier belongs to the supernet, as in the
published ones (1.0 and 1.2); any other makes a smaller or larger space with the same structure.

Encodings are integer arrays of shape (n, 1 + slots): the index of the resolution, then a code for each slot of each
stage: 0 for an absent layer, else `1 + index(expand) * len(kernels) + index(kernel)`. This is NAT's encoding without
its width gene. Canonical encodings have no layer behind an absent one and a legal number of layers in each stage.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nat.errors import InputError
from nat.supernet.architecture import FAMILY, Architecture, whole_numbers

Encodings = NDArray[np.int64]

STEM_WIDTH = 16
STAGE_WIDTHS = (24, 40, 80, 112, 160)
STAGE_STRIDES = (2, 2, 2, 1, 2)
STAGE_SQUEEZE_EXCITE = (False, True, False, True, True)
STAGE_ACTIVATIONS = ("relu", "relu", "h_swish", "h_swish", "h_swish")
FINAL_EXPAND_WIDTH = 960
FEATURE_MIX_WIDTH = 1280


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least `divisor`; the next where that loses over a tenth of `channels`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one searchable layer: everything about it that is not searched."""

    stage: int
    layer: int
    in_channels: int
    out_channels: int
    stride: int
    squeeze_excite: bool
    activation: str

    @property
    def residual(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == 1 and self.in_channels == self.out_channels

    def mid_channels(self, expand: float) -> int:
        """Channels between the expansion and the projection."""
        return make_divisible(round(self.in_channels * expand))


def squeeze_channels(mid_channels: int) -> int:
    """Hidden channels of the squeeze-and-excite unit of a block with that many expanded channels."""
    return make_divisible(mid_channels // 4)


@dataclass(frozen=True)
class MobileNetV3Space:
    """All choices of one supernet.

    Attributes:
        width: multiplies the channels of every stage, rounded to multiples of 8.
        kernels: depthwise kernel sizes, odd, ascending.
        expands: expand ratios, ascending.
        depths: numbers of layers that a stage may have, ascending; the last is the number of slots of a stage.
        resolutions: input sizes in pixels, ascending; NAT's are 192 to 256 in steps of 4.
    """

    width: float = 1.0
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[float, ...] = (3, 4, 6)
    depths: tuple[int, ...] = (2, 3, 4)
    resolutions: tuple[int, ...] = tuple(range(192, 257, 4))

    def __post_init__(self) -> None:
        """Refuses choices that no network could be built of."""
        for name in ("kernels", "expands", "depths", "resolutions"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if not values or list(values) != sorted(set(values)):
                raise InputError(f"expected {name} as ascending, distinct numbers, got {list(values)}.")
            if name != "expands":
                object.__setattr__(self, name, whole_numbers(values, name))
        if any(k < 1 or k % 2 == 0 for k in self.kernels):
            raise InputError(f"expected odd kernel sizes, got {list(self.kernels)}.")
        if not (
            0 < self.width < math.inf
            and 1 <= self.expands[0] <= self.expands[-1] < math.inf
            and self.depths[0] >= 1
            and self.resolutions[0] >= 8
        ):
            raise InputError(
                "expected a width above 0, expand ratios and depths of at least 1, resolutions of at least 8."
            )

    # --- structure -----------------------------------------------------------------------------------------------

    def channels(self, base: int) -> int:
        """Channels of a layer of `base` channels at this width."""
        return make_divisible(base * self.width)

    @property
    def num_stages(self) -> int:
        """Searchable stages."""
        return len(STAGE_WIDTHS)

    @property
    def layers_per_stage(self) -> int:
        """Slots of each stage: the greatest depth."""
        return self.depths[-1]

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All searchable layers, stage by stage."""
        slots, channels = [], self.channels(STEM_WIDTH)
        for stage, base in enumerate(STAGE_WIDTHS):
            for layer in range(self.layers_per_stage):
                slots.append(
                    Slot(
                        stage=stage,
                        layer=layer,
                        in_channels=channels,
                        out_channels=self.channels(base),
                        stride=STAGE_STRIDES[stage] if layer == 0 else 1,
                        squeeze_excite=STAGE_SQUEEZE_EXCITE[stage],
                        activation=STAGE_ACTIVATIONS[stage],
                    )
                )
                channels = self.channels(base)
        return tuple(slots)

    def active_slots(self, architecture: Architecture) -> list[tuple[int, int, float]]:
        """(slot index, kernel size, expand ratio) of each present layer, in order."""
        indices = (
            stage * self.layers_per_stage + layer
            for stage, depth in enumerate(architecture.depths)
            for layer in range(depth)
        )
        return list(zip(indices, architecture.kernels, architecture.expands, strict=True))

    def size(self) -> int:
        """Number of distinct architectures (of this width)."""
        choices = len(self.kernels) * len(self.expands)
        stage: int = sum(choices**depth for depth in self.depths)
        return len(self.resolutions) * int(stage**self.num_stages)

    # --- members -------------------------------------------------------------------------------------------------

    def uniform(self, kernel: int, expand: float, depth: int, resolution: int) -> Architecture:
        """The architecture with the same kernel, expand ratio and depth everywhere."""
        layers = depth * self.num_stages
        depths = (depth,) * self.num_stages
        return Architecture((kernel,) * layers, (expand,) * layers, depths, resolution, self.width)

    def smallest(self) -> Architecture:
        """Least of every choice."""
        return self.uniform(self.kernels[0], self.expands[0], self.depths[0], self.resolutions[0])

    def largest(self) -> Architecture:
        """Greatest of every choice."""
        return self.uniform(self.kernels[-1], self.expands[-1], self.depths[-1], self.resolutions[-1])

    def with_resolutions(self, resolutions: Iterable[int]) -> "MobileNetV3Space":
        """The same space with other input sizes."""
        return replace(self, resolutions=tuple(sorted(set(resolutions))))

    def validate(self, architecture: Architecture) -> None:
        """Raises `InputError`, naming the legal choices, unless the architecture is of this space."""
        self.validate_layers(architecture)
        _check_choices("a resolution 'r'", (architecture.resolution,), self.resolutions)

    def validate_layers(self, architecture: Architecture) -> None:
        """Like `validate`, whatever the resolution: networks take images of any size."""
        a = architecture
        if a.width != self.width:
            raise InputError(f"expected an architecture of width {self.width}, got width {a.width}.")
        if len(a.depths) != self.num_stages:
            raise InputError(f"expected {self.num_stages} stage depths 'd', got {len(a.depths)}.")
        for name, values, legal in (
            ("depths 'd'", a.depths, self.depths),
            ("kernel sizes 'ks'", a.kernels, self.kernels),
            ("expand ratios 'e'", a.expands, self.expands),
        ):
            _check_choices(name, values, legal)

    # --- encodings -----------------------------------------------------------------------------------------------

    @property
    def upper(self) -> Encodings:
        """Greatest value of each gene, shape (1 + slots,)."""
        return np.array([len(self.resolutions) - 1] + [len(self.kernels) * len(self.expands)] * len(self.slots))

    @property
    def lower(self) -> Encodings:
        """Least value of each gene, shape (1 + slots,): 1 for slots that no legal depth leaves out."""
        return np.array([0] + [int(slot.layer < self.depths[0]) for slot in self.slots])

    def encode(self, architectures: Sequence[Architecture]) -> Encodings:
        """Canonical encodings, shape (n, 1 + slots).

        Raises:
            InputError: an architecture is not of this space.
        """
        encodings = np.zeros((len(architectures), 1 + len(self.slots)), dtype=np.int64)
        for row, architecture in zip(encodings, architectures, strict=True):
            self._encode_into(row, architecture)
        return encodings

    def _encode_into(self, row: Encodings, a: Architecture) -> None:
        codes, offsets = self.choices, self._offsets
        try:
            row[0] = self._resolution_index[a.resolution]
            present = [codes[pair] for pair in zip(a.kernels, a.expands, strict=True)]
            places = [i for offset, depth in zip(offsets, a.depths, strict=True) for i in range(offset, offset + depth)]
            legal = a.width == self.width and self._depth_set.issuperset(a.depths)
        except (KeyError, ValueError):
            legal = False
        if not legal:
            self.validate(a)
            raise AssertionError("an architecture that validates must encode")
        row[places] = present

    @cached_property
    def choices(self) -> dict[tuple[int, float], int]:
        """(kernel size, expand ratio) of a present layer -> its code."""
        return {
            (kernel, expand): 1 + e * len(self.kernels) + k
            for e, expand in enumerate(self.expands)
            for k, kernel in enumerate(self.kernels)
        }

    @cached_property
    def _offsets(self) -> tuple[int, ...]:
        return tuple(1 + stage * self.layers_per_stage for stage in range(self.num_stages))

    @cached_property
    def _resolution_index(self) -> dict[int, int]:
        return {resolution: index for index, resolution in enumerate(self.resolutions)}

    @cached_property
    def _depth_set(self) -> frozenset[int]:
        return frozenset(self.depths)

    def decode(self, encodings: Encodings) -> list[Architecture]:
        """Architectures of encodings (n, 1 + slots); encodings that are not canonical are repaired first."""
        pairs = {code: pair for pair, code in self.choices.items()}
        architectures = []
        for row in self.repair(encodings).tolist():
            stages = [row[o : o + self.layers_per_stage] for o in self._offsets]
            present = [pairs[code] for stage in stages for code in stage if code]
            architectures.append(
                Architecture(
                    kernels=tuple(kernel for kernel, _ in present),
                    expands=tuple(expand for _, expand in present),
                    depths=tuple(sum(code > 0 for code in stage) for stage in stages),
                    resolution=self.resolutions[row[0]],
                    width=self.width,
                )
            )
        return architectures

    def repair(self, encodings: Encodings) -> Encodings:
        """The canonical encodings nearest by rule, shape (n, 1 + slots); the input is not changed.

        Genes are clipped to their bounds; layers behind an absent one go (as in NAT's decoder); a stage of an illegal
        number of layers loses layers down to the next legal depth.
        """
        fixed = np.clip(np.atleast_2d(encodings), self.lower, self.upper).astype(np.int64)
        stages = fixed[:, 1:].reshape(len(fixed), self.num_stages, self.layers_per_stage)
        prefix = np.cumprod(stages > 0, axis=2).sum(axis=2)
        legal = np.array(self.depths)
        depth = legal[np.searchsorted(legal, prefix, side="right") - 1]
        stages[np.arange(self.layers_per_stage) >= depth[:, :, None]] = 0
        return fixed

    # --- features and files ----------------------------------------------------------------------------------------

    def features(self, encodings: Encodings) -> NDArray[np.float64]:
        """Inputs for surrogates, scaled to [0, 1], shape (n, 1 + 2 * slots): resolution, kernels, expand ratios.

        An absent layer is 0 in both of its columns and a present one at least 1 / choices, so the two never look alike.
        """
        encodings = np.atleast_2d(encodings)
        resolution = encodings[:, :1] / max(1, len(self.resolutions) - 1)
        codes = encodings[:, 1:]
        kernel = np.where(codes > 0, (codes - 1) % len(self.kernels) + 1, 0) / len(self.kernels)
        expand = np.where(codes > 0, (codes - 1) // len(self.kernels) + 1, 0) / len(self.expands)
        return np.concatenate([resolution, kernel, expand], axis=1)

    def to_json(self) -> dict[str, Any]:
        """All choices, for a checkpoint's card."""
        return {"family": FAMILY, **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MobileNetV3Space":
        """Reads `to_json`'s form."""
        if not isinstance(data, Mapping):
            raise InputError(f"expected a space as a JSON object, got {type(data).__name__}.")
        if data.get("family", FAMILY) != FAMILY:
            raise InputError(f"expected a space of family '{FAMILY}', got '{data['family']}'.")
        try:
            lists = {key: tuple(data[key]) for key in ("kernels", "expands", "depths", "resolutions")}
            return cls(width=float(data["width"]), **lists)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"expected a space with width, kernels, expands, depths and resolutions: {error}."
            ) from error


def _check_choices(name: str, values: Iterable[float], legal: Iterable[float]) -> None:
    illegal = sorted(set(values).difference(legal))
    if illegal:
        raise InputError(f"expected {name} among {_listed(legal)}, got {_listed(illegal)}.")


def _listed(values: Iterable[float]) -> str:
    values = list(values)
    if len(values) > 6 and len({b - a for a, b in pairwise(values)}) == 1:
        return f"{values[0]}, {values[1]}, ..., {values[-1]}"
    return ", ".join(f"{value:g}" for value in values)


def named_spaces() -> dict[str, MobileNetV3Space]:
    """The spaces that a supernet can be built in by name.

    `small` is for machines without a GPU; `nat-w1.0` and `nat-w1.2` are the published ones.
    """
    return {
        "small": MobileNetV3Space(0.5, (3, 5), (2, 3, 4), (1, 2, 3), tuple(range(32, 129, 8))),
        "nat-w1.0": MobileNetV3Space(width=1.0),
        "nat-w1.2": MobileNetV3Space(width=1.2),
    }
