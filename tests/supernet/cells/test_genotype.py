"""Genotypes are values: one for each meaning, whatever the spelling."""

import json
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import InputError
from nat.supernet.cells.genotype import Cell, Genotype
from nat.supernet.cells.operations import OPERATIONS
from nat.supernet.cells.spelling import find_genotype, read_genotype


@st.composite
def cells(draw: st.DrawFn, inputs: int) -> Cell:
    nodes = []
    for number in range(inputs, inputs + draw(st.integers(1, 5))):
        edge = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, number - 1))
        nodes.append(draw(st.lists(edge, min_size=1, max_size=3)))
    numbers = st.integers(inputs, inputs + len(nodes) - 1)
    return Cell(nodes, draw(st.lists(numbers, min_size=1, unique=True)), inputs)


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    inputs = draw(st.integers(1, 2))
    return Genotype(draw(cells(inputs)), draw(st.none() | cells(inputs)))


@given(genotypes())
def test_json_both_ways(genotype: Genotype) -> None:
    text = json.dumps(genotype.to_json())
    assert read_genotype(text) == genotype == pickle.loads(pickle.dumps(genotype))
    assert hash(read_genotype(text)) == hash(genotype)
    assert read_genotype(text).id == genotype.id


@given(genotypes(), st.randoms())
def test_the_order_of_edges_and_outputs_has_no_meaning(genotype: Genotype, random: Any) -> None:
    def shuffled(cell: Cell) -> Cell:
        nodes = [random.sample(node, len(node)) for node in cell.nodes]
        return Cell(nodes, random.sample(cell.outputs, len(cell.outputs)), cell.inputs)

    again = Genotype(shuffled(genotype.normal), genotype.reduce and shuffled(genotype.reduce))
    assert again == genotype and again.id == genotype.id


@given(genotypes(), genotypes())
def test_other_genotypes_have_other_ids(one: Genotype, other: Genotype) -> None:
    assert (one == other) == (one.id == other.id)


V1 = """Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),
('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5],
reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0),
('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"""


def test_published_python_is_read() -> None:
    genotype = read_genotype(V1)
    assert genotype == find_genotype("darts-v1")
    assert genotype == read_genotype("DARTS_V1 = " + V1.replace("[2, 3, 4, 5]", "range(2, 6)"))
    assert genotype == read_genotype(re.sub(r"\w+=", "", V1)), "by position"
    assert genotype.normal.nodes[0] == (("sep_conv_3x3", 0), ("sep_conv_3x3", 1))
    data = genotype.to_json()
    assert data["reduce"][:2] == [["max_pool_3x3", 0], ["max_pool_3x3", 1]], "the published, flat list"
    assert data["normal_concat"] == [2, 3, 4, 5] and "inputs" not in data


def test_names_of_nasps_code_are_read() -> None:
    genotype = read_genotype("Genotype(normal=[('conv 1x1', 0), ('sep_5x5', 1)], normal_concat=[2])")
    assert genotype.normal.nodes == ((("conv_1x1", 0), ("sep_conv_5x5", 1)),)


def test_strings_of_nas_bench_201_are_read() -> None:
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
    cell = read_genotype(text).normal
    assert cell.inputs == 1 and cell.outputs == (3,)
    assert cell.edges == (
        (0, 1, "nor_conv_3x3"),
        (0, 2, "nor_conv_3x3"),
        (1, 2, "avg_pool_3x3"),
        (0, 3, "skip_connect"),
        (1, 3, "nor_conv_3x3"),
        (2, 3, "none"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Genotype(normal=[('sep_conv3x3', 0), ('none', 1)], normal_concat=[2])", "Did you mean 'sep_conv_3x3'"),
        ("Genotype(normal=[('none', 0), ('none', 2)], normal_concat=[2])", "from nodes 0 to 1, got one from 2"),
        ("Genotype(normal=[('none', 0), ('none', -1)], normal_concat=[2])", "got one from -1"),
        ("Genotype(normal=[('none', 0), ('none', 1.0)], normal_concat=[2])", "expected whole numbers"),
        ("Genotype(normal=[('none', 0)], normal_concat=[2])", "two edges for each node"),
        ("Genotype(normal=[('none', 0), ('none', 1)], normal_concat=[1, 2])", "nodes 2 to 2"),
        ("Genotype(normal=[('none', 0), ('none', 1)], normal_concat=range(2, 10**9))", "expected one genotype"),
        ("Genotype(normal=[('none', 0), ('none', 1)], normal_concat=range(2, 1000000000))", "at most 1000"),
        ("Genotype(normal=__import__('os').listdir('.'))", "expected one genotype"),
        ("Genotype(**{'normal': 1})", "expected a genotype with 'normal'"),
        ("Genotype(normal=[], normal_concat=[])", "at least one node"),
        ("open('x')", "expected one genotype"),
        ("Genotype(", "expected one genotype"),
        ("", "expected one genotype"),
        ("(" * 5000, "expected one genotype"),
        ("[" * 200_000, "200,000 characters"),
        ("{" * 5000, "as JSON"),
        ("{}", "with 'normal'"),
        ('{"normal": 3}', "list of edges"),
        ('{"normal": [["none", 0], ["none", 1]], "normal_concat": 2}', "'normal_concat', got 2"),
        ('{"normal": [["none", 0], ["none", 1]], "normals": []}', "and of"),
        ('{"normal": [["none", 0], ["none", 1]], "inputs": "2"}', "as 'inputs', got '2'"),
        ('{"normal": [["none", 0], ["none", 1]], "inputs": 3}', "1 or 2 inputs, got 3"),
        ('{"normal": [[]]}', "edges into node 2"),
        ("|none~0|+|none~x|", "operation~from"),
        ("|none~0|+|none~1|none~2|", "got one from 2"),
    ],
)
def test_what_is_no_genotype_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace("|", r"\|").replace("*", r"\*")):
        read_genotype(text)


def test_files_and_names(tmp_path: Any) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(find_genotype("nasp").to_json()))
    assert find_genotype(str(path)) == find_genotype("nasp")
    with pytest.raises(InputError, match="Did you mean 'darts-v2'"):
        find_genotype("darts-v3x2")
    with pytest.raises(InputError, match="cannot read a genotype"):
        find_genotype(str(tmp_path / "none.json"))


def test_cells_of_different_inputs_do_not_go_together() -> None:
    with pytest.raises(InputError, match="same number of inputs, got 2 and 1"):
        Genotype(Cell([[("none", 0)]], [2]), Cell([[("none", 0)]], [1], inputs=1))
