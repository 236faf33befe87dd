"""Architectures out of architecture parameters: the likeliest of each set, draws from it, and what limits make of them.

The input size is no category that a gradient could reach. It is drawn here: the more of the front so far has a size,
the likelier it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.pareto import non_dominated
from nat.problem import SearchProblem
from nat.searchers.random import topped_up
from nat.supernet.architecture import Architecture
from nat.supernet.categories import Categories
from nat.supernet.space import Encodings

ATTEMPTS = 20
EXPLORED = 0.1


@dataclass(frozen=True)
class Distribution:
    """What a set of architecture parameters says.

    Attributes:
        best: index of the option that each choice is derived to.
        shares: probabilities of the options of each choice, shape (options,).
    """

    best: Mapping[str, int]
    shares: Mapping[str, NDArray[np.float64]]

    def pick(self, choices: Categories, rng: Generator | None) -> dict[str, NDArray[np.intp]]:
        """Options of one architecture: the best, or drawn, with a tenth of each share spread evenly."""
        if rng is None:
            return {name: np.array([option]) for name, option in self.best.items()}
        mixed = {name: (1 - EXPLORED) * p / p.sum() + EXPLORED / len(p) for name, p in self.shares.items()}
        return choices.draw(mixed, 1, rng)


def propose_from(
    distributions: Sequence[Distribution],
    problem: SearchProblem,
    choices: Categories,
    evaluations: Sequence[Evaluation],
    count: int,
    rng: Generator,
) -> list[Architecture]:
    """New architectures, from all distributions alike: first the best of each, then a draw, and so on in turn.

    Args:
        distributions: at least one.
        problem: space and limits, which all proposals keep: what breaks one is made smaller.
        choices: of the space.
        evaluations: what is known.
        count: how many are wanted; where the distributions have too few new ones, random ones fill up.
        rng: source of randomness.
    """
    seen = {row.tobytes() for row in problem.encodings_of(evaluations)}
    sizes, rows = size_shares(problem, evaluations), list[Encodings]()
    for attempt in range(ATTEMPTS):
        for number in rng.permutation(len(distributions)):
            picks = distributions[number].pick(choices, rng if attempt % 2 else None)
            drawn = choices.encodings(picks, rng.choice(len(sizes), 1, p=sizes))
            row = within_limits(problem, drawn, rng)
            if row is None or row.tobytes() in seen or len(rows) == count:
                continue
            seen.add(row.tobytes())
            rows.append(row)
    fresh: list[Architecture] = problem.space.decode(np.concatenate(rows)) if rows else []
    return topped_up(problem, evaluations, fresh, count, rng)


def size_shares(problem: SearchProblem, evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    """Probabilities of the input sizes, shape (sizes,): one, and one for each net of the front that has it."""
    counts = np.ones(int(problem.space.upper[0]) + 1)
    if evaluations:
        front = problem.encodings_of(evaluations)[non_dominated(problem.values_of(evaluations))]
        np.add.at(counts, front[:, 0], 1)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def within_limits(problem: SearchProblem, row: Encodings, rng: Generator) -> Encodings | None:
    """An encoding (1, genes) made smaller, gene by gene, until it keeps the limits; None if the least does not.

    Each step lowers the input size or, as likely, one layer: its kernel, its expand ratio, or it goes.
    """
    space = problem.space
    while not problem.allows(row)[0]:
        larger = np.flatnonzero(row[0] > space.lower)
        if not len(larger):
            return None
        lower_size = larger[0] == 0 and (len(larger) == 1 or rng.random() < 0.5)
        smaller = row.copy()
        smaller[0, 0 if lower_size else rng.choice(larger[larger > 0])] -= 1
        row = space.repair(smaller)
    return row
