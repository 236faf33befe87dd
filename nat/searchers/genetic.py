"""NSGA-II on measured values: evolution without a surrogate, a control for strategies that have one."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from numpy.random import Generator

from nat.archive import Evaluation, Proposal
from nat.evolution import offspring
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.random import first_sample, topped_up
from nat.searchers.sandwich import PASSES, train_pool
from nat.supernet.searchable import Encodings


class GeneticSearcher:
    """NSGA-II (Deb et al., IEEE Trans. Evol. Comput. 6(2), 2002), whose population is the best of all evaluations.

    Args:
        population: how many may mate.
    """

    name = "nsga2"
    title = "NSGA-II without a surrogate; a control"
    passes = PASSES
    seconds: Mapping[str, float] = MappingProxyType({})

    def __init__(self, *, population: int = 40) -> None:
        self.population = population

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """A stratified sample at first; then children of the best by rank and crowding."""
        if not evaluations:
            return first_sample(problem, count, rng)
        known = problem.encodings_of(evaluations)
        children = offspring(problem, known, problem.values_of(evaluations), count, rng, self.population)
        nets = topped_up(problem, evaluations, problem.space.decode(children), count, rng)
        return [Proposal(net) for net in nets]

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool, and on the rest of the space."""
        train_pool(adaptation, problem, pool)
