"""Evolution of architectures on predicted error and exact costs, by pymoo's NSGA-III.

NSGA-III: Deb and Jain, IEEE Trans. Evol. Comput. 18(4), 2014; NAT uses it with a population of 100 over 100
generations. The genes are categories, so the operators are the space's own: uniform crossover and redrawn genes, each
repaired to a legal architecture, where NAT's reimplementation rounds real-valued operators.
"""

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from nat.problem import SearchProblem
from nat.supernet.sampling import crossover, mutate
from nat.supernet.space import Encodings, MobileNetSpace

Predict = Callable[[Encodings], NDArray[np.float64]]


class _Predicted(Problem):  # type: ignore[misc]
    """Predicted error and exact costs; by how much the limits are broken is the violation of the constraint."""

    def __init__(self, problem: SearchProblem, predict: Predict) -> None:
        self.search, self.predict = problem, predict
        space = problem.space
        super().__init__(
            n_var=len(space.upper),
            n_obj=len(problem.objectives),
            n_ieq_constr=1,
            xl=space.lower,
            xu=space.upper,
            vtype=int,
        )

    def _evaluate(self, x: Encodings, out: dict[str, Any], *_: Any, **__: Any) -> None:
        out["F"] = self.search.values(self.predict(x), x)
        out["G"] = self.search.limits.excess(self.search.costs, x)[:, None]


class _SpaceCrossover(Crossover):  # type: ignore[misc]
    """Two children of two parents, drawn independently: each gene of each child is from either parent."""

    def __init__(self, space: MobileNetSpace) -> None:
        super().__init__(2, 2, prob=0.9)
        self.space = space

    def _do(self, problem: Problem, x: Encodings, *_: Any, random_state: Generator, **__: Any) -> Encodings:
        first, second = x
        children = [crossover(self.space, a, b, random_state) for a, b in ((first, second), (second, first))]
        return np.stack(children)


class _SpaceMutation(Mutation):  # type: ignore[misc]
    """Redraws each gene with the given probability."""

    def __init__(self, space: MobileNetSpace, probability: float) -> None:
        super().__init__(prob=1.0)
        self.space, self.probability = space, probability

    def _do(self, problem: Problem, x: Encodings, *_: Any, random_state: Generator, **__: Any) -> Encodings:
        return mutate(self.space, x, random_state, self.probability)


class _SpaceRepair(Repair):  # type: ignore[misc]
    """Brings encodings to their canonical form, so that pymoo finds duplicates."""

    def __init__(self, space: MobileNetSpace) -> None:
        super().__init__()
        self.space = space

    def _do(self, problem: Problem, x: Encodings, *_: Any, **__: Any) -> Encodings:
        return self.space.repair(x)


def _less_violation(
    population: Population, pairs: NDArray[np.int64], random_state: Generator, **_: Any
) -> NDArray[np.int64]:
    """Winners (n, 1) of pairs (n, 2): the one that breaks the limits less, either where they are equal.

    pymoo's own (0.6.2) decides ties of two that break them without the seed, so that no run under limits would repeat.
    """
    violations = population.get("CV").ravel()[pairs]
    tied = violations[:, 0] == violations[:, 1]
    column = np.where(tied, random_state.integers(2, size=len(pairs)), violations.argmin(axis=1))
    return np.take_along_axis(pairs, column[:, None], axis=1)


def evolve(
    problem: SearchProblem,
    predict: Predict,
    initial: Encodings,
    *,
    population: int,
    generations: int,
    seed: int,
    mutation_probability: float = 0.1,
) -> Encodings:
    """The last population that keeps the limits, distinct, shape (n, genes); empty if none does.

    Args:
        problem: space, objectives and limits.
        predict: predicted errors (n,) of encodings (n, genes).
        initial: encodings to start from, at least one; varied copies fill the population.
        population: size, which is also about the number of reference directions.
        generations: how many.
        seed: of everything random.
        mutation_probability: of each gene; NAT's is 0.1.
    """
    space = problem.space
    if len(initial) < population:
        rng = np.random.default_rng([seed, 1])
        parents = initial[rng.integers(len(initial), size=population - len(initial))]
        initial = np.concatenate([initial, mutate(space, parents, rng, 2 * mutation_probability)])
    algorithm = NSGA3(
        ref_dirs=reference_directions(len(problem.objectives), population),
        pop_size=population,
        sampling=initial[:population],
        selection=TournamentSelection(func_comp=_less_violation),
        crossover=_SpaceCrossover(space),
        mutation=_SpaceMutation(space, mutation_probability),
        repair=_SpaceRepair(space),
    )
    result = minimize(_Predicted(problem, predict), algorithm, ("n_gen", generations), seed=seed, verbose=False)
    last = space.repair(result.pop.get("X").astype(np.int64))
    return np.unique(last[problem.allows(last)], axis=0)


def reference_directions(objectives: int, count: int) -> NDArray[np.float64]:
    """About `count` directions spread evenly over the simplex, shape (n, objectives), n at most `count`.

    Two objectives: evenly spaced ones. More: those of Das and Dennis (1998) with the most partitions that fit.
    """
    partitions = 1
    while _das_dennis_count(objectives, partitions + 1) <= count:
        partitions += 1
    return np.asarray(get_reference_directions("das-dennis", objectives, n_partitions=partitions))


def _das_dennis_count(objectives: int, partitions: int) -> int:
    return comb(partitions + objectives - 1, objectives - 1)
