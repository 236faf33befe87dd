"""The command that compares strategies."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.arguments import (
    DataRoot,
    Device,
    Flip,
    GrownModel,
    Json,
    MaxMacs,
    MaxParams,
    Overrides,
    Resolutions,
    SkipCorrupt,
    given,
    overrides_of,
)
from nat.commands.console import ConsoleProgress, print_json, print_table
from nat.errors import InputError
from nat.options import DEFAULT_SUPERNET, TransferOptions
from nat.quantities import read_amount
from nat.settings import checked


def compare(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A name (see `nat datasets list`) or a folder of class sub-folders.")
    ],
    searchers: Annotated[
        str, typer.Option(help="Strategies with commas between (see `nat searchers`); random is always among them.")
    ] = "nat,nsga2,random",
    seeds: Annotated[int, typer.Option(help="Runs of each strategy, with seeds 0, 1, ...")] = 3,
    budget: Annotated[
        str, typer.Option(help="Cost of each search: passes (2000), or a multiple of the effort's (0.5x, 2x).")
    ] = "1x",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the comparison. Default: runs/compare-DATA.")
    ] = None,
    supernet: Annotated[
        str, typer.Option(help="A name (see `nat checkpoints list`), a file, or timm:MODEL to grow one.")
    ] = DEFAULT_SUPERNET,
    model: GrownModel = None,
    macs: Annotated[
        str | None, typer.Option(help="Multiply-adds at which retrained nets are compared: 1M,2M. Default: three.")
    ] = None,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    resolutions: Resolutions = None,
    effort: Annotated[str, typer.Option(help="quick, standard or paper: sets everything else.")] = "quick",
    set_: Overrides = None,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each run.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Seeds at once. Default: what the processor has room for.")
    ] = None,
    data_root: DataRoot = None,
    skip_corrupt: SkipCorrupt = None,
    flip: Flip = None,
    json: Json = False,
) -> None:
    """Compares search strategies at equal cost, over several seeds, with random search always among them.

    One meter charges the supernet's training and all evaluations; what is reported in the end are nets retrained
    within common multiply-adds. Stopped? The same command goes on. Exit code 1 if a run failed.

    Example: `nat compare digits --searchers nat,nsga2,random --seeds 3 --out runs/compare-digits`
    """
    asked = given(locals())
    from nat.comparison.options import ComparisonOptions
    from nat.comparison.runs import compare as run

    if seeds < 1:
        raise InputError(f"expected --seeds of at least 1, got {seeds}. Two or more tell what chance does; try 3.")
    names = tuple(word.strip() for word in searchers.split(",") if word.strip())
    if not names:
        raise InputError("expected --searchers with names and commas between, for example --searchers nat,random.")
    transfer = asked | {"overrides": overrides_of(set_ or [])}
    options = checked(
        ComparisonOptions,
        {
            "transfer": checked(TransferOptions, transfer),
            "searchers": names,
            "seeds": seeds,
            "budget": budget,
            "macs": None if macs is None else [read_amount(word) for word in macs.split(",")],
        },
    )
    word = re.sub(r"[^\w.-]+", "-", Path(data).name) or "data"
    out = out or Path("runs") / f"compare-{word}"
    progress = ConsoleProgress()
    try:
        report = run(options, out, jobs, progress)
    except KeyboardInterrupt:
        if (out / "settings.json").is_file():
            progress.say("stopped; nothing that is finished is lost: the same command goes on")
        raise
    if json:
        print_json(report)
    else:
        _show(report, out)
    if not report["finished"]:
        raise typer.Exit(1)


def _show(report: dict[str, Any], out: Path) -> None:
    """What each strategy spent and found, its retrained nets, and how it compares with random search."""
    seeds, strategies = len(report["seeds"]), report["strategies"]
    what = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    columns = ["runs", "training", "evaluated", "passes", "seconds", "hypervolume"]
    title = f"{report['dataset']}: searches of {report['budget']:,.0f} passes, {what}"
    _print(title, columns, [[s["name"], *_spent(s), _with_spread(s["hypervolume"], 1, 4)] for s in strategies])
    columns = [f"≤ {macs / 1e6:.3g} M MACs" for macs in report["macs"]]
    rows = [[s["name"], *(_with_spread(cell, 100, 2) for cell in s["test_top1"])] for s in strategies]
    _print(f"test accuracy (%) of retrained nets, {what}", columns, rows)
    for line in report["verdict"]:
        print(line)
    if not report["finished"]:
        print(f"the same command goes on; where runs failed: {out / 'runs' / '*.error.txt'}")
    print(f"report: {out / 'report.html'}")
    print(f"picture: {out / 'compare.png'}   data: {out / 'compare.json'}   runs: {out / 'runs'}")


def _print(title: str, columns: list[str], rows: list[list[str]]) -> None:
    print_table(title, [("strategy", "left"), *((column, "right") for column in columns)], rows)


def _spent(strategy: dict[str, Any]) -> list[str]:
    """Finished runs, passes of training and of evaluations, all passes, seconds."""
    charge, asked = strategy["charge"], strategy["runs"] + strategy["failed"]
    runs = f"{strategy['runs']} of {asked}" if strategy["failed"] else f"{asked}"
    if charge is None:
        return [runs, "", "", "", ""]
    training = charge["total"] - charge["evaluations"]
    passes = [f"{value:,.0f}" for value in (training, charge["evaluations"], charge["total"])]
    return [runs, *passes, f"{strategy['seconds']['mean']:.0f}"]


def _with_spread(cell: dict[str, Any], scale: float, digits: int) -> str:
    if cell["mean"] is None:
        return ""
    text = f"{scale * cell['mean']:.{digits}f}"
    return text if cell["std"] is None else f"{text} ± {scale * cell['std']:.{digits}f}"
