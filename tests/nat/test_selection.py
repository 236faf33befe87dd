import numpy as np
import pytest

from nat.errors import InputError
from nat.pareto import non_dominated
from nat.searchers import NatSearcher
from nat.selection import Candidates, by_directions, by_improvement, by_spread, improvements, reference_of

RNG = np.random.default_rng(0)
MEASURED = np.array([[0.5, 1.0], [0.3, 2.0], [0.2, 4.0], [0.6, 4.0]])
VALUES = np.stack([RNG.random(60), 1 + 4 * RNG.random(60)], axis=1)


def test_improvements_come_in_a_batch_of_distinct_rows() -> None:
    candidates = Candidates(VALUES, np.full(60, 0.05), lambda rows: 0.0025 * np.eye(len(rows)))
    chosen = by_improvement(candidates, MEASURED, 6)
    assert len(set(chosen.tolist())) == 6
    assert by_improvement(candidates, MEASURED, 1)[0] == chosen[0], "greedy"
    assert improvements(candidates, MEASURED).argmax() == chosen[0], "the short list and the batch doubt alike"
    assert len(by_improvement(candidates, MEASURED, 100)) == 60


def test_the_reference_is_a_tenth_beyond_the_front_and_all_costs() -> None:
    assert reference_of(MEASURED) == pytest.approx([0.53, 4.3])
    assert reference_of(MEASURED[[0, 3]]) == pytest.approx([0.51, 4.3]), "a front of one takes the range of all"
    costly = np.vstack([MEASURED, [0.9, 9.0]])
    assert reference_of(costly) == pytest.approx([0.53, 9.8]), "what is costly and bad now may have better neighbours"
    assert (reference_of(MEASURED[:1]) > MEASURED[0]).all()
    assert (reference_of(np.zeros((2, 2))) > 0).all()


@pytest.mark.parametrize("objectives", [2, 3])
def test_reference_directions_keep_the_front_and_its_ends(objectives: int) -> None:
    values = np.random.default_rng(1).random((60, objectives))
    front = np.flatnonzero(non_dominated(values))
    count = len(front) + 3
    chosen = by_directions(values, count, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == count
    assert set(front) <= set(chosen.tolist())
    fewer = by_directions(values, len(front) - 1, np.random.default_rng(0))
    assert set(fewer.tolist()) <= set(front)
    assert by_directions(values, 100, np.random.default_rng(0)).tolist() == list(range(60))


def test_reference_directions_follow_the_generator() -> None:
    values = np.round(np.random.default_rng(1).random((80, 2)), 1)
    first, again = (by_directions(values, 12, np.random.default_rng(3)) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_spread_is_over_the_costs_beside_the_front() -> None:
    values = np.array([[0.30, 1.0], [0.29, 1.1], [0.20, 3.0], [0.10, 5.0]])
    chosen = by_spread(values, values[:, 1], np.array([1.0, 5.0]), 1)
    assert chosen.tolist() == [2], "halfway on a logarithmic scale, nearest"


@pytest.mark.parametrize("setting", [{"selection": "ehvy"}, {"algorithm": "nsga4"}])
def test_unknown_names_are_refused(setting: dict[str, str]) -> None:
    with pytest.raises(InputError, match="Did you mean"):
        NatSearcher(**setting)
