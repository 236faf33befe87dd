"""Whether a supernet is worth transferring: one subnet, trained from its weights and from random ones, alike.

    python benchmarks/transfer_pays.py caltech/ flowers/ dtd/ --supernet tiny-small --seeds 3

The same subnet, resolution, recipe, batches and number of steps on both sides; test accuracy, mean and spread over
seeds.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.finetuning import train_subnet
from nat.finetuning_recipe import FinetuneRecipe
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import ladder
from nat.supernet.supernet import Supernet


@dataclass(frozen=True)
class Setting:
    """What both sides share."""

    resolution: int
    batch: int
    steps: int
    rate: float
    rung: int


def subnet_of(card: Card, setting: Setting) -> Architecture:
    """The middle one of five uniform architectures (or another rung), at the setting's resolution."""
    space = card.space.with_resolutions([setting.resolution])
    rungs = ladder(space, 5)
    return rungs[round(setting.rung / 4 * (len(rungs) - 1))]


def top1(supernet: Supernet, card: Card, splits: Splits, setting: Setting, seed: int) -> float:
    """Test accuracy of the subnet after training it from the supernet's weights, with a fresh classifier."""
    supernet.reset_classifier(splits.num_classes, torch.Generator().manual_seed(seed))
    supernet.space = card.space.with_resolutions([setting.resolution])
    subnet = supernet.extract(subnet_of(card, setting), fast=True)
    stream = TrainStream(splits.train, Batching.suited(splits.card, setting.batch, seed, card.mean, card.std))
    recipe = FinetuneRecipe(setting.steps, setting.rate)
    subnet = train_subnet(subnet, stream, recipe, torch.device("cpu"))
    preprocessing = preprocessing_of(splits.card.crop_fraction, card)
    return 1 - SubnetEvaluator(splits.train, splits.test, preprocessing).error_of(subnet)


def compare(name: str, data: str, setting: Setting, seeds: int) -> dict[str, Any]:
    """Accuracies from the supernet and from scratch on one data set."""
    splits = load_dataset(data, store_size=setting.resolution * 5 // 4)
    found: dict[str, list[float]] = {"supernet": [], "scratch": []}
    for seed in range(seeds):
        supernet, card = load_supernet(name)
        found["supernet"].append(top1(supernet, card, splits, setting, seed))
        generator = torch.Generator().manual_seed(seed)
        scratch = Supernet(card.space, splits.num_classes, generator=generator)
        found["scratch"].append(top1(scratch, card, splits, setting, seed))
    gain = float(np.mean(found["supernet"]) - np.mean(found["scratch"]))
    return {"data": Path(data).name, "train": len(splits.train), "test": len(splits.test), **found, "gain": gain}


def main(
    data: Annotated[list[str], typer.Argument(help="Image folders.")],
    supernet: Annotated[str, typer.Option(help="A name or a file.")] = "tiny-small",
    resolution: Annotated[int, typer.Option(help="Input size in pixels.")] = 64,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 32,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 500,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    rung: Annotated[int, typer.Option(help="0 smallest to 4 largest subnet.")] = 2,
    seeds: Annotated[int, typer.Option(help="Repetitions.")] = 3,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints accuracies from the supernet and from scratch, and what the transfer gains."""
    torch.set_num_threads(threads)
    setting = Setting(resolution, batch, steps, rate, rung)
    results = [compare(supernet, each, setting, seeds) for each in data]
    if as_json:
        print(json.dumps(results, indent=2))
        return
    table = Table(title=f"{supernet}, {setting}")
    for column in ("data", "train / test", "from the supernet", "from scratch", "gain"):
        table.add_column(column)
    for row in results:
        sides = (f"{np.mean(row[side]):.3f} ± {np.std(row[side]):.3f}" for side in ("supernet", "scratch"))
        table.add_row(str(row["data"]), f"{row['train']} / {row['test']}", *sides, f"{row['gain']:+.3f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
