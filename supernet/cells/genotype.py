"""Cells and genotypes as values: which operation is on which edge.

    >>> cell = Cell([[("sep_conv_3x3", 1), ("skip_connect", 0)]], outputs=[2])
    >>> cell.nodes
    ((('skip_connect', 0), ('sep_conv_3x3', 1)),)

Nodes are numbered from the inputs on: with two inputs, 0 is the cell before the last one, 1 the last cell, 2 the first
node of this cell. That is the numbering of DARTS' code in PyTorch; TensorFlow code of NASNet and PNAS has 0 and 1 the
other way round. How genotypes are spelled in files is `nat.supernet.cells.spelling`'s to know.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nat.errors import InputError
from nat.supernet.architecture import whole_numbers
from nat.supernet.cells.operations import check_operation

Edge = tuple[str, int]  # operation, node that it comes from
Node = tuple[Edge, ...]  # their sum


@dataclass(frozen=True, slots=True)
class Cell:
    """Nodes, each the sum of operations on earlier nodes, and the output, some nodes joined.

    Attributes:
        nodes: the edges into each node behind the inputs, sorted by where they come from.
        outputs: numbers of the nodes whose channels are joined, ascending.
        inputs: number of input nodes: 2, the last two cells, or 1, the last cell.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    inputs: int = 2

    def __init__(self, nodes: Sequence[Sequence[Edge]], outputs: Sequence[int], inputs: int = 2) -> None:
        """Sorts what has no order; refuses what is no cell.

        Raises:
            InputError: an operation is unknown, an edge comes from a later node, a node has no edges, or outputs are
                not nodes of the cell.
        """
        if inputs not in (1, 2):
            raise InputError(f"expected cells of 1 or 2 inputs, got {inputs!r}.")
        if not nodes:
            raise InputError("expected a cell of at least one node, got none.")
        checked = tuple(_node(edges, inputs + index) for index, edges in enumerate(nodes))
        ends = tuple(sorted(set(whole_numbers(outputs, "the outputs of a cell"))))
        last = inputs + len(checked) - 1
        if not ends or len(ends) != len(outputs) or ends[0] < inputs or ends[-1] > last:
            raise InputError(f"expected the outputs of a cell among its nodes {inputs} to {last}, got {list(outputs)}.")
        object.__setattr__(self, "nodes", checked)
        object.__setattr__(self, "outputs", ends)
        object.__setattr__(self, "inputs", inputs)

    @property
    def edges(self) -> tuple[tuple[int, int, str], ...]:
        """(from, to, operation) of each edge, by the node it goes to."""
        numbered = enumerate(self.nodes, start=self.inputs)
        return tuple((source, node, name) for node, edges in numbered for name, source in edges)

    @property
    def paired(self) -> bool:
        """Whether it can be spelled as a flat list: two inputs, and two edges into each node."""
        return self.inputs == 2 and all(len(node) == 2 for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Genotype:
    """What distinguishes a network of cells.

    Attributes:
        normal: the cell that keeps the size.
        reduce: the cell that halves it; None where a fixed block does.
    """

    normal: Cell
    reduce: Cell | None = None

    def __post_init__(self) -> None:
        """Refuses cells that do not fit behind each other."""
        if self.reduce is not None and self.reduce.inputs != self.normal.inputs:
            raise InputError(
                "expected normal and reduction cells with the same number of inputs, got "
                f"{self.normal.inputs} and {self.reduce.inputs}."
            )

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that name the genotype (SHA-256 of its canonical JSON)."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells there are, by their names in published genotypes."""
        return {"normal": self.normal} | ({} if self.reduce is None else {"reduce": self.reduce})

    @property
    def shown(self) -> dict[str, Cell]:
        """The cells that differ: where normal and reduction cells are the same, as in PNAS, one called "both"."""
        return {"both": self.normal} if self.reduce == self.normal else self.cells

    def to_json(self) -> dict[str, Any]:
        """The published form where each node has two edges; else a list of edges for each node, and `inputs`."""
        flat = all(cell.paired for cell in self.cells.values())
        data: dict[str, Any] = {} if self.normal.inputs == 2 else {"inputs": self.normal.inputs}
        for name, cell in self.cells.items():
            nodes = [[list(edge) for edge in node] for node in cell.nodes]
            data[name] = [edge for node in nodes for edge in node] if flat else nodes
            data[f"{name}_concat"] = list(cell.outputs)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Genotype":
        """Reads `to_json`'s form, or the fields of a published genotype.

        Args:
            data: `normal`, a list of pairs (operation, from), two for each node, or a list of them for each node;
                `normal_concat`, node numbers (all nodes where it is absent); likewise `reduce` and `reduce_concat`,
                or none; `inputs`, 1 or 2 (2 where it is absent).

        Raises:
            InputError: something is missing, of the wrong type, or no genotype.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"expected a genotype as a JSON object, got {type(data).__name__}.")
        known = ["normal", "normal_concat", "reduce", "reduce_concat", "inputs"]
        others = sorted(set(map(str, data)).difference(known))
        if others or "normal" not in data:
            raise InputError(
                f"expected a genotype with 'normal', and of {known} at most, got {sorted(map(str, data))}."
            )
        reduce = None if data.get("reduce") is None else _read_cell(data, "reduce")
        return cls(_read_cell(data, "normal"), reduce)


def _node(edges: Sequence[Edge], number: int) -> Node:
    if not edges:
        raise InputError(f"expected edges into node {number}, got none; spell a missing edge as 'none'.")
    for name, source in edges:
        check_operation(name)
        if not 0 <= whole_numbers([source], "where edges come from")[0] < number:
            raise InputError(f"expected edges into node {number} from nodes 0 to {number - 1}, got one from {source}.")
    return tuple(sorted(((name, int(source)) for name, source in edges), key=lambda edge: (edge[1], edge[0])))


def _read_cell(data: Mapping[str, Any], name: str) -> Cell:
    inputs = data.get("inputs", 2)
    if not isinstance(inputs, int) or isinstance(inputs, bool):
        raise InputError(f"expected 1 or 2 as 'inputs', got {inputs!r}.")
    nodes = _read_nodes(data[name], name)
    outputs = data.get(f"{name}_concat")
    outputs = range(inputs, inputs + len(nodes)) if outputs is None else outputs
    if not isinstance(outputs, list | tuple | range):
        raise InputError(f"expected a list of node numbers as '{name}_concat', got {outputs!r}.")
    return Cell(nodes, tuple(outputs), inputs)


def _read_nodes(items: Any, name: str) -> list[list[Edge]]:
    if not isinstance(items, list | tuple):
        raise InputError(f"expected a list of edges as '{name}', got {items!r}.")
    if all(_is_edge(item) for item in items):
        if len(items) % 2:
            raise InputError(
                f"expected two edges for each node in '{name}', got {len(items)} edges in all; cells "
                "with other numbers of edges list them node by node."
            )
        return [_read_edges(items[first : first + 2], name) for first in range(0, len(items), 2)]
    return [_read_edges(item, name) for item in items]


def _is_edge(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str)


def _read_edges(items: Any, name: str) -> list[Edge]:
    if not isinstance(items, list | tuple) or not all(_is_edge(item) for item in items):
        raise InputError(f"expected edges as pairs of an operation and a node number in '{name}', got {items!r}.")
    return [(SPELLINGS.get(edge[0], edge[0]), edge[1]) for edge in items]


# names of the same operations in NASP's published code
SPELLINGS = {
    "conv 1x1": "conv_1x1",
    "conv 3x3": "conv_3x3",
    "sep_3x3": "sep_conv_3x3",
    "sep_5x5": "sep_conv_5x5",
    "sep_7x7": "sep_conv_7x7",
}
