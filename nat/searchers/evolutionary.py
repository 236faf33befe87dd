"""NAT's strategy: surrogates of the errors, evolution on their predictions, the most promising candidates to evaluate.

Neural Architecture Transfer, Lu, Sreekumar, Goodman, Banzhaf, Deb and Boddeti, IEEE TPAMI 2021. What is evaluated is
chosen by expected hypervolume improvement; NAT's rule and the one of MSuNAS (Lu et al., ECCV 2020) are options.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.archive import Evaluation, Proposal
from nat.errors import unknown_name
from nat.evolution import Choice, Evolution
from nat.objectives import ERROR
from nat.pareto import Floats, non_dominated
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.candidates import evolved, promising, variations, with_predictions
from nat.searchers.random import first_sample
from nat.searchers.sandwich import PASSES, train_pool
from nat.selection import SELECTIONS, Candidates, by_directions, by_improvement, by_spread, predicted
from nat.supernet.sampling import sample_like
from nat.supernet.searchable import Encodings
from nat.surrogates.base import Surrogate
from nat.surrogates.trend import TrendGaussianProcess

CLIP = 1.3
NEAR = 64


class NatSearcher:
    """Surrogate-guided evolution; adapts the supernet on the pool and on the rest of the space.

    Args:
        population: of the evolutionary algorithm; NAT's is 100.
        generations: of it in each round; NAT's are 100.
        surrogate: makes a fresh surrogate for each round and each measured objective.
        selection: rule for what is evaluated: "ehvi" (expected hypervolume improvement), "reference" (NAT) or "spread"
            (MSuNAS).
        algorithm: "nsga3" (NAT) or "nsga2" (MSuNAS).
    """

    name = "nat"
    title = "evolution guided by surrogates and expected improvement; the supernet adapts to the archive"
    passes = PASSES

    def __init__(
        self,
        *,
        population: int = 100,
        generations: int = 100,
        surrogate: Callable[[], Surrogate] = TrendGaussianProcess,
        selection: str = "ehvi",
        algorithm: Choice = "nsga3",
    ) -> None:
        if selection not in SELECTIONS:
            raise unknown_name("selection", selection, SELECTIONS)
        self.evolution = Evolution(population, generations, algorithm)
        self.surrogate, self.selection = surrogate, selection
        self.seconds: dict[str, float] = {}

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """A stratified sample at first; then the most promising candidates."""
        self.seconds = {}
        if not evaluations:
            return first_sample(problem, count, rng)
        started, known = perf_counter(), problem.encodings_of(evaluations)
        surrogates = self._fitted(problem, evaluations, known)
        fitted = perf_counter()
        problem, measured = _hopeful(problem, evaluations, surrogates, known), problem.values_of(evaluations)
        encodings = self._candidates(problem, surrogates, known, measured, count, rng)
        proposals = []
        if len(encodings):
            candidates = predicted(problem, surrogates, encodings)
            macs, reached = (problem.costs.macs(x).astype(float) for x in (encodings, known[non_dominated(measured)]))
            chosen = self._chosen(candidates, measured, macs, reached, count, rng)
            proposals = with_predictions(problem, encodings, candidates, chosen)
        self.seconds = {"fit": fitted - started, "evolve": perf_counter() - fitted}
        return proposals

    def _fitted(self, problem: SearchProblem, evaluations: Sequence[Evaluation], known: Encodings) -> list[Surrogate]:
        """A model of each measured objective."""
        features, models = problem.space.features(known), [self.surrogate() for _ in problem.measured]
        front = non_dominated(problem.values_of(evaluations))
        for model, errors in zip(models, problem.errors_of(evaluations).T, strict=True):
            model.fit(features, self._clipped(errors, front))
        return models

    def _clipped(self, errors: Floats, front: NDArray[np.bool_]) -> Floats:
        """What a surrogate learns; for improvements, errors far above the front are taken as less bad than they are.

        How bad a hopeless architecture is tells little of the front, and takes much of a stationary model's variance.
        """
        if self.selection != "ehvi" or np.ptp(errors[front]) == 0:
            return errors
        clipped: Floats = np.minimum(errors, errors[front].min() + CLIP * np.ptp(errors[front]))
        return clipped

    def _candidates(
        self,
        problem: SearchProblem,
        surrogates: Sequence[Surrogate],
        known: Encodings,
        measured: Floats,
        count: int,
        rng: Generator,
    ) -> Encodings:
        """New architectures that keep the limits and, as predicted, the greatest error."""
        find = promising if self.selection == "ehvi" else evolved
        found = find(problem, surrogates, known, measured, rng, self.evolution)
        if len(found) < count:
            found = np.concatenate([found, variations(problem, surrogates, known, found, rng)])
        return found

    def _chosen(
        self, candidates: Candidates, measured: Floats, macs: Floats, reached: Floats, count: int, rng: Generator
    ) -> NDArray[np.intp]:
        """Rows of the candidates that the rule chooses."""
        if self.selection == "spread":
            return by_spread(candidates.values, macs, reached, count)
        if self.selection == "reference":
            return by_directions(candidates.values, count, rng)
        return by_improvement(candidates, measured, count)

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool, and on the rest of the space."""
        train_pool(adaptation, problem, pool)


def _hopeful(
    problem: SearchProblem, evaluations: Sequence[Evaluation], surrogates: Sequence[Surrogate], known: Encodings
) -> SearchProblem:
    """The problem with a greatest error above which a prediction says that a subnet is surely not accurate enough.

    That is the limit, and two deviations of the surrogate's. As long as nothing reaches the limit, it is the least
    error found: weights get better from round to round, and only what is worse than others is passed over.
    """
    names = [objective.name for objective in problem.measured]
    if problem.max_error >= 1.0 or ERROR not in names:
        return problem
    near = problem.space.features(sample_like(problem.space, known, NEAR, np.random.default_rng(0)))
    doubt = float(np.median(surrogates[names.index(ERROR)].predict(near)[1]))
    best = min(evaluation.objectives[ERROR] for evaluation in evaluations)
    return replace(problem, max_error=min(1.0, max(problem.max_error, best) + 2 * doubt))
