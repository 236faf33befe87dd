import numpy as np
import pytest
from numpy.typing import NDArray

from nat.evolution import evolve, reference_directions
from nat.pareto import hypervolume
from nat.problem import ERROR, SearchProblem
from nat.supernet.sampling import Limits, sample_uniform
from nat.supernet.space import Encodings


def additive(encodings: Encodings) -> NDArray[np.float64]:
    """A known error: every code takes some of it away, by a weight of its place; costs grow with the same codes."""
    weights = 1.0 / np.arange(1, encodings.shape[1] + 1)
    return 0.9 - 0.05 * (encodings * weights).sum(axis=1)


def run(problem: SearchProblem, seed: int = 0, population: int = 24, generations: int = 12) -> Encodings:
    initial = sample_uniform(problem.space, 8, np.random.default_rng(seed))
    return evolve(problem, additive, initial, population=population, generations=generations, seed=seed)


def share(problem: SearchProblem, encodings: Encodings) -> float:
    return hypervolume(problem.values(additive(encodings), encodings), problem.reference_point())


@pytest.mark.parametrize("objectives", [(ERROR, "macs"), (ERROR, "macs", "params")])
def test_population_is_canonical_distinct_and_legal(problem: SearchProblem, objectives: tuple[str, ...]) -> None:
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


def test_better_than_as_many_random_architectures(problem: SearchProblem) -> None:
    for seed in range(3):
        drawn = sample_uniform(problem.space, 24 * 12, np.random.default_rng(100 + seed))
        assert share(problem, run(problem, seed)) > share(problem, drawn)


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


@pytest.mark.parametrize(("objectives", "count"), [(2, 2), (2, 100), (3, 10), (3, 100), (4, 60)])
def test_reference_directions_lie_on_the_simplex(objectives: int, count: int) -> None:
    directions = reference_directions(objectives, count)
    assert directions.shape[1] == objectives
    assert objectives <= len(directions) <= count
    assert np.allclose(directions.sum(axis=1), 1) and (directions >= 0).all()
    assert len(np.unique(directions.round(9), axis=0)) == len(directions)
