"""Expected improvements against their definition: improvements of drawn values, averaged."""

import moocore
import numpy as np
import pytest
from scipy.stats import norm

from nat.acquisition import expected_improvement, greedy_batch

FRONT = np.array([[0.5, 1.0], [0.3, 2.0], [0.2, 4.0], [0.4, 3.0]])  # the last one is dominated
REFERENCE = np.array([0.6, 5.0])


def gain(front: np.ndarray, point: np.ndarray, reference: np.ndarray) -> float:
    before = moocore.hypervolume(front, ref=reference)
    return float(moocore.hypervolume(np.vstack([front, point]), ref=reference) - before)


def random_case(objectives: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((7, objectives)), rng.random((5, objectives)), np.full(objectives, 0.9), 0.3 * rng.random(5)


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_without_uncertainty_it_is_the_improvement(objectives: int, seed: int) -> None:
    front, points, reference, _ = random_case(objectives, seed)
    found = expected_improvement(points[:, 0], np.zeros(5), points[:, 1:], front, reference)
    assert found == pytest.approx([gain(front, point, reference) for point in points], abs=1e-7)


@pytest.mark.parametrize("objectives", [2, 3])
def test_it_is_the_mean_over_draws(objectives: int) -> None:
    front, points, reference, deviation = random_case(objectives, 9)
    found = expected_improvement(points[:, 0], deviation, points[:, 1:], front, reference)
    quantiles = (np.arange(2000) + 0.5) / 2000
    for point, spread, expected in zip(points, deviation, found, strict=True):
        drawn = norm.ppf(quantiles, point[0], spread)
        mean = np.mean([gain(front, np.array([error, *point[1:]]), reference) for error in drawn])
        assert expected == pytest.approx(mean, rel=0.02, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_more_costs_are_sampled_closely(seed: int) -> None:
    front, points, reference, _ = random_case(4, seed)
    found = expected_improvement(points[:, 0], np.zeros(5), points[:, 1:], front, reference)
    assert found == pytest.approx([gain(front, point, reference) for point in points], abs=0.01)


def test_a_cost_without_a_say_changes_nothing() -> None:
    front, points, reference, deviation = random_case(3, 5)
    exact = expected_improvement(points[:, 0], deviation, points[:, 1:], front, reference)
    front, points = np.insert(front, 3, 0.0, axis=1), np.insert(points, 3, 0.0, axis=1)
    sampled = expected_improvement(points[:, 0], deviation, points[:, 1:], front, np.append(reference, 1.0))
    assert sampled == pytest.approx(exact, abs=0.01)


def test_two_objectives_by_hand() -> None:
    mean, certain = np.array([0.25, 0.1, 0.9]), np.zeros(3)
    costs = np.array([[3.0], [0.5], [0.5]])
    # beats 0.3 by 0.05 from cost 3 to 4; dominates all; is beyond the reference
    whole = 4.5 * 0.5 - moocore.hypervolume(FRONT, ref=REFERENCE)
    found = expected_improvement(mean, certain, costs, FRONT, REFERENCE)
    assert found == pytest.approx([0.05, whole, 0.0], abs=1e-6)


def test_without_a_front_it_is_the_box() -> None:
    found = expected_improvement(np.array([0.1]), np.zeros(1), np.array([[1.0]]), np.empty((0, 2)), REFERENCE)
    assert found == pytest.approx([0.5 * 4.0])


def test_uncertainty_is_worth_something_and_costs_beyond_the_reference_nothing() -> None:
    mean, costs = np.full(3, 0.35), np.array([[2.5], [2.5], [6.0]])
    low, high, none = expected_improvement(mean, np.array([0.01, 0.1, 0.1]), costs, FRONT, REFERENCE)
    assert none == 0.0 <= low < high


def test_a_batch_does_not_choose_the_same_twice_in_effect() -> None:
    mean, costs = np.array([0.1, 0.1, 0.45]), np.array([[2.0], [2.01], [0.5]])
    covariance = np.full((3, 3), 1e-6)
    chosen = greedy_batch(mean, covariance, costs, FRONT, REFERENCE, 2)
    assert chosen.tolist() == [0, 2], "the second is worth little beside the first"


def test_what_is_believed_makes_its_neighbours_certain() -> None:
    mean, costs = np.full(3, 0.32), np.full((3, 1), 2.5)
    covariance = 0.01 * np.array([[1.0, 0.99, 0.0], [0.99, 1.0, 0.0], [0.0, 0.0, 0.9]])
    assert greedy_batch(mean, covariance, costs, FRONT, REFERENCE, 2).tolist() == [0, 2]


def test_batches_are_distinct_end_and_leave_their_input() -> None:
    mean, costs = np.full(4, 0.9), np.arange(4.0)[:, None]
    covariance = np.diag([1e-4, 4e-4, 1e-4, 0.0])
    before = covariance.copy()
    chosen = greedy_batch(mean, covariance, costs, FRONT, REFERENCE, 10)
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]
    assert (covariance == before).all()
