"""Whether a supernet pays: subnets of a finished run, cut from the same network and trained alone for as long.

    nat transfer caltech101/ --supernet weights.safetensors --model tf_mobilenetv3_large_minimal_100 --out runs/caltech
    python benchmarks/cut_alone.py runs/caltech

Each of the best subnet of the front, and the best of at most a share of the largest subnet's multiply-adds, is cut from
the untrained supernet (settled on the images, its classifier fitted) and fine-tuned by the run's own recipe, but for
as many steps as fit into the seconds that the run took for everything up to that subnet: search and its fine-tuning.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from nat.finetuning import train_subnet
from nat.finetuning_recipe import FinetuneRecipe
from nat.job import Job
from nat.metrics import measure
from nat.progress import Silence
from nat.run_folder import RunFolder
from nat.starting import start
from nat.supernet.architecture import Architecture
from nat.supernet.subnet import Subnet

TRIAL = 12  # steps whose time tells how many there is time for


def chosen(report: dict[str, Any], share: float) -> dict[str, dict[str, Any]]:
    """Rows of the front: the best on validation images, and the best within a share of the largest subnet's MACs."""
    largest = next(control for control in report["controls"] if control["name"] == "largest subnet")
    within = [row for row in report["front"] if row["macs"] <= share * largest["macs"]]
    rows = {"best": report["front"], f"best of {share:g} of the multiply-adds": within}
    return {name: max(some, key=lambda row: row["finetuned_val_top1"]) for name, some in rows.items() if some}


def seconds_for(folder: RunFolder, subnet: str) -> float:
    """Time of the search, and of one subnet's fine-tuning with its measuring; its share of what several took."""
    lines = [json.loads(line) for line in folder.events.read_text(encoding="utf-8").splitlines()]
    return sum(line["seconds"] for line in lines if line["event"] != "finetune" or line.get("id") == subnet)


def alone(folder: RunFolder, architecture: Architecture, seconds: float) -> tuple[float, int]:
    """Test accuracy and steps of a subnet trained alone for some seconds, the start included."""
    options = folder.read_options()
    job = Job(options, folder, Silence())
    evaluator, began = job.evaluator(), time.monotonic()
    start(job.supernet, job.card, job.splits.train, evaluator, options.seed, Silence(), fit=job.amounts.fit_classifier)

    spent = time.monotonic() - began
    times: list[float] = []

    def trained(steps: int) -> Subnet:
        subnet = evaluator.calibrated(job.supernet, architecture)
        recipe = FinetuneRecipe(steps, job.amounts.finetuning_rate)
        advance = lambda: times.append(time.monotonic())  # noqa: E731
        return train_subnet(subnet, job.stream(options.seed + 1), recipe, job.device, advance)

    trained(TRIAL)
    steps = int((seconds - spent) / ((times[-1] - times[1]) / (TRIAL - 2)))  # the first ones warm up
    if steps < 1:
        raise typer.BadParameter(f"{seconds:.0f} s leave no time for a step.")
    subnet = trained(steps).cpu()
    return measure(subnet, job.preprocessing()(architecture.resolution), job.splits.test)["top1"], steps


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished nat transfer.")],
    share: Annotated[float, typer.Option(help="Of the largest subnet's multiply-adds.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints test accuracies of both."""
    folder = RunFolder(run)
    found = []
    for name, row in chosen(folder.read_front(), share).items():
        seconds = seconds_for(folder, row["id"])
        top1, steps = alone(folder, Architecture.from_json(row["architecture"]), seconds)
        facts = {"macs": row["macs"], "seconds": round(seconds), "steps": steps}
        found.append({"subnet": name, **facts, "run": row["test_top1"], "alone": top1})
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(title=f"{run.name}, {torch.get_num_threads()} threads")
    for column in found[0]:
        table.add_column(column)
    for each in found:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in each.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
