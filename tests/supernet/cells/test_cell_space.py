"""Spaces have the sizes of the literature and refuse what is not theirs; see also tests/contracts/test_spaces.py."""

import math

import numpy as np
import pytest

from nat.errors import InputError
from nat.supernet.cells.genotype import Cell, Genotype
from nat.supernet.cells.space import EdgeCellSpace, cell_spaces
from nat.supernet.cells.spelling import find_genotype

SPACES = cell_spaces()


def test_sizes() -> None:
    per_cell = math.prod(math.comb(k, 2) * 7**2 for k in range(2, 6))
    assert per_cell == 1_037_664_180
    assert SPACES["darts"].size() == per_cell**2
    assert SPACES["nas-bench-201"].size() == 15_625
    assert SPACES["digits"].size() == 125
    assert SPACES["nasp-12"].size() == (180 * 12**8) ** 2
    assert SPACES["nasp"].size() == 180**2 * 8**8 * 5**8


def test_edges() -> None:
    assert len(SPACES["darts"].edges) == 14
    assert SPACES["nas-bench-201"].edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert SPACES["digits"].edges == ((0, 1), (0, 2), (1, 2))
    assert SPACES["darts"].stride("reduce", 1) == 2
    assert SPACES["darts"].stride("reduce", 2) == SPACES["darts"].stride("normal", 0) == 1


def test_search_networks_have_none_where_cells_have_not() -> None:
    assert SPACES["darts"].searched["normal"] == ("none", *SPACES["darts"].normal)
    assert SPACES["nasp-7"].searched == SPACES["nasp-7"].candidates
    assert set(SPACES["digits"].candidates) == {"normal"}


@pytest.mark.parametrize(("name", "space"), [("darts-v1", "darts"), ("darts-v2", "nasp-7"), ("nasp", "nasp-12")])
def test_published_genotypes_are_in_their_spaces(name: str, space: str) -> None:
    genotype = find_genotype(name)
    assert SPACES[space].decode(SPACES[space].encode([genotype])) == [genotype]


def test_genes_are_as_documented() -> None:
    space = EdgeCellSpace("tiny", ("conv_1x1", "none"), nodes=2)
    assert space.upper.tolist() == [1, 1, 2, 1, 1]  # the first node has both inputs, the second two of three nodes
    (genotype,) = space.decode(np.array([[0, 1, 2, 1, 0]]))
    assert genotype.normal.nodes == ((("conv_1x1", 0), ("none", 1)), (("none", 1), ("conv_1x1", 2)))


def test_genotypes_of_other_spaces_are_told() -> None:
    darts = find_genotype("darts-v2")
    with pytest.raises(InputError, match="the cells normal for space 'nas-bench-201', got normal, reduce"):
        SPACES["nas-bench-201"].encode([darts])
    with pytest.raises(
        InputError, match=r"expected 2 inputs, 4 nodes .* in the normal cell for space 'darts', got 1, 2"
    ):
        cell = Cell([[("none", 0)], [("none", 0), ("none", 1)]], [2], inputs=1)
        SPACES["darts"].validate(Genotype(cell, cell))


def test_operations_of_other_spaces_are_told() -> None:
    with pytest.raises(InputError, match=r"expected operations among skip_connect, .* got 'max_pool_3x3'"):
        SPACES["nasp"].validate(SPACES["darts"].smallest())


def test_edges_from_one_node_are_told() -> None:
    nodes = list(find_genotype("darts-v2").normal.nodes)
    nodes[1] = (("sep_conv_3x3", 0), ("skip_connect", 0))
    with pytest.raises(InputError, match=r"expected 2 edges from different nodes into node 3 .* got \[0, 0\]"):
        SPACES["darts"].encode([Genotype(Cell(nodes, [2, 3, 4, 5]), find_genotype("darts-v2").reduce)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normal": ()}, "operations for normal cells"),
        ({"normal": ("conv_1x1", "conv_1x1")}, "distinct operations"),
        ({"normal": ("conv1x1",)}, "Did you mean 'conv_1x1'"),
        ({"normal": ("none",), "nodes": 0}, "at least 1 node"),
        ({"normal": ("none",), "inputs": 3}, "1 or 2 inputs"),
        ({"normal": ("none",), "kept": 0}, "at least 1 kept edge"),
    ],
)
def test_impossible_spaces_are_told(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        EdgeCellSpace("mine", **options)
