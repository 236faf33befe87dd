"""What commands show: bars with time left on standard error, tables and JSON on standard output."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBars
from rich.table import Table
from rich.text import Text

from nat.files import as_text
from nat.progress import Task

ID = 10  # characters of a subnet's id


class _BarTask:
    def __init__(self, bars: RichBars, title: str, total: int) -> None:
        self._bars, self._id, self._note = bars, bars.add_task(title, total=total, note=""), ""

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._note = note or self._note
        self._bars.update(self._id, advance=amount, note=self._note)


class _LineTask:
    """For logs and pipes: a line at the end of each part instead of a bar."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._started, self._note = time.monotonic(), ""

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._note = note or self._note

    def finish(self) -> None:
        seconds = time.monotonic() - self._started
        note = self._note and f", {self._note}"
        _plainly(self._console, f"{self._title}: {self._total} in {seconds:.0f} s{note}")


class ConsoleProgress:
    """Progress as bars on a terminal and as lines elsewhere, always on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """One bar, which stays when it is full."""
        if not self.console.is_terminal:
            line = _LineTask(self.console, title, total)
            yield line
            line.finish()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<44}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with RichBars(*columns, console=self.console) as bars:
            yield _BarTask(bars, title, total)

    def say(self, text: str) -> None:
        """One line."""
        _plainly(self.console, text)


def _plainly(console: Console, text: str) -> None:
    """One line as it is: a file may be called [b].jpg, and a path that is broken in two cannot be copied."""
    console.print(as_text(text), highlight=False, markup=False, soft_wrap=not console.is_terminal)


@contextmanager
def bytes_counted(progress: ConsoleProgress, title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Gives what a download may call with (bytes here, in all): a task, which starts when the total is known."""
    task: Task | None = None
    before = 0
    with ExitStack() as stack:

        def report(done: int, total: int | None) -> None:
            nonlocal task, before
            if total is not None:
                task = task or stack.enter_context(progress.task(title, total))
                task.advance(done - before, note=f"{done / 1e6:.1f} of {total / 1e6:.1f} MB")
                before = done

        yield report


def print_json(data: Any) -> None:
    """JSON on standard output, for programs."""
    print(json.dumps(data, indent=2))


def print_table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output.

    Args:
        title: above the table.
        columns: heading and justification ("left" or "right") of each.
        rows: the cells.
    """
    table = Table(title=Text(as_text(title)), title_justify="left", header_style="bold")
    for heading, justify in columns:
        whole = heading == "name" or justify == "right"  # names are copied, numbers are read
        least = ID if heading == "subnet" else None  # the ids are whole; names of controls may go on below
        side: Literal["left", "right"] = "right" if justify == "right" else "left"
        table.add_column(heading, justify=side, overflow="fold", no_wrap=whole, min_width=least)
    for row in rows:
        table.add_row(*(Text(as_text(cell)) for cell in row))  # names of files and classes are anybody's, and no markup
    Console().print(table, highlight=False)


def millions(value: float) -> str:
    """12,345,678 -> "12.35 M"."""
    return f"{value / 1e6:.2f} M"


def percent(value: float | None) -> str:
    """0.98765 -> "98.77 %"."""
    return "" if value is None else f"{100 * value:.2f} %"


def with_unit(value: float | None, unit: str) -> str:
    """A number of a column of front.json; of errors, whose unit is "%", the accuracy."""
    if value is None:
        return ""
    if unit == "%":
        return percent(1.0 - value)
    number = f"{value / 1e6:.3f}" if unit in ("M", "MB") else f"{value:.4g}"
    return f"{number} {unit}".rstrip()


def latency_in_words(facts: Mapping[str, Any]) -> str:
    """How far a latency table is from whole networks, in a sentence or two."""
    said = f"latency: {facts['device']}, threads {facts['threads']}" if "device" in facts else "latency: a table given"
    if "mape" not in facts:
        return f"{said}; the table says nothing of its own error."
    return (
        f"{said}; sums of the table are {percent(facts['mape'])} off {facts['subnets']:.0f} whole subnets, in the mean "
        f"(Kendall tau {facts['kendall_tau']:.2f}). Two measurements of the same subnets differ by "
        f"{percent(facts['noise_mape'])} (tau {facts['noise_kendall_tau']:.2f})."
    )


def facts_as_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row of a table for each fact."""
    return [(key, _text(value)) for key, value in facts.items()]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return millions(value) if isinstance(value, int) and value >= 10**6 else str(value)
