"""Progressive search on whole networks: from stage to stage, a beam of the best and their extensions.

PNAS (Liu et al., ECCV 2018) grows cells block by block; `nat.searchers.pnas` does what it does. This is its idea on a
space whose architectures all have the same genes, and it differs: a level is a stage of the network (or a group of
genes), not a block; what has not been grown yet is at a default, where PNAS has smaller cells; the predictor is the
ensemble of perceptrons that the other strategies have, on the features of the space; with several objectives
the beam is filled by weighted sums in turn (`nat/searchers/scalar.py`); rounds behind the last level go on with
variations of the best in the whole space.
"""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.random import Generator

from nat.archive import Evaluation, Proposal
from nat.errors import InputError
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.candidates import with_predictions, without
from nat.searchers.random import topped_up
from nat.searchers.sandwich import PASSES, train_pool
from nat.searchers.scalar import best_by_turns
from nat.selection import predicted
from nat.supernet.sampling import sample_like, sample_stratified, vary
from nat.supernet.searchable import Encodings, SearchSpace
from nat.supernet.space import MobileNetSpace
from nat.surrogates.base import Surrogate
from nat.surrogates.mlp import MLPEnsemble

MOST = 20_000
PARENTS = 50


class ProgressiveSearcher:
    """Levels in the rounds of the loop: round 0 varies the first group of genes alone, each later round one more.

    Args:
        levels: how many; stages are joined until there are no more of them. None for one a stage.
        surrogate: makes the predictor, fitted anew in each round on all evaluations with the newest weights.
        most: candidates that a level looks at; where there are more, as many are drawn.
    """

    name = "pnas"
    title = "progressive search, PNAS's idea on a supernet: stage by stage, a beam and its predicted extensions"
    passes = PASSES

    def __init__(
        self, *, levels: int | None = None, surrogate: Callable[[], Surrogate] = MLPEnsemble, most: int = MOST
    ) -> None:
        if levels is not None and levels < 1:
            raise InputError(f"expected at least 1 level, got {levels}.")
        self.levels, self.surrogate, self.most = levels, surrogate, most
        self.seconds: dict[str, float] = {}

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """The level's beam: the first group's options and both ends of the costs at first, then the best predicted."""
        self.seconds = {}
        known = problem.encodings_of(evaluations)
        if not evaluations:
            return self._first(problem, count, rng)
        started = perf_counter()
        surrogates = [self.surrogate() for _ in problem.measured]
        for model, errors in zip(surrogates, problem.errors_of(evaluations).T, strict=True):
            model.fit(problem.space.features(known), errors)
        fitted = perf_counter()
        level = 2 + max(evaluation.round for evaluation in evaluations)
        rows = self._candidates(problem, evaluations, known, level, count, rng)
        proposals = _best(problem, surrogates, rows, count)
        nets = topped_up(problem, evaluations, [proposal.architecture for proposal in proposals], count, rng)
        proposals += [Proposal(net) for net in nets[len(proposals) :]]
        self.seconds = {"fit": fitted - started, "evolve": perf_counter() - fitted}
        return proposals

    def _first(self, problem: SearchProblem, count: int, rng: Generator) -> list[Proposal]:
        """The ends of the costs, which a front needs, and options of the first group, of more if they are few."""
        spread = sample_stratified(problem.costs, count, rng, problem.limits)
        rows = spread[[0, -1]][: min(count, len(spread))]
        grown = default_of(problem)[None]
        for group in groups_of(problem.space, self.levels):
            grown = self._grown(problem, grown, group, rng)
            rows = np.concatenate([rows, without(rng.permutation(grown), rows)])
            if len(rows) >= count:
                break
        rows = np.concatenate([rows, without(spread, rows)])  # where limits leave few options
        return [Proposal(net) for net in dict.fromkeys(problem.space.decode(rows))][:count]

    def _candidates(
        self,
        problem: SearchProblem,
        evaluations: Sequence[Evaluation],
        known: Encodings,
        level: int,
        count: int,
        rng: Generator,
    ) -> Encodings:
        """New extensions of the level before, at this level or, where they are few, beyond; at last, variations."""
        groups = groups_of(problem.space, self.levels)
        parents = grown_to(problem, known, groups, level - 1)
        rows = known[:0]
        for group in groups[level - 1 :] if len(parents) else []:
            parents = self._grown(problem, parents, group, rng)
            rows = without(parents, known)
            if len(rows) >= count:
                return rows
        best = known[best_by_turns(problem.values_of(evaluations), PARENTS)]
        near = [vary(problem.space, best[rng.integers(len(best), size=1000)], rng, genes=genes) for genes in (1, 2, 3)]
        near.append(sample_like(problem.space, best, 1000, rng))
        found = np.unique(np.concatenate([rows, *near]), axis=0)
        return without(found[problem.allows(found)], known)

    def _grown(self, problem: SearchProblem, parents: Encodings, group: Encodings, rng: Generator) -> Encodings:
        """All that parents (n, genes) become when a group of genes takes any values; drawn where that is too many."""
        lower, upper = problem.space.lower[group], problem.space.upper[group]
        sizes = tuple(int(size) for size in upper - lower + 1)
        if float(np.prod(sizes, dtype=float)) * len(parents) <= self.most:
            options = np.indices(sizes).reshape(len(sizes), -1).T + lower
            rows = np.repeat(parents, len(options), axis=0)
            rows[:, group] = np.tile(options, (len(parents), 1))
        else:
            rows = parents[rng.integers(len(parents), size=self.most)]
            rows[:, group] = rng.integers(lower, upper + 1, (len(rows), len(group)))
        rows = np.unique(problem.space.repair(rows), axis=0)
        return rows[problem.allows(rows)]

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains on the pool, and on the rest of the space."""
        train_pool(adaptation, problem, pool)


def groups_of(space: SearchSpace, levels: int | None = None) -> list[Encodings]:
    """Genes that are freed together, in the order of growth.

    Of a mobile network, its stages from the image on, the resolution with the first; of another space, each gene.

    Args:
        space: whose genes.
        levels: most groups; neighbours are joined, as evenly as can be, until there are no more.
    """
    genes = len(space.upper)
    owner = np.arange(genes)
    if isinstance(space, MobileNetSpace):
        owner = np.array([0] + [slot.stage for slot in space.slots])
    groups = int(owner.max()) + 1
    merged = owner * min(groups, levels or groups) // groups
    return [np.flatnonzero(merged == group) for group in range(int(merged.max()) + 1)]


def default_of(problem: SearchProblem) -> Encodings:
    """What has not been grown yet, shape (genes,): the middle choice of each gene, or the largest architecture.

    The middle where genes are ordered; where they are mere categories, the largest. If that breaks the limits, the
    median by cost of a sample that keeps them.
    """
    space = problem.space
    middle = space.repair((space.lower + space.upper + 1) // 2) if space.ordered else space.encode([space.largest()])
    if problem.allows(middle)[0]:
        found: Encodings = middle[0]
        return found
    allowed = sample_stratified(problem.costs, 9, np.random.default_rng(0), problem.limits)
    found = allowed[len(allowed) // 2]
    return found


def grown_to(problem: SearchProblem, known: Encodings, groups: Sequence[Encodings], level: int) -> Encodings:
    """Of known encodings (n, genes) those that are at the default in all groups behind a level."""
    rest = np.concatenate([known[:0, 0], *groups[level:]])
    at_default: Encodings = known[(known[:, rest] == default_of(problem)[rest]).all(axis=1)]
    return at_default


def _best(problem: SearchProblem, surrogates: Sequence[Surrogate], rows: Encodings, count: int) -> list[Proposal]:
    """The rows that are predicted best, by weighted sums in turn, with what is predicted of their top-1 error."""
    if not len(rows):
        return []
    candidates = predicted(problem, surrogates, rows)
    return with_predictions(problem, rows, candidates, best_by_turns(candidates.values, count))
