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
from nat.evolution import Evolution
from nat.pareto import Floats, non_dominated
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.candidates import evolved, promising, variations
from nat.searchers.sandwich import train_sandwich
from nat.selection import SELECTIONS, Candidates, by_directions, by_improvement, by_spread, predicted
from nat.supernet.sampling import sample_like, sample_stratified
from nat.supernet.searchable import Encodings
from nat.surrogates.base import Surrogate
from nat.surrogates.trend import TrendGaussianProcess

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
        surrogate: Callable[[], Surrogate] = TrendGaussianProcess,
        selection: str = "ehvi",
        algorithm: str = "nsga3",
    ) -> None:
        if selection not in SELECTIONS:
            raise unknown_name("selection", selection, SELECTIONS)
        self.evolution = Evolution(population, generations, algorithm)
        self.surrogate, self.selection = surrogate, selection

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Any]:
        """A stratified sample at first; then the most promising candidates."""
        if not evaluations:
            return problem.space.decode(sample_stratified(problem.costs, count, rng, problem.limits))
        known, measured = problem.encodings_of(evaluations), problem.values_of(evaluations)
        surrogate = self.surrogate()
        surrogate.fit(problem.space.features(known), self._errors(measured))
        find = promising if self.selection == "ehvi" else evolved
        candidates = find(problem, surrogate, known, measured, rng, self.evolution)
        if len(candidates) < count:
            candidates = np.concatenate([candidates, variations(problem, known, candidates, rng)])
        if not len(candidates):
            return []
        chosen = self._chosen(predicted(problem, surrogate, candidates), measured, count, rng)
        return problem.space.decode(candidates[chosen])

    def _errors(self, measured: Floats) -> Floats:
        """What the surrogate learns; for improvements, errors far above the front are taken as less bad than they are.

        How bad a hopeless architecture is tells little of the front, and takes much of a stationary model's variance.
        """
        errors, front = measured[:, 0], measured[non_dominated(measured), 0]
        if self.selection != "ehvi" or np.ptp(front) == 0:
            return errors
        clipped: Floats = np.minimum(errors, front.min() + CLIP * np.ptp(front))
        return clipped

    def _chosen(self, candidates: Candidates, measured: Floats, count: int, rng: Generator) -> NDArray[np.intp]:
        """Rows of the candidates that the rule chooses."""
        if self.selection == "spread":
            return by_spread(candidates.values, measured, count)
        if self.selection == "reference":
            return by_directions(candidates.values, count, rng)
        return by_improvement(candidates, measured, count)

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool: each step, a whole member, and one whose genes are drawn, each on its own, from all.

        NAT draws gene by gene only. Whole members beside that train what will be evaluated.
        """

        def draw(rng: Generator) -> Encodings:
            return np.concatenate([pool[rng.integers(len(pool), size=1)], sample_like(problem.space, pool, 1, rng)])

        train_sandwich(adaptation, problem, pool, draw)
