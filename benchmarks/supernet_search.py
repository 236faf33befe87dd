"""Searches on a real supernet: the default, frozen weights (MSuNAS), random search; and subnets that nobody searched.

    python benchmarks/supernet_search.py caltech101/ --macs 3M,6M,12M --seeds 3 --out searches

All have the same initial amounts; frozen weights have the same training in one piece, and evaluate nothing twice. The
best net within each of the multiply-adds, by the search's own validation, is fine-tuned and measured on test images;
beside them, for each seed, the largest, the smallest and five random subnets, by the same recipe for as many steps from
the weights that the default has left. The command can be stopped and started again: what is finished is kept.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from nat.bundling import Bundling
from nat.commands.console import ConsoleProgress
from nat.comparison.repetitions import student_interval
from nat.fronts import best_within
from nat.options import DEFAULT_SUPERNET, TransferOptions
from nat.pipeline import reopened, resume, transfer
from nat.progress import Progress
from nat.quantities import read_amount
from nat.run_folder import RunFolder
from nat.supernet.sampling import sample_stratified

WAYS: dict[str, dict[str, str]] = {
    "nat": {"searcher": "nat"},
    "frozen": {"searcher": "nat", "adaptation": "frozen"},
    "random": {"searcher": "random"},
}
RANDOM = 5  # subnets that were drawn, not searched
Row = dict[str, Any]


def searched(options: TransferOptions, out: Path, progress: Progress) -> Row:
    """The content of front.json of a run, made, taken up or only read."""
    if RunFolder(out).config.is_file():
        return resume(out, progress)
    return transfer(options, out, progress)


def within(report: Row, budgets: tuple[int, ...]) -> list[float]:
    """Test accuracy of the net that the search ranks first within each budget; NaN where it has none."""
    rows = report["front"]
    chosen = best_within([row["macs"] for row in rows], [1.0 - row["val_top1"] for row in rows], budgets)
    return [math.nan if i is None else rows[i]["test_top1"] for i in chosen]


def unsearched(run: Path, seed: int, progress: Progress) -> list[Row]:
    """The largest, the smallest and random subnets, fine-tuned from the weights that a finished run has left."""
    job = reopened(RunFolder(run), progress)
    job.load_adapted()
    space, costs = job.space, job.problem.costs
    drawn = space.decode(sample_stratified(costs, RANDOM + 2, np.random.default_rng(seed)))[1:-1]  # without its ends
    nets = {"smallest": space.smallest(), "largest": space.largest()}
    nets |= {f"random {number}": net for number, net in enumerate(drawn, start=1)}
    bundles = Bundling(job).tuned(dict.fromkeys(nets.values(), run / "unsearched"))
    return [
        {"net": name, "macs": costs.of(net)[0], "test_top1": bundles[net].metrics["test"]["top1"]}
        for name, net in nets.items()
    ]


def mean(values: list[float]) -> str:
    """Mean, and half of Student's interval where there are several."""
    bounds = student_interval(np.array(values))
    return f"{np.mean(values):.3f}" + (f" ± {(bounds[1] - bounds[0]) / 2:.3f}" if bounds else "")


def show(found: Row, budgets: tuple[int, ...]) -> None:
    """Prints hypervolumes after each round, test accuracies within the budgets, and those of subnets not searched."""
    table = Table(
        "search", "evaluations, hypervolume", *(f"test top-1 within {b / 1e6:g} M" for b in budgets), "seconds"
    )
    for way in WAYS:
        runs = [report for report in found["searches"] if report["way"] == way]
        rounds = zip(*([(r["evaluations"], r["hypervolume"]) for r in run["rounds"]] for run in runs), strict=False)
        curve = "\n".join(f"{round(np.mean([n for n, _ in r]))}: {mean([v for _, v in r])}" for r in rounds)
        accuracies = [mean([run["test_top1"][place] for run in runs]) for place in range(len(budgets))]
        table.add_row(way, curve, *accuracies, f"{np.mean([run['seconds'] for run in runs]):.0f}")
    Console(width=120).print(table)
    nets = Table("seed", "subnet", "MACs", "test top-1", "nat's best within")
    for row in sorted(found["unsearched"], key=lambda row: (row["seed"], row["macs"])):
        texts = (row["net"], f"{row['macs'] / 1e6:.1f} M", f"{row['test_top1']:.3f}", f"{row['searched']:.3f}")
        nets.add_row(str(row["seed"]), *texts)
    Console(width=120).print(nets)


def main(
    data: Annotated[str, typer.Argument(help="An image folder, or the name of a data set.")],
    macs: Annotated[str, typer.Option(help="Multiply-adds, with commas between.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")],
    seeds: Annotated[int, typer.Option(help="Searches of each kind.")] = 3,
    supernet: Annotated[str, typer.Option(help="As `nat transfer` takes it.")] = DEFAULT_SUPERNET,
    model: Annotated[str | None, typer.Option(help="The timm model of a file of weights.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints means over seeds, with 95 % intervals."""
    budgets = tuple(sorted(int(read_amount(text)) for text in macs.split(",")))
    shared = {"data": data, "supernet": supernet, "model": model, "threads": threads, "finetune_at": budgets}
    found: Row = {"budgets": budgets, "searches": [], "unsearched": []}
    progress = ConsoleProgress()
    for seed in range(seeds):
        for way, own in WAYS.items():
            options = TransferOptions.model_validate({**shared, **own, "seed": seed, "overrides": {"controls": "none"}})
            report = searched(options, out / f"{way}-{seed}", progress)
            kept = {key: report[key] for key in ("seed", "evaluations", "seconds", "search_seconds", "rounds")}
            found["searches"].append({"way": way, **kept, "test_top1": within(report, budgets)})
        best = RunFolder(out / f"nat-{seed}").read_front()
        for row in unsearched(out / f"nat-{seed}", seed, progress):
            (beside,) = within(best, (row["macs"],))
            found["unsearched"].append({"seed": seed, **row, "searched": beside})
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found, budgets)


if __name__ == "__main__":
    typer.run(main)
