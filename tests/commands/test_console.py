from io import StringIO

from rich.console import Console

from nat.commands.console import ConsoleProgress


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
