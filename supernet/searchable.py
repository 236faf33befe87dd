"""What a search needs of a space and of its costs: nothing here knows of networks.

Strategies vary encodings, integer arrays whose genes are categories, and ask a space what they mean. So they run on
any space that offers these members: elastic mobile networks, cells, tables of measured ones.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Encodings = NDArray[np.int64]
Counts = NDArray[np.int64]


class SearchSpace(Protocol):
    """Architectures to choose from. They are hashable values; each has one canonical encoding, a row of g genes."""

    @property
    def lower(self) -> Encodings:
        """Least value of each gene, shape (g,)."""

    @property
    def upper(self) -> Encodings:
        """Greatest value of each gene, shape (g,)."""

    @property
    def ordered(self) -> bool:
        """Whether a greater value of a gene costs more; else genes are mere categories."""

    def repair(self, encodings: Encodings) -> Encodings:
        """Canonical encodings (n, g) of any integers (n, g); canonical ones stay as they are."""

    def draw(self, count: int, rng: Generator) -> Encodings:
        """Random canonical encodings, shape (count, g), which may repeat."""

    def encode(self, architectures: Sequence[Any]) -> Encodings:
        """Canonical encodings (n, g)."""

    def decode(self, encodings: Encodings) -> list[Any]:
        """Architectures of encodings (n, g), repaired first."""

    def features(self, encodings: Encodings) -> NDArray[np.float64]:
        """Inputs for surrogates, in [0, 1], shape (n, d), of canonical encodings (n, g)."""

    def smallest(self) -> Any:
        """The architecture with the least costs."""

    def largest(self) -> Any:
        """The architecture with the greatest costs."""

    def size(self) -> int:
        """Number of distinct architectures."""


class Costs(Protocol):
    """Exact costs of the architectures of a space."""

    @property
    def space(self) -> SearchSpace:
        """The architectures that this counts."""

    def macs(self, encodings: Encodings) -> Counts:
        """Multiply-adds of canonical encodings (n, g), shape (n,)."""

    def params(self, encodings: Encodings) -> Counts:
        """Parameters of canonical encodings (n, g), shape (n,)."""

    def ends(self) -> Encodings:
        """Architectures that have the least and the greatest of every cost, shape (n, g)."""

    def of(self, architecture: Any) -> tuple[int, int]:
        """Multiply-adds and parameters of one architecture."""


def combinations(space: SearchSpace, most: int) -> Encodings | None:
    """All canonical encodings of a space, shape (size, g); None if its genes have over `most` combinations."""
    choices = space.upper - space.lower + 1
    if np.prod(choices.astype(float)) > most:
        return None
    grid = np.indices(tuple(choices)).reshape(len(choices), -1).T
    return np.unique(space.repair(grid + space.lower), axis=0)
