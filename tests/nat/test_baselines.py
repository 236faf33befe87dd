"""Regularised evolution and REINFORCE: what makes them what they are. The contract tests are in tests/contracts."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nat.archive import Evaluation
from nat.objectives import TOP1
from nat.problem import SearchProblem
from nat.searchers.regevo import RegularisedEvolution, neighbours
from nat.searchers.reinforce import Policy, ReinforceSearcher
from nat.searchers.scalar import best_by_turns, by_age, scaled, weight_vectors
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits, sample_uniform
from nat.supernet.searchable import Encodings
from nat.supernet.space import MobileNetSpace

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from landscapes import TableCosts, TableSpace

TABLE = TableSpace(4, 4)
COSTS = TableCosts(TABLE, np.stack([np.arange(256) + 1, np.arange(256) + 1], axis=1))
ONE = SearchProblem(COSTS, (TOP1,))
TWO = SearchProblem(COSTS)


def evaluated(problem: SearchProblem, rows: Encodings, errors: np.ndarray, round: int = 0) -> list[Evaluation]:
    values = problem.values(errors, rows)
    nets = problem.space.decode(rows)
    return [
        Evaluation(net, dict(zip(problem.names, row.tolist(), strict=True)), round, round)
        for net, row in zip(nets, values, strict=True)
    ]


def some(problem: SearchProblem, count: int, seed: int = 0) -> list[Evaluation]:
    rng = np.random.default_rng(seed)
    rows = np.unique(problem.space.draw(6 * count, rng), axis=0)
    return evaluated(problem, rng.permutation(rows)[:count], rng.random(count))


# --- regularised evolution -----------------------------------------------------------------------------------


def test_the_oldest_leave_even_the_best_and_the_population_stays() -> None:
    searcher = RegularisedEvolution(population=10, sample=10)
    known = some(ONE, 30)
    best = min(known, key=lambda evaluation: evaluation.objectives["top1_error"])
    known.remove(best)
    assert best in searcher.alive([*known[:20], best, *known[20:29]])
    assert best not in searcher.alive([*known[:19], best, *known[19:29]])
    for count in (3, 10, 29):
        assert len(searcher.alive(known[:count])) == min(count, 10)


def test_the_parent_is_the_best_of_the_sample_and_one_gene_changes() -> None:
    known = some(ONE, 40)
    searcher = RegularisedEvolution(population=15, sample=15)
    parent = min(known[-15:], key=lambda evaluation: evaluation.objectives["top1_error"])
    genes = TABLE.encode([parent.architecture])[0]
    for seed in range(5):
        children = searcher.propose(ONE, known, 4, np.random.default_rng(seed))
        rows = TABLE.encode([child.architecture for child in children])
        assert len(rows) == 4
        assert ((rows != genes).sum(axis=1) == 1).all()


def test_without_pressure_any_of_the_population_has_children() -> None:
    known, searcher = some(ONE, 40), RegularisedEvolution(population=15, sample=1)
    scores = np.linspace(0, 1, 15)
    assert {searcher.winner(scores, np.random.default_rng(seed)) for seed in range(150)} == set(range(15))
    pressed = RegularisedEvolution(population=15, sample=10)
    assert max(pressed.winner(scores, np.random.default_rng(seed)) for seed in range(50)) <= 5
    assert len(searcher.propose(ONE, known, 5, np.random.default_rng(0))) == 5


def test_in_a_mobile_space_too_one_gene_changes_within_the_limits() -> None:
    space = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))
    costs = CostTable(space, 10)
    parents = sample_uniform(space, 10, np.random.default_rng(0))
    limit = int(np.median(costs.macs(parents)))
    problem, depths = SearchProblem(costs, limits=Limits(max_macs=limit)), 0
    for seed, parent in enumerate(parents):
        born = neighbours(problem, parent, np.random.default_rng(seed))
        assert ((born != parent).sum(axis=1) == 1).all()
        assert (costs.macs(born) <= limit).all()
        depths += int((((born > 0) != (parent > 0))[:, 1:]).any(axis=1).sum())
    assert depths > 0, "layers come and go"


# --- REINFORCE -----------------------------------------------------------------------------------------------


def bandit(logits: tuple[float, float] = (0.3, -0.2)) -> Policy:
    policy = Policy(np.array([0]), np.array([1]), rate=0.1)
    policy.logits = np.array([logits])
    return policy


REWARDS = np.array([1.0, 3.0])


def test_the_gradient_is_unbiased_on_two_arms_whatever_the_baseline() -> None:
    policy = bandit()
    chances = policy.probabilities[0]
    exact = -chances * (REWARDS - chances @ REWARDS)  # of minus the expected reward, with respect to the logits
    for baseline in (0.0, 2.0, -7.0):
        gradients = [policy.gradient(np.array([arm]), REWARDS[arm] - baseline)[0] for arm in (0, 1)]
        np.testing.assert_allclose(chances @ gradients, exact, atol=1e-12)
    drawn = policy.draw(20_000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(chances[1], abs=0.02)


def test_a_baseline_lowers_the_variance() -> None:
    policy = bandit()
    chances = policy.probabilities[0]

    def variance(baseline: float) -> float:
        gradients = np.array([policy.gradient(np.array([arm]), REWARDS[arm] - baseline)[0, 0] for arm in (0, 1)])
        return float(chances @ gradients**2 - (chances @ gradients) ** 2)

    assert variance(float(chances @ REWARDS)) < 0.5 * variance(0.0)


def test_the_moving_average_of_rewards() -> None:
    policy = bandit()
    assert policy.average == 0.0
    for reward in (2.0, 2.0, 2.0):
        policy.learn(np.array([0]), reward)
        assert policy.average == pytest.approx(2.0), "corrected for its start"
    policy.learn(np.array([0]), 12.0)
    weights = 0.1 * 0.9 ** np.arange(4)[::-1]
    assert policy.average == pytest.approx(weights @ [2, 2, 2, 12] / weights.sum())


def test_it_converges_to_the_best_arm_and_its_entropy_falls() -> None:
    policy, rng = Policy(np.array([0, 0]), np.array([3, 1]), rate=0.05), np.random.default_rng(0)
    entropies = [policy.entropy]
    assert entropies[0] == pytest.approx(np.log(4) + np.log(2))
    for _ in range(400):
        genes = policy.draw(1, rng)[0]
        policy.learn(genes, float((genes == [2, 1]).sum()) + 0.1 * rng.normal())
        entropies.append(policy.entropy)
    assert policy.probabilities[0, 2] > 0.9 and policy.probabilities[1, 1] > 0.9
    assert entropies[-1] < 0.5 * entropies[100] < 0.5 * entropies[0]
    assert (policy.probabilities[1, 2:] == 0).all(), "genes with fewer choices"


def test_policies_are_rebuilt_as_they_were() -> None:
    """What comes later changes nothing of what was learnt before it."""
    searcher, known = ReinforceSearcher(), some(TWO, 30)
    early = searcher.policies(TWO, known[:20])
    late = searcher.policies(TWO, known)
    for turn, (before, after) in enumerate(zip(early, late, strict=True)):
        for number, evaluation in enumerate(known[20:], start=20):
            if number % len(early) == turn:
                genes = TABLE.encode([evaluation.architecture])[0]
                values = TWO.values_of(known[: number + 1])
                before.learn(genes, -float(scaled(values)[-1] @ weight_vectors(2)[turn]))
        np.testing.assert_allclose(before.logits, after.logits, atol=1e-12)
    assert not np.allclose(late[0].logits, late[4].logits)


# --- several objectives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objectives", "count"), [(1, 1), (2, 5), (3, 6), (4, 4), (12, 12)])
def test_weights_are_positive_even_and_sum_to_one(objectives: int, count: int) -> None:
    weights = weight_vectors(objectives)
    assert weights.shape == (count, objectives)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert weights.min() > 0
    np.testing.assert_allclose(weights.mean(axis=0), 1 / objectives)


def test_the_sums_choose_in_turn() -> None:
    values = np.array([[0.0, 9.0], [4.0, 4.0], [9.0, 0.0], [9.0, 9.0]])
    assert set(best_by_turns(values, 3)) == {0, 1, 2}
    assert best_by_turns(values, 3)[0] == 2, "the first sum has most weight on the second objective"
    assert sorted(best_by_turns(values, 10)) == [0, 1, 2, 3]
    assert best_by_turns(np.array([[0.3], [0.1], [0.2]]), 2) == [1, 2]


def test_the_order_of_birth() -> None:
    known = some(TWO, 4)
    assert by_age(known) == known
    again = evaluated(TWO, TWO.encodings_of(known), np.ones(4), round=2)
    assert by_age(again) == again[::-1], "new ones were evaluated first, then old ones again"
    assert by_age([*known, *again]) == [*known, *again]
