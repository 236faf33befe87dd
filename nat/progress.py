"""How long parts of the work take and how far they are, without a word about how that is shown."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """One part of the work."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Says that so much more is done."""


class Progress(Protocol):
    """Where the work reports how far it is."""

    def task(self, title: str, total: int) -> AbstractContextManager[Task]:
        """Starts a part of so many units; it ends with the context."""

    def say(self, text: str) -> None:
        """One line for the user."""


class _NoTask:
    def advance(self, amount: int = 1, note: str = "") -> None:
        pass


class Silence:
    """Reports nothing."""

    def task(self, title: str, total: int) -> AbstractContextManager[Task]:
        """A task that nobody sees."""
        return nullcontext(_NoTask())

    def say(self, text: str) -> None:
        """Says nothing."""
