"""The command that writes reports."""

from pathlib import Path
from typing import Annotated

import typer

from nat.commands.console import ConsoleProgress, print_json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The HTML file; default: report.html in the run's folder.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also write figures for papers there: PNG and SVG.")
    ] = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            help="Read the data set where the run does not keep pictures of test images, or answers to them.",
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """One self-contained HTML page about a run, finished or not: the front, the nets, the search, what it cost.

    Example: `nat report runs/flowers -o flowers.html --figures figures`
    """
    from nat.report.figures import write_figures
    from nat.report.writing import write_page
    from nat.run_folder import RunFolder

    check_no_comparison(run)
    folder = RunFolder(run)
    page = folder.report if out is None else out.expanduser()
    content = write_page(folder, page, ConsoleProgress(quiet=json), images=images)
    drawn = [] if figures is None else write_figures(content, figures.expanduser())
    if json:
        print_json(
            {
                "report": str(page),
                "finished": content["finished"],
                "notes": content["notes"],
                "figures": [str(path) for path in drawn],
            }
        )
        return
    for note in content["notes"]:
        print(note)
    if not content["finished"]:
        print("the run is not finished, and the report says so")
    print(f"report: {page}")
    if figures is not None:
        print(f"figures: {', '.join(path.name for path in drawn)} in {figures}")


def check_no_comparison(path: Path) -> None:
    """Raises `RunError` for the folder of a comparison, whose runs have reports of their own."""
    from nat.errors import RunError

    runs = sorted(each.name for each in path.glob("runs/*") if (each / "config.json").is_file())
    if runs and not (path / "config.json").exists():
        raise RunError(
            f"expected the folder of one run, got that of a comparison of {len(runs)}, '{path}' (see compare.json and "
            f"compare.png there). For the report of a run: nat report {path / 'runs' / runs[0]}"
        )
