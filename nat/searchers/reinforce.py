"""REINFORCE: a distribution over architectures that learns which choices are rewarded.

Williams, Machine Learning 8, 1992, in the form of the baseline of NATS-Bench (Dong, Liu, Musial and Gabrys, TPAMI
2021): a categorical distribution for each gene, all independent; the reward less a moving average of rewards; Adam.
Theirs has one objective; here each weighted sum of the objectives has a policy of its own (`nat/searchers/scalar.py`),
and they draw in turn.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from nat.archive import Evaluation, Proposal
from nat.pareto import Floats
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.random import first_sample, unseen
from nat.searchers.sandwich import PASSES, train_pool
from nat.searchers.scalar import by_age, weight_vectors
from nat.supernet.architecture import Architecture
from nat.supernet.searchable import Encodings, SearchSpace

DRAWS = 64
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's own


class Policy:
    """Independent categorical distributions of the genes, and the Adam that moves their logits.

    A few lines of NumPy instead of torch's: the policy is rebuilt from all evaluations in every round.

    Args:
        lower: least value of each gene, shape (g,).
        upper: greatest value of each gene, shape (g,).
        rate: of Adam.
        decay: of the moving average of rewards.
    """

    def __init__(self, lower: Encodings, upper: Encodings, rate: float, decay: float = 0.9) -> None:
        self.lower, self.rate, self.decay = lower, rate, decay
        choices = upper - lower + 1
        self.logits = np.where(np.arange(choices.max()) < choices[:, None], 0.0, -np.inf)
        self._rewards, self._moments, self._steps = 0.0, np.zeros((2, *self.logits.shape)), 0

    @property
    def probabilities(self) -> Floats:
        """Of each value of each gene, shape (g, most choices); 0 where a gene has fewer."""
        raised = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        shares: Floats = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def draw(self, count: int, rng: Generator) -> Encodings:
        """Genes, shape (count, g), not repaired."""
        below = self.probabilities.cumsum(axis=1)[None] < rng.random((count, len(self.lower), 1))
        most = np.isfinite(self.logits).sum(axis=1) - 1
        drawn: Encodings = self.lower + np.minimum(below.sum(axis=2), most)
        return drawn

    def gradient(self, genes: Encodings, advantage: float) -> Floats:
        """Of -advantage * log p(genes) with respect to the logits; shape of the logits, genes (g,)."""
        taken = np.arange(self.logits.shape[1]) == (genes - self.lower)[:, None]
        ascent: Floats = advantage * (self.probabilities - taken)
        return ascent

    @property
    def average(self) -> float:
        """The moving average of rewards, corrected for its start at 0; 0 before the first."""
        return self._rewards / (1 - self.decay**self._steps) if self._steps else 0.0

    def learn(self, genes: Encodings, reward: float) -> None:
        """One step on one architecture (g,); the average takes its reward up first, as in NATS-Bench."""
        self._steps += 1
        self._rewards += (1 - self.decay) * (reward - self._rewards)
        gradient = self.gradient(genes, reward - self.average)
        for moment, beta, power in zip(self._moments, BETAS, (1, 2), strict=True):
            moment += (1 - beta) * (gradient**power - moment)
        first, second = (m / (1 - beta**self._steps) for m, beta in zip(self._moments, BETAS, strict=True))
        self.logits = self.logits - self.rate * first / (np.sqrt(second) + EPSILON)

    @property
    def entropy(self) -> float:
        """Sum of the genes' entropies, in nats."""
        shares = self.probabilities
        return float(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum())


class ReinforceSearcher:
    """Draws from policies that are rebuilt, evaluation by evaluation in the order of their birth.

    What is known already is drawn again without a step, so each architecture gives one. A gene that the space repairs
    counts as if it had been drawn so. While the shared weights adapt, only the loop's pool is learnt from.

    Args:
        rate: of Adam.
        decay: of the moving average of rewards.
    """

    name = "reinforce"
    title = "REINFORCE: a categorical policy for each gene, rewards less their moving average, Adam"
    passes = PASSES
    seconds: Mapping[str, float] = MappingProxyType({})

    def __init__(self, *, rate: float = 0.1, decay: float = 0.9) -> None:
        self.rate, self.decay = rate, decay

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """A stratified sample at first; then draws of the policies, or random ones where they draw nothing new."""
        if not evaluations:
            return first_sample(problem, count, rng)
        policies, number = self.policies(problem, evaluations), len(evaluations)
        taken = {row.tobytes() for row in problem.encodings_of(evaluations)}
        known, nets = [evaluation.architecture for evaluation in evaluations], list[Architecture]()
        for turn in range(number, number + count):
            drawn = problem.space.repair(policies[turn % len(policies)].draw(DRAWS, rng))
            fresh = [row for row in drawn[problem.allows(drawn)] if row.tobytes() not in taken][:1]
            net = problem.space.decode(np.array(fresh)) if fresh else unseen(problem, [*known, *nets], 1, rng)
            taken.update(row.tobytes() for row in problem.space.encode(net))
            nets += net  # a random one in a policy's turn, so that the turns of the others stay theirs
        return [Proposal(net) for net in nets]

    def policies(self, problem: SearchProblem, evaluations: Sequence[Evaluation]) -> list[Policy]:
        """One for each weighted sum, each of which has learnt from its own evaluations: those of its turns."""
        space: SearchSpace = problem.space
        weights = weight_vectors(len(problem.objectives))
        policies = [Policy(space.lower, space.upper, self.rate, self.decay) for _ in weights]
        aged = by_age(evaluations)
        rewards = -_scaled_so_far(problem.values_of(aged)) @ weights.T
        for turn, genes in enumerate(problem.encodings_of(aged)):
            policies[turn % len(policies)].learn(genes, float(rewards[turn, turn % len(policies)]))
        return policies

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool, and on the rest of the space."""
        train_pool(adaptation, problem, pool)


def _scaled_so_far(values: Floats) -> Floats:
    """Objective values (n, m), each row scaled by the ranges up to it, so that what comes later changes no step."""
    low, high = np.minimum.accumulate(values), np.maximum.accumulate(values)
    shares: Floats = (values - low) / np.maximum(high - low, 1e-12)
    return shares
