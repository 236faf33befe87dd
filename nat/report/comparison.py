"""The page of a comparison: what compare.json says, and its picture, in one file without scripts or network."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from nat.errors import RunError
from nat.files import as_text, read_json, write_text
from nat.report.comparison_plots import plot_comparison
from nat.report.page import digest, resource
from nat.report.writing import check_page, make_folder

FORMATS = ("png", "svg")


def read_comparison(folder: Path) -> dict[str, Any]:
    """The content of compare.json.

    Raises:
        RunError: the comparison has not come so far.
    """
    path = folder / "compare.json"
    if not path.is_file():
        raise RunError(
            f"the comparison in '{folder}' has no compare.json yet: go on with the same nat compare command."
        )
    content: dict[str, Any] = read_json(path)
    return content


def write_comparison(folder: Path, out: Path) -> dict[str, Any]:
    """Writes the page about a comparison, whole, over an earlier one.

    Args:
        folder: of the comparison, with its compare.json.
        out: the file; its folder is made if need be.

    Returns:
        The content of compare.json.

    Raises:
        RunError: there is no compare.json.
        InputError: the file cannot be written.
    """
    report = read_comparison(folder)
    check_page(out)
    write_text(out, comparison_page(report, folder))
    return report


def write_comparison_figures(report: dict[str, Any], folder: Path) -> list[Path]:
    """Draws the comparison as PNG and SVG; the folder is made if need be.

    Raises:
        InputError: they cannot be written.
    """
    make_folder(folder)
    drawn = [folder / f"compare.{kind}" for kind in FORMATS]
    for path in drawn:
        plot_comparison(report, path)
    return drawn


def comparison_page(report: dict[str, Any], folder: Path) -> str:
    """The whole HTML file; links lead to the reports of those runs that have one."""
    style, title = resource("style.css"), f"{report['dataset']}: strategies at equal cost"
    return Template(resource("comparison.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'",
        style=style,
        title=_text(title),
        asked=_text(_asked(report)),
        verdict="".join(f"<p>{_text(sentence)}</p>" for sentence in report["verdict"]),
        picture=_picture(report),
        strategies=_table(*_strategies(report)),
        accuracies=_table(*_accuracies(report)),
        runs=_table(*_runs(report, folder)),
        notes="".join(f"<li>{_text(note)}</li>" for note in report["notes"]),
    )


def _asked(report: Mapping[str, Any]) -> str:
    seeds = len(report["seeds"])
    asked = f"{len(report['strategies'])} strategies, {seeds} seed{'s' * (seeds > 1)}, {report['budget']:,.0f} passes "
    asked += f"each; supernet {report['supernet']}, effort {report['effort']}."
    return asked if report["finished"] else f"{asked} Not all runs are finished."


def _picture(report: dict[str, Any]) -> str:
    """The picture as an image of its own, whose styles are not the page's; nothing where no run is finished."""
    if not any(strategy["curve"] for strategy in report["strategies"]):
        return ""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "compare.svg"
        plot_comparison(report, path)
        data = base64.b64encode(path.read_bytes()).decode()
    what = (
        "Hypervolume against cost, and test accuracy of retrained nets, of each strategy; the tables have the numbers"
    )
    image = f'<img class="picture" alt="{what}" src="data:image/svg+xml;base64,{data}">'
    return f'<div class="scroll all" tabindex="0">{image}</div>'


def _strategies(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    head = ["strategy", "finished runs", "passes", "seconds", "hypervolume", "less random's, 95 % interval"]
    rows = []
    for strategy in report["strategies"]:
        charge, against = strategy["charge"], strategy["against_random"]
        passes = f"{charge['total']:,.0f}" if charge else ""
        volume, seconds = _spread(strategy["hypervolume"], 1, 4), _spread(strategy["seconds"], 1, 0)
        gap = _gap(against["hypervolume"], 1, 4) if against else ""
        rows.append([_text(strategy["name"]), str(strategy["runs"]), passes, seconds, volume, gap])
    return head, rows


def _accuracies(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    head = ["strategy", *(f"≤ {macs / 1e6:.3g} M" for macs in report["macs"]), "mean less random's, 95 % interval"]
    rows = []
    for strategy in report["strategies"]:
        cells, against = [_spread(cell, 100, 2) for cell in strategy["test_top1"]], strategy["against_random"]
        gap = _gap(against["mean_test_top1"], 100, 2) if against else ""
        rows.append([_text(strategy["name"]), *cells, gap])
    return head, rows


def _runs(report: Mapping[str, Any], folder: Path) -> tuple[list[str], list[list[str]]]:
    head, rows = ["run", "evaluations", "failed", "hypervolume", "seconds"], []
    for run in report["runs"]:
        name = _text(f"{run['searcher']}, seed {run['seed']}")
        if not run["finished"]:
            rows.append([f"{name}: {_text(run['error'] or '')}", "", "", "", ""])
            continue
        if (folder / run["folder"] / "report.html").is_file():
            name = f'<a href="{quote(run["folder"])}/report.html">{name}</a>'
        counts = [str(run["evaluations"]), str(run["failed_evaluations"])]
        rows.append([name, *counts, f"{run['hypervolume']:.4f}", f"{run['seconds']:.0f}"])
    return head, rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll all" tabindex="0">{table}</div>'


def _spread(cell: Mapping[str, Any], factor: float, digits: int) -> str:
    if cell["mean"] is None:
        return ""
    mean = f"{factor * cell['mean']:.{digits}f}"
    return mean if cell["std"] is None else f"{mean} ± {factor * cell['std']:.{digits}f}"


def _gap(found: Mapping[str, Any] | None, factor: float, digits: int) -> str:
    if found is None or found["mean"] is None:
        return ""
    mean = f"{factor * found['mean']:+.{digits}f}"
    if found["interval"] is None:
        return mean
    low, high = (f"{factor * end:+.{digits}f}" for end in found["interval"])
    return f"{mean} ({low} to {high})"


def _text(words: str) -> str:
    return html.escape(as_text(words))
