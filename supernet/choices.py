"""What may be chosen, as ascending numbers."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from nat.errors import InputError

Number = TypeVar("Number", int, float)


def nearest(legal: tuple[Number, ...], wanted: float) -> Number:
    """The greatest of ascending choices that is not above what is wanted; else the least."""
    return max((value for value in legal if value <= wanted), default=legal[0])


def at_least(values: tuple[float, ...], least: float) -> tuple[float, ...]:
    """Those of ascending values that are at least `least`; where it is above all, the last alone."""
    return tuple(value for value in values if value >= least) or values[-1:]


def at_most(values: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Those of ascending values that are at most `most`; where it is below all, `most` alone."""
    return tuple(value for value in values if value <= most) or (most,)


def check_choices(name: str, values: Iterable[float], legal: Iterable[float]) -> None:
    """Raises `InputError`, naming both, unless all values are legal."""
    illegal = sorted(set(values).difference(legal))
    if illegal:
        raise InputError(f"expected {name} among {_listed(legal)}, got {_listed(illegal)}.")


def _listed(values: Iterable[float]) -> str:
    values = list(values)
    if len(values) > 6 and len({b - a for a, b in pairwise(values)}) == 1:
        return f"{values[0]}, {values[1]}, ..., {values[-1]}"
    return ", ".join(f"{value:g}" for value in values)
