"""Search spaces of mobile networks, as data: a structure, and what may be chosen in it.

    >>> space = MobileNetSpace(width=1.2)
    >>> space.largest().resolution
    256

Searched: the depth of each stage, the kernel size and the expand ratio of each layer, and the input resolution. The
structure is that of NAT (Lu et al., TPAMI 2021) unless another is given. The width multiplier belongs to the supernet,
as in the published ones (1.0 and 1.2); any other makes a smaller or larger space with the same structure.

Encodings are integer arrays of shape (n, 1 + slots): the index of the resolution, then a code for each slot of each
stage: 0 for an absent layer, else `1 + index(expand) * kernels + index(kernel)`, where `kernels` is the number of the
slot's kernel sizes. For the published spaces this is NAT's encoding without its width gene. Canonical encodings have no
layer behind an absent one and a legal number of layers in each stage.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.errors import InputError
from nat.supernet.architecture import Architecture, whole_numbers
from nat.supernet.choices import at_least, at_most, check_choices, nearest
from nat.supernet.features import LayerTable
from nat.supernet.searchable import Encodings as Encodings
from nat.supernet.slots import Slot, halved, make_divisible
from nat.supernet.structure import MOBILENETV3, PROXYLESS, Structure, structure_of, with_structure

CHOICES = ("kernels", "expands", "depths", "resolutions")


@dataclass(frozen=True)
class MobileNetSpace:
    """All choices of one supernet.

    Attributes:
        width: multiplies the channels of every stage, rounded to multiples of 8.
        kernels: depthwise kernel sizes, odd, ascending.
        expands: expand ratios, ascending.
        depths: numbers of layers that a stage may have, ascending.
        resolutions: input sizes in pixels, ascending; NAT's are 192 to 256 in steps of 4.
        structure: everything that is not searched. Its stages may have fewer layers and smaller kernels at most, and
            layers a least expand ratio: then there are those choices that it allows, or the nearest alone.
    """

    width: float = 1.0
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[float, ...] = (3, 4, 6)
    depths: tuple[int, ...] = (2, 3, 4)
    resolutions: tuple[int, ...] = tuple(range(192, 257, 4))
    structure: Structure = MOBILENETV3

    def __post_init__(self) -> None:
        """Refuses choices that no network could be built of."""
        for name in CHOICES:
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
            and self._least_expand <= self.expands[0] <= self.expands[-1] < math.inf
            and self.depths[0] >= 1
            and self.resolutions[0] >= 8
        ):
            raise InputError(
                f"expected a width above 0, expand ratios of at least {self._least_expand:g}, depths of at least 1, "
                "resolutions of at least 8."
            )

    # --- structure -----------------------------------------------------------------------------------------------

    @property
    def _least_expand(self) -> float:
        """Expand ratios of the input's channels must not narrow it; shares of a layer's own channels may."""
        return 0.05 if all(stage.layers for stage in self.structure.stages) else 1

    def channels(self, base: int) -> int:
        """Channels of a layer of `base` channels at this width."""
        return make_divisible(base * self.width)

    @property
    def num_stages(self) -> int:
        """Searchable stages."""
        return len(self.structure.stages)

    @cached_property
    def stage_depths(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of layers that each stage may have, ascending; the last is the number of its slots."""
        most = (len(stage.layers) if stage.layers else stage.most or self.depths[-1] for stage in self.structure.stages)
        return tuple(at_most(self.depths, ceiling) for ceiling in most)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All searchable layers, stage by stage."""
        slots, channels = [], self.channels(self.structure.fixed)
        for index, (stage, depths) in enumerate(zip(self.structure.stages, self.stage_depths, strict=True)):
            for layer in range(depths[-1]):
                largest = stage.layers[layer] if stage.layers else None
                slots.append(
                    Slot(
                        stage=index,
                        layer=layer,
                        in_channels=channels,
                        out_channels=self.channels(stage.width),
                        stride=stage.stride if layer == 0 else 1,
                        squeeze_excite=stage.squeeze_excite,
                        activation=stage.activation,
                        conventions=self.structure.conventions,
                        kernels=at_most(self.kernels, largest.kernel) if largest else self.kernels,
                        expands=at_least(self.expands, largest.least) if largest else self.expands,
                        base=largest.expanded if largest else channels,
                    )
                )
                channels = self.channels(stage.width)
        return tuple(slots)

    def active_slots(self, architecture: Architecture) -> list[tuple[int, int, float]]:
        """(slot index, kernel size, expand ratio) of each present layer, in order."""
        present = self._places(architecture.depths)
        return list(zip(present, architecture.kernels, architecture.expands, strict=True))

    def _places(self, depths: Sequence[int]) -> list[int]:
        """Indices of the slots that are present at the depths of the stages."""
        stages = zip(self.stage_offsets, depths, strict=True)
        return [index for offset, depth in stages for index in range(offset, offset + depth)]

    @cached_property
    def stage_offsets(self) -> tuple[int, ...]:
        """Index of the first slot of each stage."""
        return tuple(accumulate((depths[-1] for depths in self.stage_depths[:-1]), initial=0))

    def map_sizes(self, resolution: int) -> tuple[int, ...]:
        """Pixels of the input of each slot at an input size, then of the last one's output, shape (slots + 1,)."""
        return tuple(accumulate(self.slots, lambda size, slot: slot.out_size(size), initial=halved(resolution)))

    def size(self) -> int:
        """Number of distinct architectures (of this width)."""
        total = len(self.resolutions)
        for offset, depths in zip(self.stage_offsets, self.stage_depths, strict=True):
            choices = [len(codes) for codes in self.choices[offset : offset + depths[-1]]]
            total *= sum(math.prod(choices[:depth]) for depth in depths)
        return total

    # --- members -------------------------------------------------------------------------------------------------

    def uniform(self, kernel: int, expand: float, depth: int, resolution: int) -> Architecture:
        """The architecture with the same kernel, expand ratio and depth everywhere, as far as stages have them.

        Values that a stage does not have become its nearest; the resolution in pixels is taken as it is.
        """
        depths = tuple(nearest(legal, depth) for legal in self.stage_depths)
        slots = [self.slots[index] for index in self._places(depths)]
        kernels = tuple(nearest(slot.kernels, kernel) for slot in slots)
        expands = tuple(nearest(slot.expands, expand) for slot in slots)
        return Architecture(kernels, expands, depths, resolution, self.width, self.structure.name)

    def smallest(self) -> Architecture:
        """Least of every choice."""
        return self.uniform(self.kernels[0], self.expands[0], self.depths[0], self.resolutions[0])

    def largest(self) -> Architecture:
        """Greatest of every choice."""
        return self.uniform(self.kernels[-1], self.expands[-1], self.depths[-1], self.resolutions[-1])

    def with_resolutions(self, resolutions: Iterable[int]) -> "MobileNetSpace":
        """The same space with other input sizes."""
        return replace(self, resolutions=tuple(sorted(set(resolutions))))

    def validate(self, architecture: Architecture) -> None:
        """Raises `InputError`, naming the legal choices, unless the architecture is of this space."""
        self.validate_layers(architecture)
        check_choices("a resolution 'r'", (architecture.resolution,), self.resolutions)

    def validate_layers(self, architecture: Architecture) -> None:
        """Like `validate`, whatever the resolution: networks take images of any size."""
        a = architecture
        if a.family != self.structure.name:
            raise InputError(f"expected an architecture of space '{self.structure.name}', got '{a.family}'.")
        if a.width != self.width:
            raise InputError(f"expected an architecture of width {self.width}, got width {a.width}.")
        if len(a.depths) != self.num_stages:
            raise InputError(f"expected {self.num_stages} stage depths 'd', got {len(a.depths)}.")
        for name, values, legal in (
            ("depths 'd'", a.depths, sorted({depth for own in self.stage_depths for depth in own})),
            ("kernel sizes 'ks'", a.kernels, sorted({kernel for slot in self.slots for kernel in slot.kernels})),
            ("expand ratios 'e'", a.expands, self.expands),
        ):
            check_choices(name, values, legal)
        for stage, (depth, legal_depths) in enumerate(zip(a.depths, self.stage_depths, strict=True), start=1):
            check_choices(f"the depth of stage {stage}", (depth,), legal_depths)
        for number, (index, kernel, expand) in enumerate(self.active_slots(a), start=1):
            check_choices(f"the kernel size of layer {number}", (kernel,), self.slots[index].kernels)
            check_choices(f"the expand ratio of layer {number}", (expand,), self.slots[index].expands)

    # --- encodings -----------------------------------------------------------------------------------------------

    @property
    def upper(self) -> Encodings:
        """Greatest value of each gene, shape (1 + slots,)."""
        return np.array([len(self.resolutions) - 1] + [len(codes) for codes in self.choices])

    @property
    def lower(self) -> Encodings:
        """Least value of each gene, shape (1 + slots,): 1 for slots that no legal depth leaves out."""
        return np.array([0] + [int(slot.layer < self.stage_depths[slot.stage][0]) for slot in self.slots])

    @property
    def ordered(self) -> bool:
        """A greater code is a wider layer, or one of a larger kernel."""
        return True

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
        try:
            row[0] = self._resolution_index[a.resolution]
            places = self._places(a.depths)
            pairs = zip(places, a.kernels, a.expands, strict=True)
            present = [self.choices[index][kernel, expand] for index, kernel, expand in pairs]
            legal = a.width == self.width and a.family == self.structure.name
            legal = legal and all(depth in own for depth, own in zip(a.depths, self.stage_depths, strict=True))
        except (KeyError, ValueError, IndexError):
            legal = False
        if not legal:
            self.validate(a)
            raise AssertionError("an architecture that validates must encode")
        row[[1 + index for index in places]] = present

    @cached_property
    def choices(self) -> tuple[dict[tuple[int, float], int], ...]:
        """Of each slot: (kernel size, expand ratio) of a present layer -> its code."""
        return tuple(
            {
                (kernel, expand): 1 + e * len(slot.kernels) + k
                for e, expand in enumerate(slot.expands)
                for k, kernel in enumerate(slot.kernels)
            }
            for slot in self.slots
        )

    @cached_property
    def _resolution_index(self) -> dict[int, int]:
        return {resolution: index for index, resolution in enumerate(self.resolutions)}

    def decode(self, encodings: Encodings) -> list[Architecture]:
        """Architectures of encodings (n, 1 + slots); encodings that are not canonical are repaired first."""
        pairs = [list(codes) for codes in self.choices]
        architectures = []
        for resolution, *genes in self.repair(encodings).tolist():
            present = [pairs[index][code - 1] for index, code in enumerate(genes) if code]
            stages = zip(self.stage_offsets, self.stage_depths, strict=True)
            architectures.append(
                Architecture(
                    kernels=tuple(kernel for kernel, _ in present),
                    expands=tuple(expand for _, expand in present),
                    depths=tuple(sum(code > 0 for code in genes[o : o + depths[-1]]) for o, depths in stages),
                    resolution=self.resolutions[resolution],
                    width=self.width,
                    family=self.structure.name,
                )
            )
        return architectures

    def repair(self, encodings: Encodings) -> Encodings:
        """The canonical encodings nearest by rule, shape (n, 1 + slots); the input is not changed.

        Genes are clipped to their bounds; layers behind an absent one go (as in NAT's decoder); a stage of an illegal
        number of layers loses layers down to the next legal depth.
        """
        fixed = np.clip(np.atleast_2d(encodings), self.lower, self.upper).astype(np.int64)
        for offset, depths in zip(self.stage_offsets, self.stage_depths, strict=True):
            stage, legal = fixed[:, 1 + offset : 1 + offset + depths[-1]], np.array(depths)
            prefix = np.cumprod(stage > 0, axis=1).sum(axis=1)
            depth = legal[np.searchsorted(legal, prefix, side="right") - 1]
            stage[np.arange(depths[-1]) >= depth[:, None]] = 0
        return fixed

    def draw(self, count: int, rng: Generator) -> Encodings:
        """Resolution, depth of each stage, and kernel and expand ratio of each layer, each uniform over its choices."""
        lower = np.array([0] + [1] * len(self.slots))  # so that a layer is absent by its stage's depth alone
        encodings = rng.integers(lower, self.upper + 1, (count, len(lower)))
        for offset, legal in zip(self.stage_offsets, self.stage_depths, strict=True):
            stage = encodings[:, 1 + offset : 1 + offset + legal[-1]]
            stage[np.arange(legal[-1]) >= rng.choice(legal, (count, 1))] = 0
        return encodings

    # --- features and files ----------------------------------------------------------------------------------------

    def features(self, encodings: Encodings) -> NDArray[np.float64]:
        """Inputs for surrogates, in [0, 1], shape (n, d), of canonical encodings; see `LayerTable.features`."""
        return self._layer_table.features(np.atleast_2d(encodings))

    @cached_property
    def _layer_table(self) -> LayerTable:
        channels, macs = np.zeros((2, len(self.slots), 1 + int(self.upper[1:].max())), dtype=np.int64)
        for index, slot in enumerate(self.slots):
            for (kernel, expand), code in self.choices[index].items():
                channels[index, code] = slot.mid_channels(expand)
                sizes = slot.in_channels * slot.stride**2 + kernel**2 + slot.out_channels
                macs[index, code] = channels[index, code] * sizes
        return LayerTable(
            resolutions=np.array(self.resolutions),
            kernels=np.array([len(slot.kernels) for slot in self.slots]),
            expands=np.array([len(slot.expands) for slot in self.slots]),
            stages=np.array([slot.stage for slot in self.slots]),
            optional=self.lower[1:] == 0,
            channels=channels,
            macs=macs,
            area=1.0 / np.cumprod([stage.stride**2 for stage in self.structure.stages]),
        )

    def to_json(self) -> dict[str, Any]:
        """All choices, for a checkpoint's card; the structure as well, unless its name says it."""
        choices = {name: list(getattr(self, name)) for name in CHOICES}
        return with_structure({"family": self.structure.name, "width": self.width, **choices}, self.structure)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MobileNetSpace":
        """Reads `to_json`'s form."""
        if not isinstance(data, Mapping):
            raise InputError(f"expected a space as a JSON object, got {type(data).__name__}.")
        structure = structure_of(data, data.get("family", MOBILENETV3.name))
        try:
            lists = {name: tuple(data[name]) for name in CHOICES}
            return cls(width=float(data["width"]), **lists, structure=structure)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"expected a space with width, kernels, expands, depths and resolutions: {error}."
            ) from error


def named_spaces() -> dict[str, MobileNetSpace]:
    """The spaces that a supernet can be built in by name.

    `small` is for machines without a GPU; `nat-w1.0`, `nat-w1.2` and `proxyless-w1.3` are the published ones.
    """
    return {
        "small": MobileNetSpace(0.5, (3, 5), (2, 3, 4), (1, 2, 3), tuple(range(32, 129, 8))),
        "nat-w1.0": MobileNetSpace(width=1.0),
        "nat-w1.2": MobileNetSpace(width=1.2),
        "proxyless-w1.3": MobileNetSpace(width=1.3, structure=PROXYLESS),
    }
