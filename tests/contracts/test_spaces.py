"""What every search space keeps to, so that strategies run on it; a new one joins by being listed."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nat.supernet.cells.costs import CellCosts
from nat.supernet.cells.network import CIFAR, DIGITS
from nat.supernet.cells.space import cell_spaces
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits, crossover, mutate, sample_like, sample_stratified, sample_uniform, vary
from nat.supernet.searchable import Costs, Encodings, SearchSpace, combinations
from nat.supernet.space import MobileNetSpace

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from landscapes import TableCosts, TableSpace

SMALL = MobileNetSpace(0.25, kernels=(3,), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))
TABLE = TableSpace(4, 3)
TABLE_COSTS = TableCosts(TABLE, np.stack([np.arange(81) + 5, 2 * np.arange(81) + 7], axis=1))
CELLS = cell_spaces()
COSTS: dict[str, Costs] = {
    "mobilenet": CostTable(MobileNetSpace(), 10),
    "small": CostTable(SMALL, 10),
    "table": TABLE_COSTS,
    "darts": CellCosts(CELLS["darts"], CIFAR),
    "nasp": CellCosts(CELLS["nasp"], CIFAR),
    "digits": CellCosts(CELLS["digits"], DIGITS),
}
every = pytest.mark.parametrize("name", COSTS)


def check(space: SearchSpace, encodings: Encodings) -> None:
    """Canonical rows, and architectures that are values."""
    assert encodings.shape[1:] == space.lower.shape == space.upper.shape
    assert np.array_equal(space.repair(encodings), encodings)
    assert (encodings >= space.lower).all() and (encodings <= space.upper).all()
    nets = space.decode(encodings)
    assert len(nets) == len(encodings)
    assert np.array_equal(space.encode(nets), encodings)
    assert set(nets) == set(space.decode(encodings)), "equal and hashable"
    assert len(set(nets)) == len(np.unique(encodings, axis=0)), "one encoding each"
    assert len({net.id for net in nets}) == len(set(nets))


@every
def test_what_is_drawn_and_varied_is_canonical(name: str) -> None:
    space, rng = COSTS[name].space, np.random.default_rng(0)
    first, second = sample_uniform(space, 40, rng), sample_uniform(space, 40, rng)
    check(space, first)
    check(space, mutate(space, first, rng, 0.3))
    check(space, vary(space, first, rng, genes=2))
    check(space, crossover(space, first, second, rng))
    check(space, sample_like(space, first, 40, rng))
    check(space, space.repair(rng.integers(-3, 20, first.shape)))
    check(space, first[:0])


@every
def test_few_genes_are_varied(name: str) -> None:
    space, rng = COSTS[name].space, np.random.default_rng(0)
    before = sample_uniform(space, 200, rng)
    changed = (vary(space, before, rng, genes=1) != before).sum(axis=1)
    assert 0 < changed.mean() < 2, "repair may change others"


@every
def test_features_tell_architectures_apart(name: str) -> None:
    space = COSTS[name].space
    encodings = np.unique(sample_uniform(space, 60, np.random.default_rng(0)), axis=0)
    features = space.features(encodings)
    assert features.shape[0] == len(encodings) and features.dtype == np.float64
    assert ((features >= 0) & (features <= 1)).all()
    assert len(np.unique(features, axis=0)) == len(encodings)


@every
def test_costs_of_one_are_those_of_many(name: str) -> None:
    costs = COSTS[name]
    encodings = sample_uniform(costs.space, 20, np.random.default_rng(0))
    pairs = list(zip(costs.macs(encodings).tolist(), costs.params(encodings).tolist(), strict=True))
    assert [costs.of(net) for net in costs.space.decode(encodings)] == pairs
    ends = costs.space.encode([costs.space.smallest(), costs.space.largest()])
    for counts in (costs.macs, costs.params):
        low, high = counts(ends)
        assert low <= counts(encodings).min() and counts(encodings).max() <= high


@every
def test_stratified_samples_are_distinct_and_keep_limits(name: str) -> None:
    costs = COSTS[name]
    low, high = (costs.of(net)[0] for net in (costs.space.smallest(), costs.space.largest()))
    limits = Limits(max_macs=(low + high) // 2)
    drawn = sample_stratified(costs, 12, np.random.default_rng(0), limits)
    check(costs.space, drawn)
    assert len(np.unique(drawn, axis=0)) == 12
    assert costs.macs(drawn).max() <= limits.max_macs
    assert costs.macs(drawn[:1]) == low


@every
def test_small_spaces_are_listed_whole(name: str) -> None:
    space = COSTS[name].space
    everything = combinations(space, 20_000)
    if name in ("mobilenet", "darts", "nasp"):
        assert everything is None and space.size() > 10**17
        return
    assert everything is not None
    check(space, everything)
    assert len(everything) == space.size()
    assert combinations(space, 10) is None
