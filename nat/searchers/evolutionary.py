"""NAT's strategy: a surrogate of accuracy, evolution on its predictions, a spread of candidates to evaluate.

Neural Architecture Transfer, Lu, Sreekumar, Goodman, Banzhaf, Deb and Boddeti, IEEE TPAMI 2021. The surrogate is
chosen between an RBF interpolant and a Gaussian process by cross-validated rank correlation, and candidates are
spread over the costs, both as in MSuNAS (Lu et al., ECCV 2020).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.evolution import Algorithm, Predict, evolve
from nat.objectives import ERROR
from nat.pareto import non_dominated, select_by_rank
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.sandwich import train_sandwich
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import mutate, sample_like, sample_stratified
from nat.supernet.space import Encodings
from nat.surrogates.base import Surrogate
from nat.surrogates.gp import GaussianProcess
from nat.surrogates.rbf import CubicRBF
from nat.surrogates.switching import SwitchingSurrogate


def default_surrogate() -> Surrogate:
    """RBF or Gaussian process, whichever ranks better in cross-validation."""
    return SwitchingSurrogate([CubicRBF(), GaussianProcess()])


class NatSearcher:
    """Surrogate-guided evolution; adapts the supernet on subnets drawn from the pool's distribution.

    Args:
        population: of NSGA-III; NAT's is 100.
        generations: of NSGA-III in each round; NAT's are 100.
        surrogate: makes a fresh surrogate for each round and each measured objective.
        algorithm: "nsga3", or "nsga2" as in MSuNAS.
    """

    name = "nat"
    title = "surrogate-guided NSGA-III on a supernet that adapts to the archive"

    def __init__(
        self,
        *,
        population: int = 100,
        generations: int = 100,
        surrogate: Callable[[], Surrogate] = default_surrogate,
        algorithm: Algorithm = "nsga3",
    ) -> None:
        self.population, self.generations = population, generations
        self.surrogate, self.algorithm = surrogate, algorithm

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Architecture]:
        """A stratified sample at first; then the best predicted candidates, spread over the costs."""
        if not evaluations:
            return problem.space.decode(sample_stratified(problem.costs, count, rng, problem.limits))
        known = problem.encodings_of(evaluations)
        predict, doubt = self._fitted(problem, evaluations, known)
        problem = _hopeful(problem, evaluations, doubt)
        candidates = self._evolved(problem, evaluations, known, predict, rng)
        if len(candidates) < count:
            candidates = np.concatenate([candidates, _variations(problem, known, candidates, rng)])
        if not len(candidates):
            return []
        errors = predict(candidates)
        accepted = problem.accepts(errors)
        candidates, errors = candidates[accepted], errors[accepted]
        predicted = problem.values(errors, candidates)
        front = known[non_dominated(problem.values_of(evaluations))]
        chosen = select_by_rank(predicted, problem.costs.macs(candidates), count, keep=problem.costs.macs(front))
        return problem.space.decode(candidates[chosen])

    def _fitted(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], known: Encodings
    ) -> tuple[Predict, float]:
        """Predicts errors (n, measured) of encodings from the evaluations; and how uncertain that is near them."""
        features, models = problem.space.features(known), [self.surrogate() for _ in problem.measured]
        for model, errors in zip(models, problem.errors_of(evaluations).T, strict=True):
            model.fit(features, errors)

        def predict(encodings: Encodings) -> NDArray[np.float64]:
            features = problem.space.features(encodings)
            return np.stack([model.predict(features)[0] for model in models], axis=1)

        near = problem.space.features(sample_like(problem.space, known, 64, np.random.default_rng(0)))
        return predict, max(float(np.median(model.predict(near)[1])) for model in models)

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
            algorithm=self.algorithm,
        )
        return _without(last, known)

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool: each step, a whole member, and one whose genes are drawn, each on its own, from all.

        NAT draws gene by gene only. Whole members beside that train what will be evaluated.
        """

        def draw(rng: Generator) -> Encodings:
            return np.concatenate([pool[rng.integers(len(pool), size=1)], sample_like(problem.space, pool, 1, rng)])

        train_sandwich(adaptation, problem, pool, draw)


def _hopeful(problem: SearchProblem, evaluations: Sequence[Evaluation], doubt: float) -> SearchProblem:
    """The problem with a greatest error above which a prediction says that a subnet is surely not accurate enough.

    That is the limit, and two deviations of the surrogate's. As long as nothing reaches the limit, it is the least
    error found: weights get better from round to round, and only what is worse than others is passed over.
    """
    if problem.max_error >= 1.0:
        return problem
    best = min(evaluation.objectives[ERROR] for evaluation in evaluations)
    return replace(problem, max_error=min(1.0, max(problem.max_error, best) + 2 * doubt))


def _variations(problem: SearchProblem, known: Encodings, taken: Encodings, rng: Generator) -> Encodings:
    """New architectures near the known ones, for when evolution found too few new ones."""
    near = mutate(problem.space, known[rng.integers(len(known), size=256)], rng, 0.1)
    return _without(np.unique(near[problem.allows(near)], axis=0), np.concatenate([known, taken]))


def _without(encodings: Encodings, known: Encodings) -> Encodings:
    """Those rows of `encodings` that are not among `known`."""
    seen = {row.tobytes() for row in np.ascontiguousarray(known)}
    return encodings[[row.tobytes() not in seen for row in np.ascontiguousarray(encodings)]]
