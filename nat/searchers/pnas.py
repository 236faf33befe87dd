"""PNAS on block cells: from small cells to large ones, a beam, and a predictor that says which to try.

    >>> from nat.supernet.cells.blocks import BlockSpace
    >>> trials_per_level(BlockSpace(5), beam=256)
    [136, 256, 256, 256, 256]

Liu et al., Progressive Neural Architecture Search, ECCV 2018, algorithm 1: all cells of one block are tried; then,
level by level, every cell of the beam is extended by every possible block, the predictor, which has learnt from
everything tried so far, scores all extensions, and the best K are tried. The answer is the best cell of the last level.
It asks and is told, so that any evaluation will do: training, shared weights, a table. (`--searcher pnas` of
the commands is the progressive form for supernets, `nat.searchers.progressive`.)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from nat.errors import InputError
from nat.searchers.predictors import Predictor
from nat.supernet.searchable import Encodings

Cell = TypeVar("Cell")
BEAM = 256


class PrefixSpace(Protocol[Cell]):
    """Architectures that grow: those of level b + 1 are those of level b with one part more."""

    @property
    def levels(self) -> int:
        """Number of parts of a whole architecture."""

    def first(self) -> Encodings:
        """All prefixes of level 1, shape (n, g)."""

    def options(self, level: int) -> Encodings:
        """All parts that a prefix of the level before can be extended by, shape (m, g)."""

    def expand(self, prefixes: Encodings) -> Encodings:
        """Every prefix (n, g b) with each part of the next level, shape (n m, g b + g)."""

    def encode(self, architectures: Sequence[Cell]) -> Encodings:
        """Encodings of prefixes of one level."""

    def decode(self, encodings: Encodings) -> list[Cell]:
        """Values of encodings of prefixes of one level."""


def trials_per_level(space: PrefixSpace[Any], beam: int) -> list[int]:
    """How many architectures are tried at each level: all of the first, then at most the beam."""
    counts, trials = [], len(space.first())
    for level in range(1, space.levels + 1):
        if level > 1:
            trials = min(beam, trials * len(space.options(level)))
        counts.append(trials)
    return counts


@dataclass(frozen=True)
class Trial(Generic[Cell]):
    """What was tried, in the order in which it was asked for.

    Attributes:
        cell: the architecture.
        level: its number of parts.
        error: what was told, in [0, 1]; None if it failed.
        predicted: error that the predictor expected; None at the first level, and of a random pick.
    """

    cell: Cell
    level: int
    error: float | None
    predicted: float | None


@dataclass
class _Level:
    """A level at work: what is tried, what was expected, what has been handed out, what has been told."""

    cells: list[Any]
    rows: Encodings
    predicted: list[float | None]
    out: set[Any] = field(default_factory=set)
    told: dict[Any, float | None] = field(default_factory=dict)


class Pnas(Generic[Cell]):
    """The search, as an object that is asked what to try and told what came of it.

    Args:
        space: architectures that grow.
        predictor: learns from everything tried; `mlp(space.vocabulary)` or `lstm(space.vocabulary)`.
        seed: of ties and random picks.
        beam: K, cells that are tried at each level behind the first; the paper's is 256.
        explore: share of the beam that is picked at random instead of by the predictor; 0 is the paper.
        budget: most trials; None for all that the levels need. What is too little for a later level makes its
            beam smaller.

    Raises:
        InputError: the budget is less than the first level needs, or a number is out of range.
    """

    def __init__(
        self,
        space: PrefixSpace[Cell],
        predictor: Predictor,
        *,
        seed: int = 0,
        beam: int = BEAM,
        explore: float = 0.0,
        budget: int | None = None,
    ) -> None:
        first = space.first()
        if beam < 1 or not 0 <= explore <= 1:
            raise InputError(f"expected a beam of at least 1 and explore from 0 to 1, got {beam} and {explore}.")
        if budget is not None and budget < len(first):
            needed = sum(trials_per_level(space, beam))
            raise InputError(
                f"expected a budget of at least {len(first)} trials, the whole first level of PNAS (with this beam all "
                f"levels need {needed:,}), got {budget}. Raise it, or give fewer operations."
            )
        self.space, self.predictor, self.seed, self.beam, self.explore = space, predictor, seed, beam, explore
        self.left = math.inf if budget is None else budget
        self.history: list[Trial[Cell]] = []
        self.scored: list[int] = []  # candidates of each level behind the first
        self._seen: list[tuple[Encodings, np.ndarray[Any, np.dtype[np.float64]]]] = []
        self._level = self._begin(first, [None] * len(first))

    @property
    def done(self) -> bool:
        """Whether there is nothing more to try."""
        return not self._level.cells

    def ask(self, count: int) -> list[Cell]:
        """The next architectures to try, at most `count`; none while a level waits for results, or at the end."""
        cells = [cell for cell in self._level.cells if cell not in self._level.out][:count]
        self._level.out.update(cells)
        return cells

    def tell(self, results: Sequence[tuple[Cell, float | None]]) -> None:
        """Takes errors up, in any order; None for a trial that failed, which is not extended.

        Raises:
            InputError: something has not been asked for, or was told already, or is no error in [0, 1].
        """
        for cell, error in results:
            known = self._level.told
            if cell not in self._level.out or cell in known:
                raise InputError(f"expected a result of what was asked for and not told yet, got one of {cell}.")
            if error is not None and not 0 <= error <= 1:
                raise InputError(f"expected an error from 0 to 1, or None for a failure, got {error}.")
            known[cell] = error
            if len(known) == len(self._level.cells):
                self._finish()

    def run(self, evaluate: Callable[[Cell], float | None]) -> Trial[Cell]:
        """Tries one after the other to the end; the best."""
        while not self.done:
            for cell in self.ask(len(self._level.cells)):
                self.tell([(cell, evaluate(cell))])
        return self.best()

    def best(self) -> Trial[Cell]:
        """The least error of the highest level that something succeeded at.

        Raises:
            InputError: nothing has.
        """
        succeeded = [trial for trial in self.history if trial.error is not None]
        if not succeeded:
            raise InputError("expected a level of which something has been told; ask, evaluate and tell first.")
        return min(succeeded, key=lambda trial: (-trial.level, trial.error))

    def state_dict(self) -> dict[str, Any]:
        """What was told of whole levels and of the one at work; with the same arguments it is all there is to know."""
        finished = [(trial.cell, trial.error) for trial in self.history]
        return {"told": finished + list(self._level.told.items())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replays what was told, into a fresh search of the same arguments."""
        for cell, error in state["told"]:
            self._level.out.add(cell)
            self.tell([(cell, error)])

    # --- levels ----------------------------------------------------------------------------------------------------

    def _begin(self, rows: Encodings, predicted: list[float | None]) -> _Level:
        self.left -= len(rows)
        return _Level(self.space.decode(rows) if len(rows) else [], rows, predicted)

    def _finish(self) -> None:
        """Fits the predictor on everything and begins the next level, if there is one and a budget for it."""
        level, number = self._level, len(self._seen) + 1
        errors = [level.told[cell] for cell in level.cells]
        for cell, error, predicted in zip(level.cells, errors, level.predicted, strict=True):
            self.history.append(Trial(cell, number, error, predicted))
        good = np.array([error is not None for error in errors])
        values = np.array([error for error in errors if error is not None], dtype=float)
        self._seen.append((level.rows[good], values))
        most = int(min(self.beam, self.left))
        if number == self.space.levels or not len(values) or most < 1:
            self._level = self._begin(level.rows[:0], [])
            return
        learnt = [seen for seen in self._seen if len(seen[1])]
        self.predictor.fit([rows for rows, _ in learnt], [values for _, values in learnt])
        self._level = self._begin(*self._extensions(level.rows[good], most, number + 1))

    def _extensions(self, beam: Encodings, most: int, number: int) -> tuple[Encodings, list[float | None]]:
        """The best predicted of all extensions of the beam, and a share of random ones."""
        rows = np.unique(self.space.expand(beam), axis=0)
        self.scored.append(len(rows))
        scores, random = self.predictor.predict(rows), round(self.explore * min(most, len(rows)))
        order = np.argsort(scores, kind="stable")
        rng = np.random.default_rng([self.seed, number])
        chosen, rest = order[: min(most, len(rows)) - random], order[min(most, len(rows)) - random :]
        picked = rest[rng.choice(len(rest), random, replace=False)]
        expected: list[float | None] = [*scores[chosen].tolist(), *[None] * random]
        return rows[np.concatenate([chosen, picked])], expected
