"""How soon the subnets of a grown supernet are worth something on other images.

    python benchmarks/grown_elastic.py caltech101/ --source weights.safetensors \
        --model tf_mobilenetv3_large_minimal_100 --space shrink --steps 320

The supernet is settled on the images (batch norm restated, channels sorted), its classifier fitted on frozen features,
then every step trains the largest, the smallest and random subnets (sandwich rule with in-place distillation): what
`nat transfer` does before its search. Top-1 with recalibrated batch norm, before the first step and after the last.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from nat.datasets.loading import load_dataset
from nat.datasets.stream import Batching, TrainStream
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.pretrained.growing import grown_supernet, source_of
from nat.starting import adapted_to, fit_classifier, settle
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.freezing import freeze
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step


def judged(space: MobileNetSpace, seed: int) -> dict[str, Architecture]:
    """Both ends and three random architectures."""
    drawn = space.decode(sample_uniform(space, 3, np.random.default_rng([seed, 1])))
    return {
        "largest": space.largest(),
        **{f"random {i}": net for i, net in enumerate(drawn)},
        "smallest": space.smallest(),
    }


def accuracies(evaluator: SubnetEvaluator, supernet: Supernet, nets: dict[str, Architecture]) -> dict[str, float]:
    """Test top-1 of each with the supernet's weights."""
    return {name: round(1 - evaluator.top1_error(supernet, net), 4) for name, net in nets.items()}


def train(
    supernet: Supernet, stream: TrainStream, space: MobileNetSpace, steps: int, drawn: int, rate: float, seed: int
) -> None:
    """Sandwich steps of both ends and some drawn subnets."""
    trainer = WeightTrainer(supernet, Schedule(rate, steps, min(20, steps // 10)))
    ends = [space.largest(), space.smallest()]
    for step in track(range(steps), "training", console=Console(stderr=True)):
        rng = np.random.default_rng([seed, 2, step])
        images, labels = stream.batch(step, space.resolutions[-1])
        images = images.contiguous(memory_format=torch.channels_last)
        sandwich_step(
            trainer, images, labels, [*ends, *space.decode(sample_uniform(space, drawn, rng))], label_smoothing=0.1
        )


def main(
    data: Annotated[str, typer.Argument(help="Image folder.")],
    source: Annotated[str, typer.Option(help="A model of timm, or a file with --model.")],
    model: Annotated[str | None, typer.Option(help="The timm model of the file.")] = None,
    space: Annotated[Literal["shrink", "nat"], typer.Option(help="Kind of space.")] = "shrink",
    resolution: Annotated[int, typer.Option(help="Input size.")] = 80,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 32,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 320,
    drawn: Annotated[int, typer.Option(help="Random subnets a step.")] = 2,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-4,
    crop: Annotated[float, typer.Option(help="Least area of a training crop.")] = 0.5,
    frozen: Annotated[int, typer.Option(help="Stages that keep their weights, with all before them.")] = 0,
    settled: Annotated[bool, typer.Option(help="Restate batch norm and sort channels on the images first.")] = True,
    fit: Annotated[bool, typer.Option(help="Fit the classifier first.")] = True,
    measured: Annotated[Literal["val", "test"], typer.Option(help="Images to measure on.")] = "test",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints accuracies before and after, and seconds a step."""
    torch.set_num_threads(threads)
    supernet, card = grown_supernet(*source_of(source, model), space, seed)
    splits = load_dataset(data, store_size=resolution * 5 // 4)
    own = card.space.with_resolutions([resolution])
    supernet = adapted_to(supernet, own, splits.num_classes, seed).to(memory_format=torch.channels_last)
    images = splits.test if measured == "test" else splits.val
    evaluator = SubnetEvaluator(splits.train, images, preprocessing_of(splits.card.crop_fraction, card))
    if settled:
        settle(supernet, evaluator)
    if fit:
        fit_classifier(supernet, own.largest(), splits.train, evaluator, seed)
    nets = judged(own, seed)
    before = accuracies(evaluator, supernet, nets)
    batching = replace(Batching.suited(splits.card, batch, seed, card.mean, card.std), min_crop_area=crop)
    stream = TrainStream(splits.train, batching)
    freeze(supernet, frozen)
    started = time.process_time()
    train(supernet, stream, own, steps, drawn, rate, seed)
    spent = (time.process_time() - started) / max(1, steps)
    after = accuracies(evaluator, supernet, nets)
    costs = CostTable(own, splits.num_classes)
    macs = {name: costs.of(net)[0] for name, net in nets.items()}
    if as_json:
        print(json.dumps({"before": before, "after": after, "macs": macs, "seconds_a_step": round(spent, 3)}))
        return
    title = (
        f"{Path(data).name}, {space}, {steps} steps of {batch} at {resolution} px, {spent:.2f} processor seconds each"
    )
    table = Table(title=title)
    for column in ("subnet", "multiply-adds", "before", "after"):
        table.add_column(column)
    for name in nets:
        table.add_row(name, f"{macs[name] / 1e6:.1f} M", f"{before[name]:.4f}", f"{after[name]:.4f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
