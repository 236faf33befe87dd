"""A search strategy of your own: local search, which looks at neighbours of the best nets so far.

A strategy is any object with the members of `nat.searchers.Searcher`: what to evaluate next, and how the shared
weights are trained meanwhile. The archive is its memory, so that a run that was stopped can go on.

python examples/own_searcher.py photos/textures runs/own-searcher
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.random import Generator

import nat
from nat.archive import Proposal
from nat.pareto import non_dominated
from nat.problem import SearchProblem
from nat.searchers import SEARCHERS, AdaptationSteps
from nat.searchers.random import first_sample, unseen
from nat.searchers.sandwich import PASSES, train_pool
from nat.supernet.sampling import vary
from nat.supernet.searchable import Encodings


class LocalSearch:
    """Each round evaluates neighbours of the front: nets that differ from one of its nets in one choice."""

    name = "local"
    title = "neighbours of the best nets so far"
    passes = PASSES  # what a training step costs, for `nat compare`
    seconds: Mapping[str, float] = {}

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[nat.Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """An even sample first; then neighbours that keep the limits, and others where there are too few."""
        if not evaluations:
            return first_sample(problem, count, rng)
        front = problem.encodings_of(evaluations)[non_dominated(problem.values_of(evaluations))]
        near = vary(problem.space, front[rng.integers(len(front), size=20 * count)], rng, genes=1)
        known = {evaluation.architecture for evaluation in evaluations}
        nets = [net for net in dict.fromkeys(problem.space.decode(near[problem.allows(near)])) if net not in known]
        nets = nets[:count]
        nets += unseen(problem, known.union(nets), count - len(nets), rng)
        return [Proposal(net) for net in nets]

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains the supernet on nets that are evaluated next, and on others."""
        train_pool(adaptation, problem, pool)


def main(data: str, out: str) -> None:
    """Transfers with the strategy, which has a name once it is in the table."""
    SEARCHERS[LocalSearch.name] = LocalSearch
    report = nat.transfer(nat.TransferOptions(data=data, searcher="local", max_macs=4_000_000), Path(out))
    print(f"{report['searcher']}: {report['evaluations']} evaluations, hypervolume {report['hypervolume']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
