from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nat.evolution import Algorithm, Predict, evolve, reference_directions
from nat.objectives import LATENCY, MACRO_F1, MACS, MEMORY, PARAMS, RESOLUTION, TOP1, Objective, UserObjective
from nat.pareto import hypervolume
from nat.problem import SearchProblem
from nat.supernet.costs import CostTable
from nat.supernet.latency import LatencyTable
from nat.supernet.sampling import Limits, sample_uniform
from nat.supernet.space import Encodings


def additive(encodings: Encodings) -> NDArray[np.float64]:
    """A known error: every code takes some of it away, by a weight of its place; costs grow with the same codes."""
    weights = 1.0 / np.arange(1, encodings.shape[1] + 1)
    return 0.9 - 0.05 * (encodings * weights).sum(axis=1)


def run(
    problem: SearchProblem,
    seed: int = 0,
    population: int = 24,
    generations: int = 12,
    algorithm: Algorithm = "nsga3",
    predict: Predict = additive,
) -> Encodings:
    initial = sample_uniform(problem.space, 8, np.random.default_rng(seed))
    settings = {"population": population, "generations": generations, "seed": seed}
    return evolve(problem, predict, initial, algorithm=algorithm, **settings)


def share(problem: SearchProblem, encodings: Encodings) -> float:
    return hypervolume(problem.values(additive(encodings), encodings), problem.reference_point())


@pytest.mark.parametrize("objectives", [(TOP1, MACS), (TOP1, MACS, PARAMS)])
def test_population_is_canonical_distinct_and_legal(problem: SearchProblem, objectives: tuple[Objective, ...]) -> None:
    found = run(SearchProblem(problem.costs, objectives))
    assert 0 < len(found) <= 24
    assert len(np.unique(found, axis=0)) == len(found)
    assert (problem.space.repair(found) == found).all()


def test_limits_are_kept(problem: SearchProblem) -> None:
    costs = problem.costs
    least, most = costs.of(problem.space.smallest()), costs.of(problem.space.largest())
    limits = Limits(*((3 * low + high) // 4 for low, high in zip(least, most, strict=True)))
    limited = SearchProblem(costs, limits=limits)
    found = run(limited)
    assert len(found)
    assert limited.allows(found).all()
    assert not limited.allows(run(problem)).all(), "the limits forbid what would be found without them"


def test_nothing_is_found_where_nothing_is_allowed(problem: SearchProblem) -> None:
    assert run(SearchProblem(problem.costs, limits=Limits(max_macs=1)), generations=2).shape[0] == 0


@pytest.mark.parametrize("algorithm", ["nsga3", "nsga2"])
def test_better_than_as_many_random_architectures(problem: SearchProblem, algorithm: Algorithm) -> None:
    for seed in range(3):
        drawn = sample_uniform(problem.space, 24 * 12, np.random.default_rng(100 + seed))
        assert share(problem, run(problem, seed, algorithm=algorithm)) > share(problem, drawn)


def test_the_two_algorithms_differ(problem: SearchProblem) -> None:
    assert not np.array_equal(run(problem), run(problem, algorithm="nsga2"))


def test_predictions_below_the_least_accuracy_are_left_out(problem: SearchProblem) -> None:
    bound = float(np.median(additive(run(problem))))
    found = run(replace(problem, max_error=bound))
    assert len(found) and (additive(found) <= bound).all()


def test_two_measured_objectives(problem: SearchProblem) -> None:
    """The second wants what the first does not, at any cost: so small nets and large ones are found at once."""

    def predict(encodings: Encodings) -> NDArray[np.float64]:
        return np.stack([additive(encodings), 1.0 - additive(encodings)], axis=1)

    both = SearchProblem(problem.costs, (TOP1, MACRO_F1))
    errors = additive(run(both, predict=predict))
    assert np.ptp(errors) > 1.3 * np.ptp(additive(sample_uniform(problem.space, 24, np.random.default_rng(0))))


def test_twelve_objectives(problem: SearchProblem, latency: LatencyTable) -> None:
    own = [UserObjective(f"own{k}", lambda nets, k=k: [net.kernels[k] for net in nets], 0, 9) for k in range(5)]
    costs = CostTable(problem.space, 3, latency)
    many = SearchProblem(costs, (TOP1, MACRO_F1, MACS, PARAMS, RESOLUTION, MEMORY, LATENCY, *own))
    found = run(many, population=30, generations=3, predict=lambda x: np.stack([additive(x)] * 2, axis=1))
    assert 0 < len(found) <= 30
    values = many.values(np.stack([additive(found)] * 2, axis=1), found)
    assert values.shape == (len(found), 12)
    assert 0 < hypervolume(values, many.reference_point(), many.ideal_point()) < 1


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_same_seed_same_population(problem: SearchProblem, share: float) -> None:
    least, most = (problem.costs.of(end)[0] for end in (problem.space.smallest(), problem.space.largest()))
    limited = SearchProblem(problem.costs, limits=Limits(max_macs=round(least + share * (most - least))))
    assert np.array_equal(run(limited, 1), run(limited, 1))
    assert not np.array_equal(run(limited, 1), run(limited, 2))


def test_more_to_start_from_than_the_population(problem: SearchProblem) -> None:
    initial = sample_uniform(problem.space, 40, np.random.default_rng(0))
    found = evolve(problem, additive, initial, population=10, generations=2, seed=0)
    assert 0 < len(found) <= 10


@pytest.mark.parametrize(
    ("objectives", "count"), [(2, 2), (2, 100), (3, 10), (3, 100), (4, 60), (4, 30), (8, 100), (12, 100)]
)
def test_reference_directions_lie_on_the_simplex(objectives: int, count: int) -> None:
    directions = reference_directions(objectives, count)
    assert directions.shape[1] == objectives
    assert objectives <= len(directions) <= count
    assert np.allclose(directions.sum(axis=1), 1) and (directions >= 0).all()
    assert len(np.unique(directions.round(9), axis=0)) == len(directions)


def test_many_objectives_have_directions_inside_the_simplex() -> None:
    assert (reference_directions(8, 100) > 0).all(axis=1).sum() == 36
