"""Random search: the control that every strategy must beat."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from numpy.random import Generator

from nat.archive import Evaluation, Proposal
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.sandwich import DRAWN, PASSES, allowed, train_sandwich
from nat.supernet.sampling import sample_stratified
from nat.supernet.searchable import Encodings


class RandomSearcher:
    """Proposes architectures spread evenly over the costs; adapts on uniformly drawn ones."""

    name = "random"
    title = "random search, stratified by multiply-adds; the control"
    passes = PASSES
    seconds: Mapping[str, float] = MappingProxyType({})

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """New architectures; the first call includes the smallest and the largest that the limits allow."""
        fresh = unseen(problem, [evaluation.architecture for evaluation in evaluations], count, rng)
        return [Proposal(architecture) for architecture in fresh]

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on architectures drawn uniformly from those that keep the limits."""
        train_sandwich(adaptation, problem, pool, lambda rng: allowed(problem, pool, DRAWN, rng))


def first_sample(problem: SearchProblem, count: int, rng: Generator) -> list[Proposal]:
    """What strategies begin with: architectures spread evenly over the multiply-adds, both ends among them."""
    drawn = sample_stratified(problem.costs, count, rng, problem.limits)
    return [Proposal(architecture) for architecture in problem.space.decode(drawn)]


def topped_up(
    problem: SearchProblem, evaluations: Sequence[Evaluation], found: Sequence[Any], count: int, rng: Generator
) -> list[Any]:
    """What a strategy has found, new and distinct; random architectures beside it where that is less than `count`."""
    if len(found) >= count:
        return list(found)
    known = [*(evaluation.architecture for evaluation in evaluations), *found]
    return [*found, *unseen(problem, known, count - len(found), rng)]


def unseen(problem: SearchProblem, known: Iterable[Any], count: int, rng: Generator) -> list[Any]:
    """At most `count` architectures that are not among the known ones, spread evenly over the multiply-adds."""
    known = set(known)
    drawn = sample_stratified(problem.costs, count + len(known), rng, problem.limits)
    fresh = [architecture for architecture in problem.space.decode(drawn) if architecture not in known]
    if len(fresh) <= count:
        return fresh
    return [fresh[i] for i in sorted(rng.choice(len(fresh), count, replace=False))]
