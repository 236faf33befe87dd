"""Costs by table are those of the networks, counted by torch."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nat.supernet.cells.costs import CellCosts
from nat.supernet.cells.network import DIGITS, NAS_BENCH_201, CellForm, CellNetwork
from nat.supernet.cells.space import EdgeCellSpace, cell_spaces

SPACES = cell_spaces()
SMALL = CellForm(layers=5, channels=6, num_classes=7, resolution=17)
MOBILE = CellForm(layers=4, channels=6, num_classes=7, imagenet=True, resolution=61)
ONLY_NORMAL = EdgeCellSpace("normal", SPACES["nasp-12"].normal)


@pytest.mark.parametrize(
    ("space", "form"),
    [
        (SPACES["darts"], SMALL),
        (SPACES["nasp"], MOBILE),
        (SPACES["nasp-12"], SMALL),
        (SPACES["nas-bench-201"], NAS_BENCH_201),
        (SPACES["digits"], DIGITS),
        (ONLY_NORMAL, SMALL),
    ],
)
def test_tables_are_exact(space: EdgeCellSpace, form: CellForm) -> None:
    costs = CellCosts(space, form)
    encodings = space.draw(2, np.random.default_rng(0))
    for genotype, macs, params in zip(
        space.decode(encodings), costs.macs(encodings), costs.params(encodings), strict=True
    ):
        with torch.device("meta"):
            network = CellNetwork(genotype, form).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, form.resolution, form.resolution, device="meta"))
        assert counter.get_total_flops() == 2 * macs
        assert sum(p.numel() for p in network.parameters()) == params
        assert costs.of(genotype) == (macs, params)


def test_ends_bound_everything_at_any_number_of_channels() -> None:
    # 7x7 separable convolutions cost more than 3x3 ones below 14 channels
    for channels in (6, 20):
        costs = CellCosts(SPACES["nasp-12"], CellForm(layers=5, channels=channels, num_classes=7, resolution=16))
        drawn, ends = costs.space.draw(2000, np.random.default_rng(0)), costs.ends()
        for counts in (costs.macs, costs.params):
            assert counts(ends).min() <= counts(drawn).min() and counts(drawn).max() <= counts(ends).max()
    assert (costs.macs(costs.space.encode([costs.space.largest()])) == costs.macs(ends).max()).all()


def test_an_edge_costs_the_same_wherever_it_is() -> None:
    costs = CellCosts(SPACES["digits"], DIGITS)
    genes = np.array([[0, 0, 0], [3, 0, 0], [3, 3, 0], [3, 3, 3]])
    steps = np.diff(costs.macs(genes))
    assert (steps == 9 * 8 * 8 * 64 + 9 * 16 * 16 * 16).all()
    assert np.array_equal(costs.edge_costs("normal", 0)[3], [steps[0], 9 * 64 + 16 + 9 * 256 + 32])
