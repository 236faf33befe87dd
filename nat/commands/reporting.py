"""The command that writes reports."""

from pathlib import Path
from typing import Annotated

import typer

from nat.commands.arguments import Json
from nat.commands.console import ConsoleProgress, print_json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or of a comparison.")],
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
    json: Json = False,
) -> None:
    """One self-contained HTML page about a run, finished or not: the front, the nets, the search, what it cost.

    Of a comparison: its verdict, picture and tables, with links to the reports of its runs.

    Example: `nat report runs/flowers -o flowers.html --figures figures`
    """
    from nat.report.figures import write_figures
    from nat.report.writing import write_page
    from nat.run_folder import RunFolder

    if is_comparison(run):
        report_comparison(run, out, figures, as_json=json)
        return
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
    _say(page, figures, drawn, finished=content["finished"], what="run")


def is_comparison(path: Path) -> bool:
    """Whether a folder is that of a comparison, and of no single run."""
    return (path / "settings.json").is_file() and not (path / "config.json").exists()


def report_comparison(folder: Path, out: Path | None, figures: Path | None, *, as_json: bool) -> None:
    """The same for a comparison; its runs have reports of their own, which the page leads to."""
    from nat.report.comparison import write_comparison, write_comparison_figures

    page = folder / "report.html" if out is None else out.expanduser()
    content = write_comparison(folder, page)
    drawn = [] if figures is None else write_comparison_figures(content, figures.expanduser())
    if as_json:
        paths = [str(path) for path in drawn]
        print_json({"report": str(page), "finished": content["finished"], "notes": [], "figures": paths})
        return
    _say(page, figures, drawn, finished=content["finished"], what="comparison")


def _say(page: Path, figures: Path | None, drawn: list[Path], *, finished: bool, what: str) -> None:
    if not finished:
        print(f"the {what} is not finished, and the report says so")
    print(f"report: {page}")
    if figures is not None:
        print(f"figures: {', '.join(path.name for path in drawn)} in {figures}")
