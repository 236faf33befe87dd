"""One SQLite file of ours: told from others, brought up to date, and every change whole and on the disk at once."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nat.errors import RunError

APPLICATION_ID = 0x4E41542E  # "NAT." in the header of the file
LOCK_WAIT_S = 30.0


class Database:
    """A file whose changes are transactions; readable while a run writes it.

    Args:
        path: the file, made if absent; ":memory:" keeps all in memory.
        steps: the statements that bring a file from each schema to the next, beginning with an empty file.
        read_only: opens an existing file for reading only, also while another process writes it.

    Attributes:
        schema: of the file: how many of `steps` it has behind it. Less than all of them only in one that is read only.

    Raises:
        RunError: the file is not an archive, is of a newer version of the toolkit, or cannot be opened.
    """

    def __init__(self, path: Path | str, steps: Sequence[Sequence[str]], *, read_only: bool = False) -> None:
        self.path = str(path)
        if read_only and not Path(path).is_file():
            raise RunError(f"expected an archive at '{path}', found no such file. Name the folder of a run.")
        with self.reported("open"):
            # Without an isolation level every statement is its own transaction, unless BEGIN says otherwise.
            self._connection = sqlite3.connect(
                _read_only_uri(Path(path)) if read_only else self.path,
                timeout=LOCK_WAIT_S,
                isolation_level=None,
                uri=read_only,
            )
        try:
            with self.reported("open"):
                self._prepare(steps, read_only)
        except RunError:
            self.close()
            raise
        self.schema = self.number("PRAGMA user_version")

    def _prepare(self, steps: Sequence[Sequence[str]], read_only: bool) -> None:
        """Checks that the file is ours, sets how it is written, and makes the tables that it lacks."""
        tables = self.number("SELECT count(*) FROM sqlite_master")
        if tables and self.number("PRAGMA application_id") != APPLICATION_ID:
            raise RunError(f"'{self.path}' is a database but not an archive. Name another file or run folder.")
        if (schema := self.number("PRAGMA user_version")) > len(steps):
            raise RunError(
                f"'{self.path}' is an archive of schema {schema}, this version of the toolkit reads up to {len(steps)}."
                " Upgrade neural-architecture-transfer."
            )
        if read_only and not tables:
            raise RunError(f"expected an archive at '{self.path}', found an empty file. Name the folder of a run.")
        if not read_only:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._upgrade(steps)

    def _upgrade(self, steps: Sequence[Sequence[str]]) -> None:
        """Takes the steps that are missing; two processes that open a new file at once agree on one."""
        with self.transaction():
            for step in steps[self.number("PRAGMA user_version") :]:
                for statement in step:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {len(steps)}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is executed in the context is on the disk, whole, behind it; after an error nothing of it is."""
        with self.reported("write"), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Executes one statement."""
        self._connection.execute(statement, values)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.reported("read"):
            return self._connection.execute(query, values).fetchall()

    def number(self, query: str, *values: str) -> int:
        """The one whole number that a query gives."""
        return int(self.rows(query, values)[0][0])

    def close(self) -> None:
        """Closes the file; nothing is pending."""
        self._connection.close()

    @contextmanager
    def reported(self, doing: str) -> Iterator[None]:
        """Turns the errors of the database into one that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(
                f"cannot {doing} '{self.path}' as an archive: {error}. Check the path, the disk and who else uses it."
            ) from error


def _read_only_uri(path: Path) -> str:
    """Address of a file to be read only; a folder that cannot be written holds no run that goes on (no WAL)."""
    immutable = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if immutable else "")
