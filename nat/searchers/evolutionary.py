"""NAT's strategy: a surrogate of accuracy, evolution on its predictions, the most promising candidates to evaluate.

Neural Architecture Transfer, Lu, Sreekumar, Goodman, Banzhaf, Deb and Boddeti, IEEE TPAMI 2021. What is evaluated is
chosen by expected hypervolume improvement; NAT's rule and the one of MSuNAS (Lu et al., ECCV 2020) are options.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.errors import unknown_name
from nat.evolution import check_algorithm, evolve
from nat.pareto import non_dominated
from nat.problem import ERROR, SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.sandwich import train_sandwich
from nat.selection import SELECTIONS, Candidates, by_directions, by_improvement, by_spread
from nat.supernet.sampling import mutate, sample_like, sample_stratified, vary
from nat.supernet.searchable import Encodings, combinations
from nat.surrogates.base import Surrogate
from nat.surrogates.gp import GaussianProcess

Floats = NDArray[np.float64]
ENUMERATED = 20_000
MUTANTS = 1000
LAST = 5
CLIP = 1.3


class NatSearcher:
    """Surrogate-guided evolution; adapts the supernet on subnets drawn from the pool's distribution.

    Args:
        population: of the evolutionary algorithm; NAT's is 100.
        generations: of it in each round; NAT's are 100.
        surrogate: makes a fresh surrogate for each round.
        selection: rule for what is evaluated: "ehvi" (expected hypervolume improvement), "reference" (NAT) or "spread"
            (MSuNAS).
        algorithm: "nsga3" (NAT) or "nsga2" (MSuNAS).
    """

    name = "nat"
    title = "surrogate-guided NSGA-III on a supernet that adapts to the archive"

    def __init__(
        self,
        *,
        population: int = 100,
        generations: int = 100,
        surrogate: Callable[[], Surrogate] = GaussianProcess,
        selection: str = "ehvi",
        algorithm: str = "nsga3",
    ) -> None:
        if selection not in SELECTIONS:
            raise unknown_name("selection", selection, SELECTIONS)
        check_algorithm(algorithm)
        self.population, self.generations = population, generations
        self.surrogate, self.selection, self.algorithm = surrogate, selection, algorithm

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Any]:
        """A stratified sample at first; then the most promising candidates."""
        if not evaluations:
            return problem.space.decode(sample_stratified(problem.costs, count, rng, problem.limits))
        known, measured = problem.encodings_of(evaluations), problem.values_of(evaluations)
        surrogate = self._fitted(problem, known, measured)
        candidates = self._candidates(problem, surrogate, known, measured, rng)
        if len(candidates) < count:
            candidates = np.concatenate([candidates, _variations(problem, known, candidates, rng)])
        if not len(candidates):
            return []
        chosen = self._chosen(problem, surrogate, candidates, measured, count, rng)
        return problem.space.decode(candidates[chosen])

    def _fitted(self, problem: SearchProblem, known: Encodings, measured: Floats) -> Surrogate:
        """A surrogate of the errors; for improvements, those far above the front are taken as less bad than they are.

        How bad a hopeless architecture is tells nothing about the front, but much of a stationary model's variance.
        """
        surrogate, errors = self.surrogate(), measured[:, problem.objectives.index(ERROR)]
        if self.selection == "ehvi":
            front = errors[non_dominated(measured)]
            errors = np.minimum(errors, front.min() + CLIP * np.ptp(front)) if np.ptp(front) > 0 else errors
        surrogate.fit(problem.space.features(known), errors)
        return surrogate

    def _candidates(
        self, problem: SearchProblem, surrogate: Surrogate, known: Encodings, measured: Floats, rng: Generator
    ) -> Encodings:
        """New architectures: all there are, or the last generations on predictions and mutants of the front."""
        everything = combinations(problem.space, ENUMERATED) if self.selection == "ehvi" else None
        if everything is not None:
            return _without(everything[problem.allows(everything)], known)
        best_first = np.argsort(~non_dominated(measured), kind="stable")
        evolved = evolve(
            problem,
            lambda encodings: surrogate.predict(problem.space.features(encodings))[0],
            known[best_first],
            population=self.population,
            generations=self.generations,
            seed=int(rng.integers(2**31)),
            algorithm=self.algorithm,
            last=LAST if self.selection == "ehvi" else 1,
        )
        if self.selection == "ehvi":
            front = known[non_dominated(measured)]
            mutants = vary(problem.space, front[rng.integers(len(front), size=MUTANTS)], rng, genes=2)
            evolved = np.unique(np.concatenate([evolved, mutants[problem.allows(mutants)]]), axis=0)
        return _without(evolved, known)

    def _chosen(
        self,
        problem: SearchProblem,
        surrogate: Surrogate,
        candidates: Encodings,
        measured: Floats,
        count: int,
        rng: Generator,
    ) -> NDArray[np.intp]:
        """Rows of the candidates that the rule chooses."""
        features = problem.space.features(candidates)
        mean, deviation = surrogate.predict(features)
        values = problem.values(mean, candidates)
        if self.selection == "spread":
            return by_spread(values, measured, count)
        if self.selection == "reference":
            return by_directions(values, count, rng)

        def covariance(rows: NDArray[np.intp]) -> Floats:
            joint = getattr(surrogate, "covariance", None)
            return joint(features[rows]) if joint else np.diag(deviation[rows] ** 2)

        return by_improvement(Candidates(values, deviation, covariance), measured, count)

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool: each step, a whole member, and one whose genes are drawn, each on its own, from all.

        NAT draws gene by gene only. Whole members beside that train what will be evaluated.
        """

        def draw(rng: Generator) -> Encodings:
            return np.concatenate([pool[rng.integers(len(pool), size=1)], sample_like(problem.space, pool, 1, rng)])

        train_sandwich(adaptation, problem, pool, draw)


def _variations(problem: SearchProblem, known: Encodings, taken: Encodings, rng: Generator) -> Encodings:
    """New architectures near the known ones, for when evolution found too few new ones."""
    near = mutate(problem.space, known[rng.integers(len(known), size=256)], rng, 0.1)
    return _without(np.unique(near[problem.allows(near)], axis=0), np.concatenate([known, taken]))


def _without(encodings: Encodings, known: Encodings) -> Encodings:
    """Those rows of `encodings` that are not among `known`."""
    seen = {row.tobytes() for row in np.ascontiguousarray(known)}
    return encodings[[row.tobytes() not in seen for row in np.ascontiguousarray(encodings)]]
