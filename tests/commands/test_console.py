from io import StringIO

import pytest
from rich.console import Console

from nat.commands.console import ConsoleProgress, bytes_counted, print_table


def shown(*, terminal: bool) -> str:
    progress = ConsoleProgress()
    progress.console = Console(file=StringIO(), force_terminal=terminal, width=160)
    with progress.task("training", 3) as task:
        task.advance(note="loss [2.5]")
        task.advance(2)
    assert isinstance(progress.console.file, StringIO)
    return progress.console.file.getvalue()


def test_bars_show_the_last_note() -> None:
    assert "3/3" in shown(terminal=True) and "loss [2.5]" in shown(terminal=True)


def test_lines_end_with_the_last_note() -> None:
    assert shown(terminal=False) == "training: 3 in 0 s, loss [2.5]\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_names_are_no_markup(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    progress, path = ConsoleProgress(), "/images/[b]" + "long/" * 40 + "[/red].jpg"
    progress.console = Console(file=StringIO(), force_terminal=terminal, width=80)
    progress.say(f"skipped {path}")
    with progress.task("[/red]", 1) as task:
        task.advance()
    assert isinstance(progress.console.file, StringIO)
    written = progress.console.file.getvalue()
    assert "[/red].jpg" in written and "[b]" in written
    assert terminal or written.startswith(f"skipped {path}\n[/red]: 1 in")  # in a log, a path stays whole
    print_table("[i]title", [("[u]name", "left")], [("[red]class[/]",), ("caf\udce9",)])
    shown = capsys.readouterr().out
    assert "[i]title" in shown and "[red]class[/]" in shown and "caf?" in shown


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([(0, 4_000_000), (1_000_000, 4_000_000), (4_000_000, 4_000_000)], "weights: 4000000 in 0 s, 4.0 of 4.0 MB\n"),
        ([(3_000_000, 4_000_000), (0, 2_000_000), (2_000_000, 2_000_000)], "weights: 4000000 in 0 s, 2.0 of 2.0 MB\n"),
        ([(0, None), (1_000_000, None)], ""),
        ([], ""),
    ],
    ids=["whole", "from the start again", "of unknown length", "nothing to do"],
)
def test_bytes_are_counted(calls: list[tuple[int, int | None]], expected: str) -> None:
    progress = ConsoleProgress()
    progress.console = Console(file=StringIO(), width=160)
    with bytes_counted(progress, "weights") as report:
        for done, total in calls:
            report(done, total)
    assert isinstance(progress.console.file, StringIO)
    assert progress.console.file.getvalue() == expected


def test_the_bar_of_bytes_follows_a_new_start() -> None:
    progress = ConsoleProgress()
    progress.console = Console(file=StringIO(), force_terminal=True, width=160)
    with bytes_counted(progress, "weights") as report:
        for done in (300, 0, 100, 400):
            report(done, 400)
    assert isinstance(progress.console.file, StringIO)
    assert "400/400" in progress.console.file.getvalue()
