"""Block cells, as NASNet and PNAS have them: blocks (I1, O1, I2, O2), each the sum of two operations.

    >>> space = BlockSpace(blocks=1)
    >>> space.raw_size(1), space.size()
    (256, 136)

Liu et al., Progressive Neural Architecture Search, ECCV 2018. Inputs are numbered as in the rest of this package and in
DARTS' code: 0 is the cell before the last one, 1 the last cell, 2 the first block. TensorFlow's code of NASNet and PNAS
has 0 and 1 the other way round (`BlockCell.from_tensorflow`); taken over as it is, a published cell would be another
network. Swapping the two halves of a block changes nothing, so each cell has one canonical form.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.errors import InputError, unknown_name
from nat.supernet.cells.counting import operation_costs
from nat.supernet.cells.genotype import Cell, Genotype
from nat.supernet.cells.operations import check_operation
from nat.supernet.searchable import Encodings

PNAS = (
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "skip_connect",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
)  # the eight of the paper; its "1x7 then 7x1" has the name that DARTS' code gives it
INPUTS = 2
NOMINAL = (32, 8)  # channels and size where `smallest` and `largest` compare operations, on inputs of a reduction


class Block(NamedTuple):
    """The sum of two operations, each on an earlier output."""

    first: int
    first_operation: str
    second: int
    second_operation: str


@dataclass(frozen=True, slots=True)
class BlockCell:
    """A cell, in canonical form: of each block the lesser half, by input and then name, comes first.

    Attributes:
        blocks: from the first on; the block numbered k may have inputs 0 to k + 1.
    """

    blocks: tuple[Block, ...]

    def __init__(self, blocks: Sequence[Sequence[Any]]) -> None:
        """Orders the halves of each block.

        Raises:
            InputError: there is no block, one is no (input, operation, input, operation), an input is not there yet or
                an operation is unknown.
        """
        if not blocks:
            raise InputError("expected a cell of at least one block, got none.")
        object.__setattr__(self, "blocks", tuple(_block(block, place) for place, block in enumerate(blocks)))

    @property
    def level(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def prefix(self, level: int) -> "BlockCell":
        """The cell that its first blocks are."""
        return BlockCell(self.blocks[:level])

    @property
    def unused(self) -> tuple[int, ...]:
        """Numbers of the blocks that no other block takes as an input; their channels are what the cell gives."""
        used = {number for block in self.blocks for number in (block.first, block.second)}
        return tuple(number for number in range(INPUTS, INPUTS + self.level) if number not in used)

    def genotype(self, *, join_all: bool = False) -> Genotype:
        """The same cell as normal and as reduction cell, for `CellNetwork`.

        Args:
            join_all: joins all blocks, as the published PNASNet-5 does; else those that no other takes.
        """
        nodes = [[(b.first_operation, b.first), (b.second_operation, b.second)] for b in self.blocks]
        outputs = range(INPUTS, INPUTS + self.level) if join_all else self.unused
        cell = Cell(nodes, list(outputs))
        return Genotype(cell, cell)

    @classmethod
    def of(cls, genotype: Genotype) -> "BlockCell":
        """The cell that a genotype has as normal and as reduction cell; which blocks it joins is left out.

        Raises:
            InputError: the cells differ, or are not of two inputs and two operations a node.
        """
        cell = genotype.normal
        if genotype.reduce != cell or not cell.paired:
            raise InputError(
                "expected one cell of blocks, of two operations each, as normal and as reduction cell, got "
                f"{'cells that differ' if cell.paired else 'other nodes'}. Give PNAS's form: "
                '{"blocks": [[input, operation, input, operation], ...]}.'
            )
        return cls([[number for name, source in node for number in (source, name)] for node in cell.nodes])

    @property
    def id(self) -> str:
        """A short name of the content, 10 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        """`{"blocks": [[input, operation, input, operation], ...]}`, inputs numbered as said above."""
        return {"blocks": [list(block) for block in self.blocks]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "BlockCell":
        """Reads `to_json`'s form.

        Raises:
            InputError: it is another form, or no cell.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("blocks"), list):
            raise InputError(f"expected a block cell as {{'blocks': [[0, 'sep_conv_3x3', 1, ...], ...]}}, got {data}.")
        return cls(data["blocks"])

    def to_tensorflow(self) -> list[list[Any]]:
        """Blocks with the inputs numbered as in TensorFlow's code: 0 the last cell, 1 the one before."""
        return [[_swapped(b[0]), b[1], _swapped(b[2]), b[3]] for b in self.blocks]

    @classmethod
    def from_tensorflow(cls, blocks: Sequence[Sequence[Any]]) -> "BlockCell":
        """A cell of blocks (input, operation, input, operation) numbered as in TensorFlow's code."""
        return cls([[_swapped(block[0]), block[1], _swapped(block[2]), block[3]] for block in blocks])


def _swapped(number: int) -> int:
    return 1 - number if number < INPUTS else number


def _block(given: Sequence[Any], place: int) -> Block:
    try:
        first, first_operation, second, second_operation = given
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a block as [input, operation, input, operation], got {given!r}.") from error
    for number in (first, second):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < INPUTS + place:
            raise InputError(f"expected inputs of block {place + 1} from 0 to {INPUTS + place - 1}, got {number!r}.")
    for name in (first_operation, second_operation):
        check_operation(name)
    low, high = sorted([(first, first_operation), (second, second_operation)])
    return Block(*low, *high)


@dataclass(frozen=True)
class BlockSpace:
    """All cells of a number of blocks, and their prefixes, which grow block by block.

    Encodings have four genes a block: input, operation, input, operation; operations by their place in the list. Those
    of prefixes, of level b, have 4b genes. There is no symmetry but that of the halves: cells whose blocks could be
    reordered count as different, as they have different prefixes.

    Attributes:
        blocks: of a whole cell; PNAS's are 5.
        operations: to choose from.
    """

    blocks: int = 5
    operations: tuple[str, ...] = PNAS

    def __post_init__(self) -> None:
        """Refuses what no cell can be made of.

        Raises:
            InputError: no block, no operation, one that is unknown or listed twice.
        """
        if self.blocks < 1 or not self.operations or len(set(self.operations)) < len(self.operations):
            raise InputError(
                f"expected at least 1 block and distinct operations, got {self.blocks} and {self.operations}."
            )
        for name in self.operations:
            check_operation(name)

    # --- prefixes --------------------------------------------------------------------------------------------------

    @property
    def levels(self) -> int:
        """Levels of growth: one a block."""
        return self.blocks

    @property
    def vocabulary(self) -> tuple[int, int]:
        """Number of inputs and of operations that the genes of whole cells name."""
        return INPUTS + self.blocks - 1, len(self.operations)

    def raw_size(self, level: int) -> int:
        """Choices for the block of a level, with both orders of its halves: (level + 1)^2 operations^2."""
        return ((level + 1) * len(self.operations)) ** 2

    def options(self, level: int) -> Encodings:
        """All canonical blocks of a level, shape (m (m + 1) / 2, 4) with m = (level + 1) operations."""
        low, high = np.triu_indices((level + 1) * len(self.operations))
        return np.stack([*np.divmod(low, len(self.operations)), *np.divmod(high, len(self.operations))], axis=1)

    def first(self) -> Encodings:
        """All prefixes of level 1, shape (n, 4)."""
        return self.options(1)

    def expand(self, prefixes: Encodings) -> Encodings:
        """Each prefix (n, 4b) with every block of the next level, shape (n * options, 4b + 4), prefix by prefix."""
        options = self.options(prefixes.shape[1] // 4 + 1)
        return np.hstack([np.repeat(prefixes, len(options), axis=0), np.tile(options, (len(prefixes), 1))])

    # --- members ---------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Number of distinct cells of all blocks."""
        halves = [(level + 1) * len(self.operations) for level in range(1, self.blocks + 1)]
        return math.prod(m * (m + 1) // 2 for m in halves)

    def smallest(self) -> BlockCell:
        """The operation that is cheapest on inputs everywhere, block behind block, so that only the last is joined."""
        name = self.operations[int(np.argmin(self._nominal))]
        return BlockCell([[place and place + 1, name, place and place + 1, name] for place in range(self.blocks)])

    def largest(self) -> BlockCell:
        """The most costly operation everywhere, all blocks on the cell's inputs, so that all are joined."""
        name = self.operations[int(np.argmax(self._nominal))]
        return BlockCell([[0, name, 1, name]] * self.blocks)

    @cached_property
    def _nominal(self) -> list[int]:
        channels, size = NOMINAL
        return [operation_costs(name, channels, 2, size)[0] for name in self.operations]

    # --- encodings -------------------------------------------------------------------------------------------------

    @cached_property
    def lower(self) -> Encodings:
        """Zeros, shape (4 blocks,)."""
        return np.zeros(4 * self.blocks, dtype=np.int64)

    @cached_property
    def upper(self) -> Encodings:
        """The last input that is there, and the last operation, shape (4 blocks,)."""
        genes = [[INPUTS + place - 1, len(self.operations) - 1] * 2 for place in range(self.blocks)]
        return np.array(genes, dtype=np.int64).reshape(-1)

    @property
    def ordered(self) -> bool:
        """Genes are categories."""
        return False

    def repair(self, encodings: Encodings) -> Encodings:
        """Clipped, the lesser half of each block first; also of prefixes (n, 4b)."""
        rows = np.atleast_2d(encodings)
        genes = rows.shape[1]
        halves = (
            np.clip(rows, self.lower[:genes], self.upper[:genes]).astype(np.int64).reshape(len(rows), genes // 4, 2, 2)
        )
        codes = halves[..., 0] * len(self.operations) + halves[..., 1]
        swap = codes[..., 0] > codes[..., 1]
        halves[swap] = halves[swap][:, ::-1]
        return halves.reshape(len(rows), genes)

    def draw(self, count: int, rng: Generator) -> Encodings:
        """Every gene uniform over its choices, then repaired; so blocks with equal halves are half as likely."""
        return self.repair(rng.integers(self.lower, self.upper + 1, (count, len(self.lower))))

    def encode(self, architectures: Sequence[BlockCell]) -> Encodings:
        """Canonical encodings, shape (n, 4 blocks); of prefixes of one level, (n, 4 level).

        Raises:
            InputError: the cells differ in their number of blocks or have too many, or an operation is not in the list.
        """
        levels = {cell.level for cell in architectures} or {self.blocks}
        if len(levels) > 1 or max(levels) > self.blocks:
            raise InputError(f"expected cells of one number of blocks, at most {self.blocks}, got {sorted(levels)}.")
        rows = [[gene for block in cell.blocks for gene in self._genes(block)] for cell in architectures]
        return self.repair(np.array(rows, dtype=np.int64).reshape(-1, 4 * levels.pop()))

    def _genes(self, block: Block) -> tuple[int, int, int, int]:
        for name in (block.first_operation, block.second_operation):
            if name not in self._places:
                raise unknown_name("operation of this space", name, self.operations)
        first, second = self._places[block.first_operation], self._places[block.second_operation]
        return block.first, first, block.second, second

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.operations)}

    def decode(self, encodings: Encodings) -> list[BlockCell]:
        """Cells of encodings (n, 4 blocks), or of prefixes (n, 4b), repaired first."""
        rows, names = self.repair(encodings), self.operations
        return [
            BlockCell([(a, names[b], c, names[d]) for a, b, c, d in row])
            for row in rows.reshape(len(rows), rows.shape[1] // 4, 4).tolist()
        ]

    def features(self, encodings: Encodings) -> NDArray[np.float64]:
        """One column for each value of each gene, 0 or 1, shape (n, d)."""
        columns = [np.eye(most + 1)[genes] for most, genes in zip(self.upper, encodings.T, strict=True)]
        return np.concatenate(columns, axis=1)
