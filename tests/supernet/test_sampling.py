from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from nat.errors import BudgetError
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits, crossover, ladder, mutate, sample_like, sample_stratified, sample_uniform
from nat.supernet.space import Encodings, MobileNetSpace, named_spaces

TINY = CostTable(MobileNetSpace(0.25, (3,), (2, 3), (1, 2), (32, 48)), 10)
NAT = CostTable(MobileNetSpace(), 100)
SMALL = MobileNetSpace(0.5, (3, 5), (2, 3, 4), (1, 2, 3), (48, 56, 64))


def all_of(costs: CostTable) -> Encodings:
    """Every canonical encoding of a space with one kernel and stages of one or two layers."""
    stages = [(1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    rows = product(range(len(costs.space.resolutions)), *[stages] * 5)
    return np.array([[r, *sum(rest, ())] for r, *rest in rows])


@pytest.mark.parametrize("costs", [TINY, NAT])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_stratified_samples_are_distinct_and_ascend_from_the_smallest_to_the_largest(
    costs: CostTable, count: int
) -> None:
    sample = sample_stratified(costs, count, np.random.default_rng(0))
    assert len(np.unique(sample, axis=0)) == len(sample) == count
    macs = costs.macs(sample)
    assert np.all(np.diff(macs) >= 0)
    assert costs.space.decode(sample[[0, -1]]) == [costs.space.smallest(), costs.space.largest()]


def test_stratified_samples_spread_evenly_on_a_log_scale() -> None:
    steps = np.diff(np.log(NAT.macs(sample_stratified(NAT, 40, np.random.default_rng(1)))))
    assert steps.max() < 2.5 * steps.mean()
    uniform = np.sort(np.log(NAT.macs(sample_uniform(NAT.space, 40, np.random.default_rng(1)))))
    assert np.ptp(uniform) < 0.8 * steps.sum()  # uniform sampling misses both ends


@pytest.mark.parametrize("limits", [Limits(150_000_000), Limits(max_params=4_000_000), Limits(200_000_000, 3_500_000)])
def test_stratified_samples_keep_the_limits(limits: Limits) -> None:
    sample = sample_stratified(NAT, 30, np.random.default_rng(0), limits)
    assert len(sample) == 30
    assert limits.allow(NAT, sample).all()
    assert NAT.space.decode(sample[:1]) == [NAT.space.smallest()]
    if limits.max_macs:
        assert NAT.macs(sample)[-1] > 0.8 * limits.max_macs


@pytest.mark.parametrize("allowed", [1, 2, 5, 40])
def test_limits_that_few_networks_keep_give_all_of_these(allowed: int) -> None:
    everything = all_of(TINY)
    limits = Limits(max_macs=int(np.sort(TINY.macs(everything))[allowed - 1]))
    there = everything[limits.allow(TINY, everything)]
    sample = sample_stratified(TINY, 50, np.random.default_rng(0), limits)
    assert {tuple(row) for row in sample} == {tuple(row) for row in there}


def test_a_budget_below_the_smallest_network_names_it() -> None:
    macs, params = NAT.of(NAT.space.smallest())
    sample_stratified(NAT, 2, np.random.default_rng(0), Limits(macs, params))
    with pytest.raises(BudgetError, match=f"--max-macs of at least {macs:,} .* got {macs - 1:,}"):
        sample_stratified(NAT, 2, np.random.default_rng(0), Limits(macs - 1))
    with pytest.raises(BudgetError, match=f"--max-params of at least {params:,} .* got {params - 1:,}"):
        sample_stratified(NAT, 2, np.random.default_rng(0), Limits(None, params - 1))


def test_same_seed_same_samples() -> None:
    for draw in (
        lambda rng: sample_uniform(NAT.space, 20, rng),
        lambda rng: sample_stratified(NAT, 20, rng),
        lambda rng: mutate(NAT.space, NAT.space.encode([NAT.space.largest()] * 20), rng, 0.3),
    ):
        first, second, other = (draw(np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert np.array_equal(first, second)
        assert not np.array_equal(first, other)


def test_mutation_redraws_as_many_genes_as_asked() -> None:
    space = MobileNetSpace(depths=(4,))
    parents = sample_uniform(space, 500, np.random.default_rng(0))
    assert np.array_equal(mutate(space, parents, np.random.default_rng(1), 0.0), parents)
    changed = np.mean(mutate(space, parents, np.random.default_rng(1), 0.3)[:, 1:] != parents[:, 1:])
    # of 10,000 genes 0.3 are redrawn, of which one in nine comes out as before; 0.02 is over four standard deviations
    assert changed == pytest.approx(0.3 * 8 / 9, abs=0.02)


def test_crossover_takes_every_gene_from_a_parent() -> None:
    space = MobileNetSpace(depths=(4,))
    first, second = (sample_uniform(space, 300, np.random.default_rng(seed)) for seed in (0, 1))
    children = crossover(space, first, second, np.random.default_rng(2))
    assert np.all((children == first) | (children == second))
    differ = first != second
    assert np.mean(children[differ] == first[differ]) == pytest.approx(0.5, abs=0.03)


def test_sampling_like_an_archive_keeps_its_frequencies_gene_by_gene() -> None:
    space = MobileNetSpace(depths=(4,))
    archive = space.encode([space.smallest()] * 3 + [space.largest()])
    drawn = sample_like(space, archive, 2000, np.random.default_rng(0))
    assert set(np.unique(drawn[:, 1:])) == {1, 9}
    assert np.mean(drawn == archive[-1]) == pytest.approx(0.25, abs=0.02)
    assert len(np.unique(drawn, axis=0)) > 1000  # genes are drawn apart, not whole rows


@pytest.mark.parametrize("space", [*named_spaces().values(), SMALL])
def test_a_ladder_goes_up_from_the_smallest_to_the_largest(space: MobileNetSpace) -> None:
    nets = ladder(space, 5)
    assert (nets[0], nets[-1]) == (space.smallest(), space.largest())
    macs = [CostTable(space, 10).of(net)[0] for net in nets]
    assert len(nets) == 5 and macs == sorted(set(macs))
    assert ladder(space, 3)[1] == nets[2]
    single = replace(space, kernels=(3,), expands=(4,), depths=(1,), resolutions=(32,))
    assert ladder(single, 5) == [single.smallest()]
