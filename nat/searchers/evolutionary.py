"""NAT's strategy: a surrogate of accuracy, evolution on its predictions, a spread of candidates to evaluate.

Neural Architecture Transfer, Lu, Sreekumar, Goodman, Banzhaf, Deb and Boddeti, IEEE TPAMI 2021. Candidates are spread
over the costs as in MSuNAS (Lu et al., ECCV 2020); the surrogate is our own.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from nat.archive import Evaluation
from nat.evolution import Predict, evolve
from nat.pareto import non_dominated, select_by_rank
from nat.problem import ERROR, SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.sandwich import train_sandwich
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import mutate, sample_like, sample_stratified
from nat.supernet.space import Encodings
from nat.surrogates.base import Surrogate
from nat.surrogates.trend import TrendGaussianProcess


class NatSearcher:
    """Surrogate-guided evolution; adapts the supernet on subnets drawn from the pool's distribution.

    Args:
        population: of NSGA-III; NAT's is 100.
        generations: of NSGA-III in each round; NAT's are 100.
        surrogate: makes a fresh surrogate for each round.
    """

    name = "nat"
    title = "surrogate-guided NSGA-III on a supernet that adapts to the archive"

    def __init__(
        self,
        *,
        population: int = 100,
        generations: int = 100,
        surrogate: Callable[[], Surrogate] = TrendGaussianProcess,
    ) -> None:
        self.population, self.generations = population, generations
        self.surrogate = surrogate

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Architecture]:
        """A stratified sample at first; then the best predicted candidates, spread over the costs."""
        if not evaluations:
            return problem.space.decode(sample_stratified(problem.costs, count, rng, problem.limits))
        known = problem.encodings_of(evaluations)
        predict = self._fitted(problem, evaluations, known)
        candidates = self._evolved(problem, evaluations, known, predict, rng)
        if len(candidates) < count:
            candidates = np.concatenate([candidates, _variations(problem, known, candidates, rng)])
        if not len(candidates):
            return []
        predicted = problem.values(predict(candidates), candidates)
        front = known[non_dominated(problem.values_of(evaluations))]
        chosen = select_by_rank(predicted, problem.costs.macs(candidates), count, keep=problem.costs.macs(front))
        return problem.space.decode(candidates[chosen])

    def _fitted(self, problem: SearchProblem, evaluations: Sequence[Evaluation], known: Encodings) -> Predict:
        """Predicts errors of encodings from the evaluations."""
        surrogate = self.surrogate()
        errors = np.array([evaluation.objectives[ERROR] for evaluation in evaluations])
        surrogate.fit(problem.space.features(known), errors)
        return lambda encodings: surrogate.predict(problem.space.features(encodings))[0]

    def _evolved(
        self,
        problem: SearchProblem,
        evaluations: Sequence[Evaluation],
        known: Encodings,
        predict: Predict,
        rng: Generator,
    ) -> Encodings:
        """New architectures of the last generation."""
        best_first = np.argsort(~non_dominated(problem.values_of(evaluations)), kind="stable")
        last = evolve(
            problem,
            predict,
            known[best_first],
            population=self.population,
            generations=self.generations,
            seed=int(rng.integers(2**31)),
        )
        return _without(last, known)

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
