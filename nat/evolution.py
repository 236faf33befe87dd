"""Evolution of architectures on predicted errors and exact costs, by pymoo's NSGA-III or NSGA-II.

NSGA-III: Deb and Jain, IEEE Trans. Evol. Comput. 18(4), 2014; NAT uses it with a population of 100 over 100
generations, MSuNAS NSGA-II (Deb et al., 6(2), 2002) with 40 over 20. The genes are categories, so the operators are the
space's own: uniform crossover and redrawn genes, each repaired to a legal architecture, where NAT's reimplementation
rounds real-valued operators.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import Any, Literal, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.algorithm import Algorithm
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from nat.errors import unknown_name
from nat.problem import Objectives, SearchProblem
from nat.supernet.sampling import crossover, mutate
from nat.supernet.searchable import Encodings, SearchSpace

MATINGS = 10
Choice = Literal["nsga3", "nsga2"]
ALGORITHMS: tuple[str, ...] = get_args(Choice)
Predict = Callable[[Encodings], NDArray[np.float64]]


@dataclass(frozen=True)
class Evolution:
    """How to evolve.

    Attributes:
        population: NAT's is 100.
        generations: NAT's are 100.
        algorithm: "nsga3" (NAT) or "nsga2" (MSuNAS).
    """

    population: int = 100
    generations: int = 100
    algorithm: Choice = "nsga3"

    def __post_init__(self) -> None:
        """Refuses an unknown algorithm."""
        if self.algorithm not in ALGORITHMS:
            raise unknown_name("algorithm", self.algorithm, ALGORITHMS)


class _Predicted(Problem):  # type: ignore[misc]
    """Predicted errors and exact costs; by how much the limits are broken is the violation of the constraint."""

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
        errors = self.predict(x)
        out["F"] = self.search.values(errors, x)
        out["G"] = (self.search.limits.excess(self.search.costs, x) + self.search.shortfall(errors))[:, None]


class _SpaceCrossover(Crossover):  # type: ignore[misc]
    """Two children of two parents, drawn independently: each gene of each child is from either parent."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(2, 2, prob=0.9)
        self.space = space

    def _do(self, problem: Problem, x: Encodings, *_: Any, random_state: Generator, **__: Any) -> Encodings:
        first, second = x
        children = [crossover(self.space, a, b, random_state) for a, b in ((first, second), (second, first))]
        return np.stack(children)


class _SpaceMutation(Mutation):  # type: ignore[misc]
    """Redraws each gene with the given probability."""

    def __init__(self, space: SearchSpace, probability: float) -> None:
        super().__init__(prob=1.0)
        self.space, self.probability = space, probability

    def _do(self, problem: Problem, x: Encodings, *_: Any, random_state: Generator, **__: Any) -> Encodings:
        return mutate(self.space, x, random_state, self.probability)


class _SpaceRepair(Repair):  # type: ignore[misc]
    """Brings encodings to their canonical form, so that pymoo finds duplicates."""

    def __init__(self, space: SearchSpace) -> None:
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
    algorithm: Choice = "nsga3",
    last: int = 1,
) -> Encodings:
    """The last populations, as far as they keep the limits, distinct, shape (n, genes); empty if none does.

    Args:
        problem: space, objectives and limits.
        predict: predicted errors of encodings (n, genes): (n,), or (n, measured) with several measured objectives.
        initial: encodings to start from, at least one; varied copies fill the population.
        population: size, which is also about the number of reference directions.
        generations: how many.
        seed: of everything random.
        mutation_probability: of each gene; NAT's is 0.1.
        algorithm: NSGA-III, by reference directions, or NSGA-II, by crowding (MSuNAS has it).
        last: of how many generations the populations are joined.
    """
    space = problem.space
    if len(initial) < population:
        rng = np.random.default_rng([seed, 1])
        parents = initial[rng.integers(len(initial), size=population - len(initial))]
        initial = np.concatenate([initial, mutate(space, parents, rng, 2 * mutation_probability)])
    operators = {
        "pop_size": population,
        "sampling": initial[:population],
        "crossover": _SpaceCrossover(space),
        "mutation": _SpaceMutation(space, mutation_probability),
        "repair": _SpaceRepair(space),
    }
    found: deque[Encodings] = deque(maxlen=last)  # pymoo ends early where nothing new can be bred

    def collect(state: Algorithm) -> None:
        found.append(state.pop.get("X").astype(np.int64))

    minimize(
        _Predicted(problem, predict),
        _algorithm(algorithm, len(problem.objectives), operators),
        ("n_gen", generations),
        seed=seed,
        callback=collect,
        verbose=False,
    )
    everything = np.unique(space.repair(np.concatenate(found)), axis=0)
    return everything[problem.allows(everything) & problem.accepts(predict(everything))]


def offspring(
    problem: SearchProblem, parents: Encodings, values: Objectives, count: int, rng: Generator, population: int
) -> Encodings:
    """Children of one generation of NSGA-II, new and within the limits, shape (n, genes), n at most `count`.

    Args:
        problem: space, objectives and limits.
        parents: everything that was evaluated, shape (k, genes); the best by rank and crowding are the population.
        values: measured objectives of the parents, shape (k, m).
        count: how many children are wanted; fewer come where ten rounds of mating do not find so many.
        rng: source of randomness.
        population: how many of the parents may mate.
    """
    space = problem.space
    operators = {"crossover": _SpaceCrossover(space), "mutation": _SpaceMutation(space, 1.0 / parents.shape[1])}
    algorithm = NSGA2(pop_size=population, repair=_SpaceRepair(space), **operators)
    algorithm.random_state = rng  # tournaments take it from there
    pymoo_problem = _Predicted(problem, lambda encodings: np.zeros((len(encodings), len(problem.measured))))
    everyone = Population.new(X=parents, F=values, G=np.zeros((len(parents), 1)))
    survivors = algorithm.survival.do(pymoo_problem, everyone, n_survive=population, random_state=rng)
    seen, children = {row.tobytes() for row in parents}, list[Encodings]()
    for _ in range(MATINGS):
        mated = algorithm.mating.do(
            pymoo_problem, survivors, count, algorithm=algorithm, random_state=rng, n_max_iterations=MATINGS
        )
        born = np.asarray(mated.get("X")).reshape(-1, parents.shape[1]).astype(np.int64)
        for child in born[problem.allows(born)]:
            if child.tobytes() not in seen and len(children) < count:
                seen.add(child.tobytes())
                children.append(child)
        if len(children) == count:
            break
    return np.array(children, dtype=np.int64).reshape(-1, parents.shape[1])


def _algorithm(name: str, objectives: int, operators: dict[str, Any]) -> Algorithm:
    if name == "nsga2":
        return NSGA2(**operators)
    directions = reference_directions(objectives, operators["pop_size"])
    return NSGA3(directions, selection=TournamentSelection(func_comp=_less_violation), **operators)


def reference_directions(objectives: int, count: int) -> NDArray[np.float64]:
    """About `count` directions spread evenly over the simplex, shape (n, objectives), n at most `count`.

    Those of Das and Dennis (1998) with the most partitions that fit; for two objectives evenly spaced ones. Where all
    of them lie on the simplex's border, as with many objectives, an inner layer half as wide follows if it fits (Deb
    and Jain 2014, section V).
    """
    outer = max(1, _most_partitions(objectives, count))
    directions = np.asarray(get_reference_directions("das-dennis", objectives, n_partitions=outer))
    inner = _most_partitions(objectives, count - len(directions))
    if outer >= objectives or not inner:
        return directions
    layer = np.asarray(get_reference_directions("das-dennis", objectives, n_partitions=min(inner, outer)))
    return np.concatenate([directions, (layer + 1 / objectives) / 2])


def _most_partitions(objectives: int, count: int) -> int:
    """The most partitions of Das and Dennis with at most `count` directions; 0 if there are none."""
    partitions = 0
    while _das_dennis_count(objectives, partitions + 1) <= count:
        partitions += 1
    return partitions


def _das_dennis_count(objectives: int, partitions: int) -> int:
    return comb(partitions + objectives - 1, objectives - 1)
