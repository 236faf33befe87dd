"""One architecture of a space of mobile networks, as a value.

    >>> net = Architecture(kernels=(3,) * 10, expands=(4,) * 10, depths=(2,) * 5, resolution=224)
    >>> Architecture.from_json(net.to_json()) == net
    True

Only the layers that are present are held, stage by stage, so that two spellings of one network (lists padded
with anything, as once-for-all writes them) are one value. Which values are legal is the space's to say
(`nat.supernet.space.MobileNetSpace.validate`).
"""

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from nat.errors import InputError

DEFAULT_FAMILY = "mobilenetv3"
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Kernel sizes and expand ratios of the present layers, layers per stage, input size and width.

    Attributes:
        kernels: depthwise kernel size of each present layer, stage by stage; length = sum(depths).
        expands: expand ratio of each present layer; same length.
        depths: number of layers of each stage.
        resolution: input height and width in pixels.
        width: width multiplier of the supernet that the network belongs to.
        family: name of the structure (`nat.supernet.structure`) that the network belongs to.
    """

    kernels: tuple[int, ...]
    expands: tuple[float, ...]
    depths: tuple[int, ...]
    resolution: int
    width: float = 1.0
    family: str = DEFAULT_FAMILY

    def __post_init__(self) -> None:
        """Makes 4.0 and 4, lists and tuples, numpy's and Python's integers one spelling; refuses unequal lengths."""
        object.__setattr__(self, "kernels", whole_numbers(self.kernels, "kernels"))
        object.__setattr__(self, "expands", tuple(int(e) if e == int(e) else float(e) for e in self.expands))
        object.__setattr__(self, "depths", whole_numbers(self.depths, "depths"))
        object.__setattr__(self, "resolution", whole_numbers([self.resolution], "a resolution")[0])
        object.__setattr__(self, "width", float(self.width))
        layers = sum(self.depths)
        if len(self.kernels) != layers or len(self.expands) != layers:
            raise InputError(
                f"expected {layers} kernel sizes and expand ratios (the sum of depths {list(self.depths)}), got "
                f"{len(self.kernels)} and {len(self.expands)}. List present layers only."
            )

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that name the architecture (SHA-256 of its canonical JSON)."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        """The published `net.subnet` form, plus `space`."""
        return {
            "space": self.family,
            "ks": list(self.kernels),
            "e": list(self.expands),
            "d": list(self.depths),
            "r": self.resolution,
            "w": self.width,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Architecture":
        """Reads `to_json`'s form, a published `net.subnet`, or once-for-all's padded lists.

        Args:
            data: keys `ks`, `e`, `d`, `r` and, optionally, `w` (1.0 if absent or null) and `space`. `ks` and `e` list
                the present layers, or all slots of all stages, of which the first `d[s]` of each stage count. `r` may
                be an integer or a list of one.

        Raises:
            InputError: a key is missing, of the wrong type, or the lengths do not fit together.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"expected an architecture as a JSON object, got {type(data).__name__}.")
        family = data.get("space", DEFAULT_FAMILY)
        if not isinstance(family, str):
            raise InputError(f"expected the name of a space, got {family!r}.")
        missing = [key for key in ("ks", "e", "d", "r") if key not in data]
        if missing:
            raise InputError(f"expected an architecture with the keys ks, e, d, r; {', '.join(missing)} missing.")
        depths = tuple(_integers(data["d"], "d"))
        resolution = _integers(data["r"] if isinstance(data["r"], list | tuple) else [data["r"]], "r")
        if len(resolution) != 1:
            raise InputError(f"expected one resolution 'r', got {len(resolution)}.")
        return cls(
            kernels=tuple(_present(_integers(data["ks"], "ks"), depths, "ks")),
            expands=tuple(_present(_numbers(data["e"], "e"), depths, "e")),
            depths=depths,
            resolution=resolution[0],
            width=_numbers([1.0 if data.get("w") is None else data["w"]], "w")[0],
            family=family,
        )


def whole_numbers(values: Iterable[Any], name: str) -> tuple[int, ...]:
    """The values as Python integers.

    Raises:
        InputError: one is not an integer; 3.0 is not one here, although it equals 3, as it would make another id.
    """
    values = tuple(values)
    try:
        return tuple(map(operator.index, values))
    except TypeError as error:
        raise InputError(f"expected whole numbers as {name}, got {list(values)}.") from error


def _numbers(values: Any, key: str) -> list[float]:
    """The values as integers where they are whole (4.0 and 4 are one expand ratio), else floats."""
    if not isinstance(values, list | tuple):
        raise InputError(f"expected a list of numbers as '{key}', got {values!r}.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
            raise InputError(f"expected numbers in '{key}', got {value!r}.")
    return [int(value) if value == int(value) else float(value) for value in values]


def _integers(values: Any, key: str) -> list[int]:
    numbers = _numbers(values, key)
    for value in numbers:
        if not isinstance(value, int) or value < 0:
            raise InputError(f"expected whole numbers of at least 0 in '{key}', got {value!r}.")
    return [int(value) for value in numbers]


def _present(values: list[Number], depths: tuple[int, ...], key: str) -> list[Number]:
    """Drops the padding of absent layers from a list that names every slot of every stage."""
    if len(values) == sum(depths):
        return values
    slots, rest = divmod(len(values), len(depths) or 1)
    if rest or not depths or max(depths) > slots:
        raise InputError(
            f"expected '{key}' to list {sum(depths)} present layers (the sum of d), or the same number of slots for "
            f"each of {len(depths)} stages, got {len(values)} values."
        )
    return [values[stage * slots + layer] for stage, depth in enumerate(depths) for layer in range(depth)]
