from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nat.pareto import hypervolume, non_dominated, select_by_rank, spread_subset

LIGHT = settings(max_examples=60, deadline=None, derandomize=True)


def objectives(max_rows: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Matrices with many ties, so that equal and weakly dominated rows occur; NaN now and then."""
    values = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, -0.5, np.inf, np.nan])
    return st.tuples(st.integers(0, max_rows), st.integers(1, 4)).flatmap(
        lambda shape: arrays.arrays(float, shape, elements=values)
    )


def slow_non_dominated(values: np.ndarray) -> list[bool]:
    def beats(i: int, j: int) -> bool:
        better_or_equal = (values[i] <= values[j]).all()
        return bool(better_or_equal and ((values[i] < values[j]).any() or i < j))

    rows = range(len(values))
    return [not np.isnan(values[j]).any() and not any(beats(i, j) for i in rows if i != j) for j in rows]


def slow_hypervolume(values: np.ndarray, worst: np.ndarray, best: np.ndarray) -> float:
    """Inclusion and exclusion over all subsets of rows."""
    rows = [np.clip(row, best, None) for row in values if (row < worst).all()]
    total = 0.0
    for size in range(1, len(rows) + 1):
        for subset in combinations(rows, size):
            total -= (-1.0) ** size * np.prod(worst - np.max(subset, axis=0))
    return float(total / np.prod(worst - best))


@LIGHT
@given(objectives())
def test_non_dominated_equals_brute_force(values: np.ndarray) -> None:
    assert non_dominated(values).tolist() == slow_non_dominated(values)


@LIGHT
@given(objectives(max_rows=6))
def test_hypervolume_equals_inclusion_and_exclusion(values: np.ndarray) -> None:
    worst, best = np.full(values.shape[1], 1.25), np.full(values.shape[1], 0.25)
    assert hypervolume(values, worst, best) == pytest.approx(slow_hypervolume(values, worst, best), abs=1e-12)


@LIGHT
@given(objectives())
def test_dominated_rows_add_no_hypervolume(values: np.ndarray) -> None:
    worst = np.full(values.shape[1], 2.0)
    front = values[non_dominated(values)]
    assert hypervolume(front, worst) == pytest.approx(hypervolume(values, worst), abs=1e-12)


def test_hypervolume_of_a_staircase() -> None:
    steps = 10
    front = np.array([[i, steps - 1 - i] for i in range(steps)], dtype=float)
    assert hypervolume(front, [steps, steps]) == pytest.approx((steps + 1) / (2 * steps))


def test_hypervolume_at_the_corners_of_the_box() -> None:
    assert hypervolume([[0.1, 5.0]], [0.9, 10.0], [0.1, 5.0]) == 1.0
    assert hypervolume([[-3.0, 0.0]], [0.9, 10.0], [0.1, 5.0]) == 1.0
    assert hypervolume([[0.9, 5.0], [0.1, 10.0], [np.nan, 5.0]], [0.9, 10.0], [0.1, 5.0]) == 0.0
    assert hypervolume(np.empty((0, 2)), [1.0, 1.0]) == 0.0


@pytest.mark.parametrize(
    ("worst", "best"), [([1.0], [0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0, np.inf], None), ([1.0, 1.0], [0.0])]
)
def test_hypervolume_refuses_boxes_that_are_none(worst: list[float], best: list[float] | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        hypervolume([[0.5, 0.5]], worst, best)


def gaps(chosen: np.ndarray, keep: list[float], costs: list[float]) -> float:
    """Sum of squared gaps of the logarithms, with the ends of all points."""
    axis = np.sort(np.log([*chosen, *keep, min(*costs, *keep), max(*costs, *keep)]))
    return float((np.diff(axis) ** 2).sum())


COSTS = st.lists(st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0, 7.0, 8.0, 16.0, 30.0]), min_size=2, max_size=8)


@settings(LIGHT, max_examples=200)
@given(COSTS, st.integers(0, 9), st.lists(st.sampled_from([0.5, 2.0, 3.0, 9.0, 40.0]), max_size=3))
def test_spread_subset_is_the_best_of_all_subsets(costs: list[float], count: int, keep: list[float]) -> None:
    chosen = spread_subset(costs, count, keep)
    values = np.array(costs)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, len(costs))
    assert (np.diff(values[chosen]) >= 0).all()
    subsets = [np.array(s, dtype=int) for s in combinations(range(len(costs)), min(count, len(costs)))]
    if not keep and count >= 2:
        subsets = [s for s in subsets if {min(costs), max(costs)} <= set(values[s])]
        assert {min(costs), max(costs)} <= set(values[chosen])
    best = min(gaps(values[s], keep, costs) for s in subsets)
    assert gaps(values[chosen], keep, costs) == pytest.approx(best, abs=1e-9)


def test_spread_subset_finds_even_steps_and_fills_holes() -> None:
    costs = 1e6 * 2.0 ** np.arange(9)[::-1]
    assert (costs[spread_subset(costs, 5)] / 1e6).tolist() == [1, 4, 16, 64, 256]
    assert (costs[spread_subset(costs, 1)] / 1e6).tolist() == [16]
    assert (costs[spread_subset(costs, 1, keep=[1e6, 16e6, 256e6, 64e6])] / 1e6).tolist() in ([2], [4], [8])
    assert spread_subset([], 3).tolist() == []


def test_spread_subset_refuses_what_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="positive, finite costs"):
        spread_subset([1.0, 0.0], 1)
    with pytest.raises(ValueError, match="at least 0"):
        spread_subset([1.0], -1)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"shape \(n, m\)"):
        non_dominated([1.0, 2.0])


def test_select_by_rank_takes_whole_ranks_then_a_spread() -> None:
    front = [(0.5, 1.0), (0.4, 2.0), (0.3, 4.0), (0.2, 8.0)]
    behind = [(0.6, 1.0), (0.55, 2.0), (0.45, 4.0), (0.25, 8.0)]
    objectives = np.array(behind + front)
    costs = objectives[:, 1]
    assert select_by_rank(objectives, costs, 4).tolist() == [4, 5, 6, 7]
    assert select_by_rank(objectives, costs, 99).tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert sorted(select_by_rank(objectives, costs, 2).tolist()) == [4, 7], "the ends of a rank that does not fit"
    assert select_by_rank(objectives, costs, 1, keep=[1.0, 2.0, 8.0]).tolist() == [6], "the gap is filled"
    assert select_by_rank(np.full((2, 2), np.nan), [1.0, 2.0], 1).shape == (1,)
    assert select_by_rank(np.empty((0, 2)), [], 3).tolist() == []
