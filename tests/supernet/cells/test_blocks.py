"""Block cells: canonical form, counts, files, growth, networks and their costs."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from nat.errors import InputError
from nat.supernet.cells.block_costs import BlockCosts, joined, stacked
from nat.supernet.cells.blocks import INPUTS, PNAS, BlockCell, BlockSpace
from nat.supernet.cells.network import CellForm, CellNetwork

SPACE = BlockSpace(5)
# the released cell, as TensorFlow's code numbers it: 0 is the last cell, 1 the one before
PNASNET_5 = [
    [1, "sep_conv_5x5", 1, "max_pool_3x3"],
    [0, "sep_conv_7x7", 0, "max_pool_3x3"],
    [0, "sep_conv_5x5", 0, "sep_conv_3x3"],
    [4, "sep_conv_3x3", 0, "max_pool_3x3"],
    [1, "sep_conv_3x3", 0, "skip_connect"],
]
halves = st.tuples(st.integers(0, 1), st.sampled_from(PNAS))


@pytest.mark.parametrize(
    ("blocks", "raw", "unique", "size"),
    [
        (1, 256, 136, 136),
        (2, 576, 300, 40_800),
        (3, 1024, 528, 21_542_400),
        (4, 1600, 820, 17_664_768_000),
        (5, 2304, 1176, 20_773_767_168_000),
    ],
)
def test_sizes_are_the_papers(blocks: int, raw: int, unique: int, size: int) -> None:
    space = BlockSpace(blocks)
    assert (space.raw_size(blocks), len(space.options(blocks)), space.size()) == (raw, unique, size)


def test_one_block_cells_are_256_of_which_136_differ() -> None:
    every = [(a, o, b, p) for a in (0, 1) for o in PNAS for b in (0, 1) for p in PNAS]
    cells = {BlockCell([block]) for block in every}
    assert (len(every), len(cells)) == (256, 136)
    assert cells == set(BlockSpace(1).decode(BlockSpace(1).first()))


@given(halves, halves)
@settings(max_examples=50, deadline=None)
def test_swapped_halves_are_the_same_cell(first: tuple[int, str], second: tuple[int, str]) -> None:
    cell, swapped = BlockCell([[*first, *second]]), BlockCell([[*second, *first]])
    assert cell == swapped and hash(cell) == hash(swapped) and cell.id == swapped.id
    space = BlockSpace(1)
    assert np.array_equal(space.encode([cell]), space.encode([swapped]))
    assert space.decode(space.encode([cell])) == [cell]


def test_files_and_the_other_numbering() -> None:
    cell = BlockCell.from_tensorflow(PNASNET_5)
    assert BlockCell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    assert BlockCell.from_tensorflow(cell.to_tensorflow()) == cell
    assert cell != BlockCell(PNASNET_5), "0 and 1 are not the same there"
    assert cell.blocks[0].first == cell.blocks[0].second == 0
    assert cell.unused == (2, 3, 5, 6), "the third block is taken by the fourth"
    assert cell.genotype(join_all=True).normal.outputs == (2, 3, 4, 5, 6)
    assert SPACE.decode(SPACE.encode([cell])) == [cell]


def test_growth_keeps_the_prefix_and_tries_every_block_once() -> None:
    space = BlockSpace(3, PNAS[:3])
    parents = space.first()[[3, 10]]
    grown = space.expand(parents)
    assert grown.shape == (2 * len(space.options(2)), 8)
    assert len(np.unique(grown, axis=0)) == len(grown)
    assert np.array_equal(space.repair(grown), grown), "canonical"
    prefixes = [cell.prefix(1) for cell in space.decode(grown)]
    assert set(prefixes) == set(space.decode(parents))
    assert {cell.level for cell in space.decode(space.expand(grown[:1]))} == {3}


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ([], "at least one block"),
        ([[0, "sep_conv_3x3", 1]], "as \\[input, operation"),
        ([[0, "sep_conv_3x3", 2, "skip_connect"]], "from 0 to 1, got 2"),
        ([[0, "sep_conv_3", 1, "skip_connect"]], "Did you mean 'sep_conv_3x3'"),
        ([[True, "sep_conv_3x3", 1, "skip_connect"]], "got True"),
    ],
)
def test_what_is_no_cell_is_refused(blocks: list[list[object]], named: str) -> None:
    with pytest.raises(InputError, match=named):
        BlockCell(blocks)
    with pytest.raises(InputError):
        BlockCell.from_json({"cells": blocks})


def test_cells_of_another_space_are_refused() -> None:
    cell = BlockCell([[0, "conv_1x1", 1, "skip_connect"]])
    with pytest.raises(InputError, match="operation of this space 'conv_1x1'"):
        SPACE.encode([cell])
    with pytest.raises(InputError, match="one number of blocks"):
        BlockSpace(1).encode([BlockCell.from_tensorflow(PNASNET_5)])
    for blocks, operations in ((0, PNAS), (1, ()), (1, (*PNAS, PNAS[0])), (1, ("nothing",))):
        with pytest.raises(InputError):
            BlockSpace(blocks, operations)


def test_costs_are_those_of_the_networks() -> None:
    """By torch's own counter, which counts a multiply-add twice; odd sizes among them."""
    mobile = CellForm(layers=3, channels=6, num_classes=10, imagenet=True, resolution=37)
    for form in (stacked(1, 6, 10, resolution=8), stacked(1, 6, 10, resolution=7), mobile):
        size = form.resolution
        costs = BlockCosts(SPACE, form)
        drawn = np.concatenate([SPACE.draw(2, np.random.default_rng(0)), costs.ends()[:2]])
        for row, cell in zip(drawn, SPACE.decode(drawn), strict=True):
            network = CellNetwork(cell.genotype(), form).eval()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                assert network(torch.zeros(1, 3, size, size)).shape == (1, 10)
            assert costs.macs(row[None])[0] == counter.get_total_flops() // 2
            assert costs.params(row[None])[0] == sum(parameter.numel() for parameter in network.parameters())


def test_only_unused_blocks_are_joined() -> None:
    cells = SPACE.decode(SPACE.draw(20, np.random.default_rng(1)))
    counts = joined(SPACE.encode(cells)[:, ::2])
    for cell, count in zip(cells, counts, strict=True):
        taken = {number for block in cell.blocks for number in (block.first, block.second)}
        assert set(cell.unused) | taken >= set(range(INPUTS, INPUTS + 5)) and not set(cell.unused) & taken
        assert count == len(cell.unused)
        assert cell.genotype().normal == cell.genotype().reduce
