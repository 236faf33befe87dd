"""Regularised evolution: parents are the best of a few, the oldest leave, however good they are.

Real, Aggarwal, Huang and Le, AAAI 2019. Theirs minimises one error; here each child is of one of several weighted sums
of the objectives, in turn (`nat/searchers/scalar.py`).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from nat.archive import Evaluation, Proposal
from nat.pareto import Floats
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.random import first_sample, topped_up
from nat.searchers.sandwich import PASSES, train_pool
from nat.searchers.scalar import by_age, scaled, weight_vectors
from nat.supernet.sampling import vary
from nat.supernet.searchable import Encodings

TRIES = 200


class RegularisedEvolution:
    """Ageing evolution by mutation alone; a strategy without a model.

    The population is read off the evaluations: the youngest of them. As a child joins, the oldest leaves. While the
    shared weights adapt, values of older weights do not count, so that the population is no larger than a round's
    pool, and the loop, which evaluates only the best again, is what removes (`--adaptation frozen` for ageing alone).

    Args:
        population: how many of the youngest may have children; the paper's is 100.
        sample: of how many, drawn without replacement, the best is the parent; the paper's is 25.
    """

    name = "regevo"
    title = "regularised evolution: a tournament's winner has a child with one gene changed, the oldest leave"
    passes = PASSES
    seconds: Mapping[str, float] = MappingProxyType({})

    def __init__(self, *, population: int = 50, sample: int = 10) -> None:
        self.population, self.sample = population, sample

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """A stratified sample at first; then children, or random architectures where none is new."""
        if not evaluations:
            return first_sample(problem, count, rng)
        young = self.alive(evaluations)
        genes, values = problem.encodings_of(young), scaled(problem.values_of(young))
        weights = weight_vectors(len(problem.objectives))
        taken = {row.tobytes() for row in problem.encodings_of(evaluations)}
        children: list[Encodings] = []
        for number in range(len(evaluations), len(evaluations) + count):
            parent = genes[self.winner(values @ weights[number % len(weights)], rng)]
            fresh = [row for row in neighbours(problem, parent, rng) if row.tobytes() not in taken][:1]
            taken.update(row.tobytes() for row in fresh)
            children += fresh
        nets = problem.space.decode(np.array(children)) if children else []
        return [Proposal(net) for net in topped_up(problem, evaluations, nets, count, rng)]

    def alive(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """The population: the youngest, oldest first."""
        return by_age(evaluations)[-self.population :]

    def winner(self, scores: Floats, rng: Generator) -> int:
        """Row with the least score (n,) of a sample without replacement."""
        rivals = rng.choice(len(scores), min(self.sample, len(scores)), replace=False)
        return int(rivals[np.argmin(scores[rivals])])

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool, and on the rest of the space."""
        train_pool(adaptation, problem, pool)


def neighbours(problem: SearchProblem, parent: Encodings, rng: Generator) -> Encodings:
    """Drawn architectures that differ from the parent (genes,) in exactly one gene and keep the limits, (n, genes).

    A space may repair a changed gene away, or others with it; such draws do not count.
    """
    drawn: Encodings = vary(problem.space, np.tile(parent, (TRIES, 1)), rng, genes=1)
    drawn = drawn[(drawn != parent).sum(axis=1) == 1]
    allowed: Encodings = drawn[problem.allows(drawn)]
    return allowed
