"""Latency tables: sums, extremes, files; and that a measured one is near to what networks take."""

from itertools import product

import numpy as np
import pytest
import torch

from nat.errors import BudgetError, InputError
from nat.supernet.costs import CostTable
from nat.supernet.latency import LatencyTable, SpaceLatency, block_key, end_key, parts_of, start_key
from nat.supernet.sampling import Limits, sample_stratified, sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import PROXYLESS
from nat.supernet.timing import measure_table, table_error, timed_parts

SPACE = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))


def made_up(space: MobileNetSpace, seed: int = 0) -> LatencyTable:
    """Times that follow no rule, so that neither the smallest nor the largest net is at an end."""
    keys = dict.fromkeys(key for key, *_ in parts_of(space))
    times = np.random.default_rng(seed).uniform(0.1, 1.0, len(keys))
    return LatencyTable(dict(zip(keys, times.tolist(), strict=True)))


def test_sums_are_those_of_the_parts_that_run() -> None:
    table = made_up(SPACE)
    latency = SpaceLatency(SPACE, table)
    encodings = sample_uniform(SPACE, 20, np.random.default_rng(0))
    for net, found in zip(SPACE.decode(encodings), latency.ms(encodings), strict=True):
        size, total = net.resolution // 2, table.ms[start_key(SPACE, net.resolution)]
        for index, kernel, expand in SPACE.active_slots(net):
            slot = SPACE.slots[index]
            total += table.ms[block_key(slot, kernel, expand, size)]
            size = (size + slot.stride - 1) // slot.stride
        assert found == pytest.approx(total + table.ms[end_key(SPACE, size)])


def test_extremes_are_those_of_all_architectures() -> None:
    space = MobileNetSpace(0.25, (3,), (2, 3), (1, 2), (24, 32))
    latency = SpaceLatency(space, made_up(space, 3))
    stages = [(1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    every = np.array([[r, *sum(rest, ())] for r, *rest in product(range(2), *[stages] * 5)])
    times = latency.ms(every)
    assert latency.ms(latency.extremes()).tolist() == pytest.approx([times.min(), times.max()])
    ends = CostTable(space, 10).space.encode([space.smallest(), space.largest()])
    assert times.min() < latency.ms(ends).min(), "the example would show nothing else"


def test_limits_on_latency_are_kept_and_name_the_ends() -> None:
    costs = CostTable(SPACE, 10, made_up(SPACE))
    least, most = costs.latency_ms(costs.latency.extremes())
    limits = Limits(max_latency_ms=least + 0.3 * (most - least))
    sample = sample_stratified(costs, 20, np.random.default_rng(0), limits)
    assert len(sample) == 20 and limits.allow(costs, sample).all()
    with pytest.raises(BudgetError, match=r"--max-latency-ms of at least .* \(the greatest is .*\), got 0.500"):
        Limits(max_latency_ms=0.5).check(costs)
    with pytest.raises(InputError, match="nat latency"):
        limits.allow(CostTable(SPACE, 10), sample)


def test_tight_limits_on_latency_give_the_fastest() -> None:
    costs = CostTable(SPACE, 10, made_up(SPACE))
    fastest = costs.latency.extremes()[:1]
    limits = Limits(max_latency_ms=float(costs.latency_ms(fastest)[0]))
    assert (sample_stratified(costs, 5, np.random.default_rng(0), limits) == fastest).all()


def test_limits_that_exclude_each_other_are_refused_with_their_ranges() -> None:
    costs = CostTable(SPACE, 10, made_up(SPACE))
    fastest = float(costs.latency_ms(costs.latency.extremes()[:1])[0])
    both = Limits(max_macs=costs.of(SPACE.smallest())[0], max_latency_ms=fastest)
    both.check(costs)
    with pytest.raises(BudgetError, match=r"all limits at once; .*: --max-macs .* to .*, --max-latency-ms .* to "):
        sample_stratified(costs, 5, np.random.default_rng(0), both)


def test_files_give_the_table_back_and_others_are_refused() -> None:
    table = LatencyTable({"a": 0.1}, {"threads": 1}, {"mape": 0.5})
    assert LatencyTable.from_json(table.to_json()) == table
    for bad in (
        [],
        {},
        {"schema": 1},
        {"schema": 2, "ms": {"a": 1}},
        {"schema": 1, "ms": {"a": 0}},
        {"schema": 1, "ms": {}},
    ):
        with pytest.raises(InputError, match="latency table"):
            LatencyTable.from_json(bad)


def test_a_table_of_other_sizes_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="--resolutions 24,32,40"):
        SpaceLatency(SPACE.with_resolutions([24, 32, 40]), made_up(SPACE))


@pytest.mark.parametrize("space", [SPACE, MobileNetSpace(0.25, (3,), (2,), (1,), (32,), PROXYLESS)])
def test_every_part_is_timed(space: MobileNetSpace) -> None:
    assert set(timed_parts(space, 4, torch.device("cpu"))) == {key for key, *_ in parts_of(space)}


def test_a_measured_table_follows_whole_networks() -> None:
    """Loose bounds, as machines that run tests are busy: a table of other blocks is off by more than half."""
    space = MobileNetSpace(1.0, (3, 7), (3, 6), (1, 3), (32, 160))
    table = measure_table(space, 10, passes=4)
    assert table.machine["threads"] == torch.get_num_threads()
    assert table.error["mape"] < 0.5 and table.error["kendall_tau"] > 0.5
    latency = SpaceLatency(space, table)
    small, large = latency.ms(space.encode([space.smallest(), space.largest()]))
    assert small < large


def test_errors_of_a_table_are_those_of_the_formulas() -> None:
    latency = SpaceLatency(SPACE, made_up(SPACE))
    encodings = sample_uniform(SPACE, 4, np.random.default_rng(0))
    truth = latency.ms(encodings)
    found = table_error(latency, encodings, np.stack([truth / 1.25] * 4))
    assert found == pytest.approx(
        {"subnets": 4, "mape": 0.25, "kendall_tau": 1.0, "noise_mape": 0.0, "noise_kendall_tau": 1.0}
    )
