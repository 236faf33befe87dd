"""The archive: every evaluation of a search, in one SQLite file, and the only memory that a search has.

    >>> with Archive(":memory:") as archive:
    ...     net = Architecture(kernels=(3, 3), expands=(4, 4), depths=(2,), resolution=32)
    ...     archive.add(Evaluation(net, {"top1_error": 0.1, "macs": 5e6}, round=0, weights_version=1))
    ...     [evaluation.objectives["top1_error"] for evaluation in archive.latest()]
    [0.1]

One row is one evaluation of one architecture with one version of the shared weights. A search resumes by
opening the file again: an evaluation is on the disk when `add` returns, and one that was cut off is not in the file.
What a strategy proposed, and the errors that it predicted, are kept beside them, before anything is evaluated.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from nat.database import Database
from nat.errors import InputError, RunError
from nat.supernet.architecture import Architecture

COLUMNS = "architecture, objectives, round, weights_version, seconds, parent, error, created"
TABLE = """
CREATE TABLE evaluation (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    architecture TEXT NOT NULL,
    objectives TEXT NOT NULL,
    round INTEGER NOT NULL,
    weights_version INTEGER NOT NULL,
    seconds REAL NOT NULL,
    parent TEXT,
    error TEXT,
    created TEXT NOT NULL
)"""
# By the architecture itself: its id has 40 bits, too few to tell a million architectures apart for certain.
INDEX = "CREATE UNIQUE INDEX one_done ON evaluation (architecture, weights_version) WHERE error IS NULL"
PROPOSALS = """
CREATE TABLE proposal (
    round INTEGER NOT NULL,
    number INTEGER NOT NULL,
    architecture TEXT NOT NULL,
    mean REAL,
    deviation REAL,
    PRIMARY KEY (round, number)
)"""
STEPS = ((TABLE, INDEX), (PROPOSALS,))
SCHEMA = len(STEPS)


def now() -> str:
    """The present time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one architecture: done, with objectives, or failed, with an error and none.

    Attributes:
        architecture: what was evaluated.
        objectives: finite values by name, all minimised; empty if the evaluation failed.
        round: round of the search that asked for it, from 0.
        weights_version: version of the shared weights that it was measured with.
        seconds: what it took.
        parent: id of the architecture that it was made from, if any.
        error: why it failed, in one line; None if it did not.
        created: ISO 8601 time in UTC.
    """

    architecture: Architecture
    objectives: Mapping[str, float]
    round: int
    weights_version: int
    seconds: float = 0.0
    parent: str | None = None
    error: str | None = None
    created: str = field(default_factory=now)

    @property
    def failed(self) -> bool:
        """Whether there is an error instead of objectives."""
        return self.error is not None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An architecture that a strategy wants evaluated, and what it expects of it.

    Attributes:
        architecture: what to evaluate.
        mean: predicted error, the first measured objective; None of a strategy that predicts nothing.
        deviation: standard deviation of the prediction; None without one.
    """

    architecture: Architecture
    mean: float | None = None
    deviation: float | None = None


class Archive:
    """An append-only list of evaluations in one SQLite file, readable while a run writes it.

    There is at most one done evaluation of an architecture with each version of the weights; adding anything
    to it is an error, since work was wasted or a result would be lost. Before it, failures may repeat (retries).

    Args:
        path: the file, made if absent; ":memory:" keeps the archive in memory.
        read_only: opens an existing file for reading only, also while another process writes it.

    Raises:
        RunError: the file is not an archive, is of a newer version of the toolkit, or cannot be opened.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self._file = Database(path, STEPS, read_only=read_only)
        self.path = self._file.path

    def add(self, evaluation: Evaluation) -> None:
        """Appends one evaluation in one transaction; it is on the disk when this returns.

        Raises:
            InputError: an objective is not finite (that is a failure: give `error` instead), a done evaluation has
                no objectives or a failed one has some, or the architecture is done with these weights already.
            RunError: the file cannot be written.
        """
        _check(evaluation)
        row = _row(evaluation)
        with self._file.transaction():
            if self._select("architecture = ? AND weights_version = ? AND error IS NULL", row[1], row[4]):
                raise InputError(
                    f"architecture {evaluation.architecture.id} is in the archive with weights version "
                    f"{evaluation.weights_version} already. Use that result, or evaluate with newer weights."
                )
            self._file.execute(f"INSERT INTO evaluation (id, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def add_proposals(self, round: int, proposals: Sequence[Proposal]) -> None:
        """Keeps what is proposed for a round, all of it or, after an interruption, nothing.

        Raises:
            InputError: the round has proposals already.
            RunError: the file cannot be written.
        """
        rows = [
            (int(round), number, _canonical(p.architecture), _plain(p.mean), _plain(p.deviation))
            for number, p in enumerate(proposals)
        ]
        with self._file.transaction():
            if self.proposals(round):
                raise InputError(f"round {round} has its proposals already. Evaluate those.")
            for row in rows:
                self._file.execute("INSERT INTO proposal VALUES (?, ?, ?, ?, ?)", row)

    def proposals(self, round: int) -> list[Proposal]:
        """What was proposed for a round, in that order; empty before that, and in archives of older versions."""
        if self._file.schema < SCHEMA:
            return []
        query = "SELECT architecture, mean, deviation FROM proposal WHERE round = ? ORDER BY number"
        rows = self._file.rows(query, (int(round),))
        return [Proposal(Architecture.from_json(json.loads(text)), *prediction) for text, *prediction in rows]

    def evaluations(self, before_round: int | None = None) -> list[Evaluation]:
        """All evaluations, done and failed, in the order in which they were added.

        Args:
            before_round: leaves out this round and all later ones, as if they had not been run; None keeps all.
        """
        return self._select("round < ?", _limit(before_round))

    def latest(self, before_round: int | None = None) -> list[Evaluation]:
        """Each architecture's done evaluation with the newest weights, in order of its first done one.

        Args:
            before_round: leaves out this round and all later ones, as if they had not been run; None keeps all.
        """
        newest: dict[Architecture, Evaluation] = {}
        for evaluation in self._select("round < ? AND error IS NULL", _limit(before_round)):
            held = newest.setdefault(evaluation.architecture, evaluation)
            if evaluation.weights_version > held.weights_version:
                newest[evaluation.architecture] = evaluation
        return list(newest.values())

    def at_version(self, version: int) -> list[Evaluation]:
        """The done evaluations with one version of the weights, in the order in which they were added."""
        return self._select("weights_version = ? AND error IS NULL", int(version))

    def failures(self) -> list[Evaluation]:
        """The failed evaluations, also those that were retried, in the order in which they were added."""
        return self._select("error IS NOT NULL")

    @property
    def versions(self) -> list[int]:
        """The versions of the weights that done evaluations were measured with, ascending."""
        query = "SELECT DISTINCT weights_version FROM evaluation WHERE error IS NULL ORDER BY weights_version"
        return [row[0] for row in self._file.rows(query)]

    def __contains__(self, architecture: object) -> bool:
        """Whether the architecture was evaluated, with success or without, with any version of the weights."""
        if not isinstance(architecture, Architecture):
            return False
        query = "SELECT count(*) FROM evaluation WHERE architecture = ?"
        return self._file.number(query, _canonical(architecture)) > 0

    def __len__(self) -> int:
        """Number of done evaluations; an architecture counts once for each version of the weights."""
        return self._file.number("SELECT count(*) FROM evaluation WHERE error IS NULL")

    def close(self) -> None:
        """Closes the file; nothing is pending."""
        self._file.close()

    def __enter__(self) -> "Archive":
        """The archive itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()

    def _select(self, condition: str, *values: float | str) -> list[Evaluation]:
        query = f"SELECT number, {COLUMNS} FROM evaluation WHERE {condition} ORDER BY number"
        return [self._evaluation(row) for row in self._file.rows(query, values)]

    def _evaluation(self, row: tuple[Any, ...]) -> Evaluation:
        number, architecture, objectives, *rest = row
        try:
            return Evaluation(Architecture.from_json(json.loads(architecture)), json.loads(objectives), *rest)
        except ValueError as error:
            raise RunError(f"row {number} of '{self.path}' is damaged: {error}. Restore a copy of the file.") from error


def _limit(before_round: int | None) -> float:
    return math.inf if before_round is None else before_round


def _canonical(architecture: Architecture) -> str:
    return json.dumps(architecture.to_json(), sort_keys=True, separators=(",", ":"))


def _plain(value: float | None) -> float | None:
    """Of one of NumPy's numbers one that SQLite takes."""
    return None if value is None else float(value)


def _check(evaluation: Evaluation) -> None:
    """Refuses scores that are failures in disguise, and failures with scores."""
    values = evaluation.objectives
    if infinite := [name for name, value in values.items() if not math.isfinite(value)]:
        raise InputError(
            f"expected finite objectives for architecture {evaluation.architecture.id}, got {infinite[0]} = "
            f"{values[infinite[0]]}. Record it as failed, with an error and no objectives."
        )
    if evaluation.failed == bool(values):
        raise InputError(
            f"expected either objectives or an error for architecture {evaluation.architecture.id}, got "
            f"{'both' if values else 'neither'}."
        )


def _row(evaluation: Evaluation) -> tuple[Any, ...]:
    """Values for `id` and COLUMNS; plain numbers also where NumPy's were given, which SQLite would not take."""
    return (
        evaluation.architecture.id,
        _canonical(evaluation.architecture),
        json.dumps({name: float(value) for name, value in evaluation.objectives.items()}),
        int(evaluation.round),
        int(evaluation.weights_version),
        float(evaluation.seconds),
        evaluation.parent,
        evaluation.error,
        evaluation.created,
    )
