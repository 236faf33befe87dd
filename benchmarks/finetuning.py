"""Recipes of fine-tuning compared: one subnet of a finished run, from the same weights, for as many steps each.

    nat transfer caltech101/ --supernet weights.safetensors --model tf_mobilenetv3_large_minimal_100 --out runs/caltech
    python benchmarks/finetuning.py runs/caltech --steps 300 --recipes base,ema,distill --results finetuning.jsonl

The subnet is the best of the front within a share of the largest subnet's multiply-adds. `base` is the run's own
recipe; the others change what `RECIPES` says, alone or joined by a plus (`ema+layers`). The teacher is the largest net
of the adapted supernet, or a bundle of the run, such as a control. The last weights (or their average) are measured, so
that validation images choose nothing but the recipe. A seed decides batches, mixing and skipped blocks. The run's
folder is only read. Each training is added to `--results` and not repeated from there.
"""

import copy
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nat.bundling import Bundling
from nat.distillation import Teacher, teacher_at
from nat.errors import InputError, unknown_name
from nat.pipeline import Transfer, reopened
from nat.progress import Silence
from nat.run_folder import RunFolder
from nat.supernet.architecture import Architecture

RECIPES: Mapping[str, Mapping[str, Any]] = {  # `rate` is a factor, `crop` the least area of a crop
    "base": {},
    "ema": {"ema": 0.99},
    "rate2": {"rate": 2.0},
    "hard": {"label_smoothing": 0.0},
    "crop": {"crop": 0.5},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "layers": {"layer_decay": 0.85},
    "distill": {"distill": 0.5},
    "droppath": {"drop_path": 0.1},
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """One subnet of one run.

    Attributes:
        job: the run, reopened, with the adapted weights.
        subnet: what is fine-tuned.
        steps: of each training.
        teacher: folder of the run, or of a bundle of it.
    """

    job: Transfer
    subnet: Architecture
    steps: int
    teacher: Path

    def train(self, name: str, seed: int) -> Row:
        """Fine-tunes the subnet under a recipe; what it was, its CPU seconds and both accuracies."""
        changes = changes_of(name)
        job = copy.copy(self.job)
        job.amounts = job.amounts.model_copy(update={"min_crop_area": changes.pop("crop", job.amounts.min_crop_area)})
        tuner = replace(Bundling(job).tuner(), stream=job.stream(job.options.seed + 1 + seed))
        rate = tuner.recipe.learning_rate * changes.pop("rate", 1.0)
        recipe = replace(tuner.recipe, steps=self.steps, learning_rate=rate, seed=seed, **changes)
        teacher = self._teacher(job, seed) if recipe.distill else None
        tuner = replace(tuner, recipe=recipe, teacher=teacher)
        subnet, began = job.evaluator().calibrated(job.supernet, self.subnet), time.process_time()
        tuner.train(subnet, self.subnet.resolution, self.subnet.id)
        seconds = time.process_time() - began
        found = tuner.measured(subnet.cpu(), self.subnet.resolution).metrics
        accuracies = {split: found[split]["top1"] for split in ("val", "test")}
        return {**self.facts(name, seed), **accuracies, "cpu_seconds": seconds, "says": recipe.in_words()}

    def facts(self, name: str, seed: int) -> Row:
        """What tells one training from another."""
        teacher = str(self.teacher) if "distill" in name else None
        return {"recipe": name, "seed": seed, "subnet": self.subnet.id, "steps": self.steps, "teacher": teacher}

    def _teacher(self, job: Transfer, seed: int) -> Teacher:
        return teacher_at(self.teacher, job.splits, lambda *_: job.stream(job.options.seed + 1 + seed), job.device)


def changes_of(name: str) -> dict[str, Any]:
    """What a recipe, or several joined by a plus, changes.

    Raises:
        InputError: there is no such recipe.
    """
    changes: dict[str, Any] = {}
    for part in name.split("+"):
        if part not in RECIPES:
            raise unknown_name("recipe", part, RECIPES)
        changes |= RECIPES[part]
    return changes


def opened(run: Path, share: float, steps: int | None, teacher: Path | None) -> Bench:
    """The subnet of a run that is to be trained; nothing is written."""
    folder = RunFolder(run)
    front, job = folder.read_front()["front"], reopened(folder, Silence())
    most = share * job.problem.costs.of(job.space.largest())[0]
    within = [row for row in front if row["macs"] <= most]
    if not within:
        raise InputError(f"expected a subnet within {most / 1e6:.1f} M multiply-adds, got none: see --share.")
    best = max(within, key=lambda row: row["finetuned_val_top1"])
    job.load_adapted()
    steps = steps or Bundling(job).tuner().recipe.steps
    return Bench(job, Architecture.from_json(best["architecture"]), steps, teacher or run)


def trained(bench: Bench, names: Sequence[str], seeds: int, results: Path | None) -> Iterator[Row]:
    """One row a training, those that the file has from there."""
    known = [json.loads(line) for line in results.read_text().splitlines()] if results and results.exists() else []
    for seed in range(seeds):
        for name in names:
            facts = bench.facts(name, seed)
            row = next((old for old in known if all(old[key] == value for key, value in facts.items())), None)
            if row is None:
                row = bench.train(name, seed)
                if results is not None:
                    with results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
            yield row


def summary(rows: Sequence[Row]) -> list[Row]:
    """Means over seeds by recipe, the best on validation images first."""
    found = []
    for name in dict.fromkeys(row["recipe"] for row in rows):
        some = [row for row in rows if row["recipe"] == name]
        means = {key: mean(row[key] for row in some) for key in ("val", "test", "cpu_seconds")}
        found.append({"recipe": name, "seeds": len(some), **means, "says": some[0]["says"]})
    return sorted(found, key=lambda row: -row["val"])


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished nat transfer.")],
    recipes: Annotated[str, typer.Option(help=f"Of {', '.join(RECIPES)}, with commas.")] = ",".join(RECIPES),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each recipe.")] = 1,
    share: Annotated[float, typer.Option(help="Of the largest subnet's multiply-adds.")] = 0.5,
    steps: Annotated[int | None, typer.Option(min=1, help="Of each training. Default: the run's.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Bundle of the run that teaches. Default: its largest net, not fine-tuned.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="JSON lines to add to, and to take up.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints validation and test accuracies and CPU seconds, means over seeds."""
    names = [name.strip() for name in recipes.split(",") if name.strip()]
    try:
        for name in names:
            changes_of(name)
        bench = opened(run, share, steps, teacher)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    found = summary(list(trained(bench, names, seeds, results)))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    splits, table = bench.job.splits, Table(title=f"{bench.subnet.id} of {run.name}, {bench.steps} steps")
    columns = ("recipe", "seeds", f"val ({len(splits.val)})", f"test ({len(splits.test)})", "CPU seconds")
    for column in columns:
        table.add_column(column)
    for row in found:
        cells = (f"{row['val']:.4f}", f"{row['test']:.4f}", f"{row['cpu_seconds']:.0f}")
        table.add_row(row["recipe"], str(row["seeds"]), *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
