"""Spaces of edge cells, as data: which nodes there are, which operations may be on the edges, and how many edges stay.

    >>> cell_spaces()["nas-bench-201"].size()
    15625

A node is the sum of operations on edges from earlier nodes. Of the edges into each node `kept` are chosen, each with an
operation. Encodings are integer arrays: for each cell, for each node, which edges are kept, as an index into their
combinations in lexicographic order (no gene where there is only one), then the operation on each of them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.errors import InputError
from nat.supernet.cells import operations
from nat.supernet.cells.counting import operation_costs
from nat.supernet.cells.genotype import Cell, Edge, Genotype
from nat.supernet.searchable import Encodings

NOMINAL_CHANNELS, NOMINAL_SIZE = 32, 8  # where `smallest` and `largest` compare operations


class Place(NamedTuple):
    """The genes of one node.

    Attributes:
        cell: "normal" or "reduce".
        node: its number.
        sources: the nodes that its kept edges come from, for each way to keep them, shape (ways, kept).
        first: its first gene.
    """

    cell: str
    node: int
    sources: NDArray[np.int64]
    first: int

    @property
    def edges(self) -> int:
        """How many edges it keeps."""
        return len(self.sources[0])

    @property
    def operations(self) -> slice:
        """The genes of the operations on them."""
        start = self.first + (len(self.sources) > 1)
        return slice(start, start + self.edges)


class Kept(NamedTuple):
    """The edges into one node that encodings keep: where they come from and the index of the operation, (n, kept)."""

    place: Place
    sources: NDArray[np.int64]
    operations: NDArray[np.int64]


@dataclass(frozen=True)
class EdgeCellSpace:
    """All cells of one shape.

    Attributes:
        name: of the space.
        normal: operations to choose from in normal cells.
        reduction: the same in cells that halve the size; none where a fixed block does that.
        nodes: behind the inputs.
        inputs: 2, the last two cells, or 1, the last cell.
        kept: edges into a node in the end; None for all that there are.
        joined: the output is all nodes' channels; else the last node.
        zero: search networks also have `none` on each edge, which no derived cell keeps.
    """

    name: str
    normal: tuple[str, ...]
    reduction: tuple[str, ...] = ()
    nodes: int = 4
    inputs: int = 2
    kept: int | None = 2
    joined: bool = True
    zero: bool = False

    def __post_init__(self) -> None:
        """Refuses what no cell can be made of.

        Raises:
            InputError: a number is out of range, or an operation is unknown or listed twice.
        """
        if self.nodes < 1 or self.inputs not in (1, 2) or (self.kept is not None and self.kept < 1):
            raise InputError(
                "expected at least 1 node, 1 or 2 inputs and at least 1 kept edge, got "
                f"{self.nodes}, {self.inputs} and {self.kept}."
            )
        if not self.normal:
            raise InputError("expected operations for normal cells, got none.")
        for names in self.candidates.values():
            for name in names:
                operations.check_operation(name)
            if len(set(names)) < len(names):
                raise InputError(f"expected distinct operations, got {', '.join(names)}.")

    # --- structure -----------------------------------------------------------------------------------------------

    @property
    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Operations to choose from, of each cell that is searched."""
        return {"normal": self.normal} | ({"reduce": self.reduction} if self.reduction else {})

    @property
    def searched(self) -> dict[str, tuple[str, ...]]:
        """Operations on each edge of a search network: `candidates`, behind `none` where that is one of them."""
        return {cell: (operations.NONE, *names) if self.zero else names for cell, names in self.candidates.items()}

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """All edges that there can be in a cell, (from, to), by the node they go to."""
        return tuple((source, node) for node in self._numbers for source in range(node))

    @property
    def outputs(self) -> tuple[int, ...]:
        """The nodes whose channels a cell gives."""
        return tuple(self._numbers) if self.joined else (self._numbers[-1],)

    @property
    def _numbers(self) -> range:
        return range(self.inputs, self.inputs + self.nodes)

    def stride(self, cell: str, source: int) -> int:
        """Of an operation: reduction cells halve what comes from their inputs."""
        return 2 if cell == "reduce" and source < self.inputs else 1

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """All nodes of all cells that are searched."""
        places, gene = [], 0
        for cell in self.candidates:
            for node in self._numbers:
                kept = node if self.kept is None else min(self.kept, node)
                place = Place(cell, node, np.array(list(combinations(range(node), kept))), gene)
                places.append(place)
                gene = place.operations.stop
        return tuple(places)

    def size(self) -> int:
        """Number of distinct genotypes."""
        return math.prod((self.upper + 1).tolist())

    # --- members -------------------------------------------------------------------------------------------------

    def smallest(self) -> Genotype:
        """Operations of least multiply-adds, then parameters, on every edge."""
        return self._extreme(1)

    def largest(self) -> Genotype:
        """Operations of most multiply-adds, then parameters, on every edge, in cells of 14 channels or more."""
        return self._extreme(-1)

    def _extreme(self, sign: int) -> Genotype:
        """The costs of edges add up, so that each edge is decided on its own, then which edges are kept."""

        def cost(place: Place, source: int, name: str) -> tuple[int, int]:
            stride = self.stride(place.cell, source)
            macs, params = operation_costs(name, NOMINAL_CHANNELS, stride, NOMINAL_SIZE * stride)
            return sign * macs, sign * params

        row = np.zeros(len(self.upper), dtype=np.int64)
        for place in self.places:
            names = self.candidates[place.cell]
            best = [
                min((*cost(place, source, name), index) for index, name in enumerate(names))
                for source in range(place.node)
            ]
            totals = [tuple(sum(best[source][part] for source in way) for part in (0, 1)) for way in place.sources]
            way = totals.index(min(totals))
            row[place.first] = way  # overwritten where there is only one
            row[place.operations] = [best[source][2] for source in place.sources[way]]
        return self.decode(row[None])[0]

    def validate(self, genotype: Genotype) -> None:
        """Raises `InputError`, saying what is legal, unless the genotype is of this space."""
        if set(genotype.cells) != set(self.candidates):
            raise InputError(
                f"expected a genotype with the cells {', '.join(self.candidates)} for space '{self.name}', got "
                f"{', '.join(genotype.cells)}. Give one that was found in this space, or name its own."
            )
        for name, cell in genotype.cells.items():
            self._validate_cell(name, cell)

    def _validate_cell(self, name: str, cell: Cell) -> None:
        place = f"in the {name} cell for space '{self.name}'"
        if (cell.inputs, len(cell.nodes), cell.outputs) != (self.inputs, self.nodes, self.outputs):
            raise InputError(
                f"expected {self.inputs} inputs, {self.nodes} nodes and the outputs {list(self.outputs)} {place}, got "
                f"{cell.inputs}, {len(cell.nodes)} and {list(cell.outputs)}. Name the space that it was found in."
            )
        legal = self.candidates[name]
        for op in sorted({op for node in cell.nodes for op, _ in node}.difference(legal)):
            raise InputError(f"expected operations among {', '.join(legal)} {place}, got '{op}'.")
        for number, node in zip(self._numbers, cell.nodes, strict=True):
            kept = number if self.kept is None else min(self.kept, number)
            sources = [source for _, source in node]
            if len(sources) != kept or len(set(sources)) != kept:
                raise InputError(
                    f"expected {kept} edges from different nodes into node {number} {place}, got {sources}."
                )

    # --- encodings -----------------------------------------------------------------------------------------------

    @cached_property
    def lower(self) -> Encodings:
        """Zeros."""
        return np.zeros(self.places[-1].operations.stop, dtype=np.int64)

    @cached_property
    def upper(self) -> Encodings:
        """Greatest value of each gene."""
        upper = self.lower.copy()
        for place in self.places:
            upper[place.first] = len(place.sources) - 1
            upper[place.operations] = len(self.candidates[place.cell]) - 1
        return upper

    @property
    def ordered(self) -> bool:
        """Genes are categories."""
        return False

    def repair(self, encodings: Encodings) -> Encodings:
        """Clipped to the choices; every combination is canonical."""
        return np.clip(np.atleast_2d(encodings), self.lower, self.upper).astype(np.int64)

    def draw(self, count: int, rng: Generator) -> Encodings:
        """Uniform."""
        return rng.integers(self.lower, self.upper + 1, (count, len(self.lower)))

    def encode(self, architectures: Sequence[Genotype]) -> Encodings:
        """Canonical encodings (n, genes).

        Raises:
            InputError: a genotype is not of this space.
        """
        encodings = np.zeros((len(architectures), len(self.lower)), dtype=np.int64)
        for row, genotype in zip(encodings, architectures, strict=True):
            self.validate(genotype)
            for place in self.places:
                node = genotype.cells[place.cell].nodes[place.node - self.inputs]
                sources = [source for _, source in node]
                row[place.first] = np.flatnonzero((place.sources == sources).all(axis=1))[0]
                row[place.operations] = [self.candidates[place.cell].index(name) for name, _ in node]
        return encodings

    def decode(self, encodings: Encodings) -> list[Genotype]:
        """Genotypes of encodings (n, genes), repaired first."""
        kept = list(self.kept_edges(self.repair(encodings)))
        genotypes = []
        for row in range(len(np.atleast_2d(encodings))):
            cells: dict[str, list[list[Edge]]] = {cell: [] for cell in self.candidates}
            for place, sources, chosen in kept:
                names = self.candidates[place.cell]
                pairs = zip(chosen[row].tolist(), sources[row].tolist(), strict=True)
                cells[place.cell].append([(names[op], source) for op, source in pairs])
            made = {cell: Cell(nodes, self.outputs, self.inputs) for cell, nodes in cells.items()}
            genotypes.append(Genotype(made["normal"], made.get("reduce")))
        return genotypes

    def kept_edges(self, encodings: Encodings) -> Iterator[Kept]:
        """The edges of canonical encodings (n, genes), node by node."""
        for place in self.places:
            one = len(place.sources) == 1
            ways = np.zeros(len(encodings), dtype=np.int64) if one else encodings[:, place.first]
            yield Kept(place, place.sources[ways], encodings[:, place.operations])

    def features(self, encodings: Encodings) -> NDArray[np.float64]:
        """Inputs for surrogates, in [0, 1], shape (n, d), of canonical encodings (n, genes).

        For each edge and operation whether it is there; for each cell and operation its share of the edges.
        """
        rows = np.arange(len(encodings))[:, None]
        columns: list[NDArray[np.float64]] = []
        shares: dict[str, NDArray[np.float64]] = {}
        for place, sources, chosen in self.kept_edges(encodings):
            count = len(self.candidates[place.cell])
            there = np.zeros((len(encodings), place.node, count))
            there[rows, sources, chosen] = 1.0
            columns.append(there.reshape(len(encodings), -1))
            shares[place.cell] = there.sum(axis=1) + shares.get(place.cell, 0.0)
        columns += [share / share.sum(axis=1, keepdims=True) for share in shares.values()]
        return np.concatenate(columns, axis=1)


def cell_spaces() -> dict[str, EdgeCellSpace]:
    """The spaces that can be named.

    `darts` is also what GDAS searches; `nasp` is as NASP's published code has it, `nasp-7` and `nasp-12` are the spaces
    of its paper; `digits` is our own of three edges, all of whose cells are measured (`benchmarks/digits_cells.py`).
    """
    five = operations.NAS_BENCH_201
    spaces = [
        EdgeCellSpace("darts", operations.SEVEN, operations.SEVEN, zero=True),
        EdgeCellSpace("nasp", operations.NASP_NORMAL, operations.NASP_REDUCTION),
        EdgeCellSpace("nasp-7", operations.SEVEN, operations.SEVEN),
        EdgeCellSpace("nasp-12", operations.TWELVE, operations.TWELVE),
        EdgeCellSpace("nas-bench-201", five, nodes=3, inputs=1, kept=None, joined=False),
        EdgeCellSpace("digits", five, nodes=2, inputs=1, kept=None, joined=False),
    ]
    return {space.name: space for space in spaces}
