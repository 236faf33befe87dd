"""Whether a supernet is good as a whole: how its subnets' accuracies lie, and whether they rank as trained nets do.

    python benchmarks/supernet_quality.py tiny-small --data tiny-imagenet/ --subnets 30 --alone 12 --steps 1000

1. Test accuracy of random subnets with the supernet's weights (batch norm recalibrated), against a parabola in
   log multiply-adds: the standard deviation of the differences.
2. Kendall's tau between that accuracy and the accuracy of some of the subnets after training each on its own, all for
   the same number of steps, from random weights or (`--start supernet`) from the supernet's.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.stats import kendalltau

from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.finetuning import train_subnet
from nat.finetuning_recipe import FinetuneRecipe
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.sampling import sample_uniform
from nat.supernet.supernet import Supernet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Budget:
    """Training of each subnet on its own."""

    steps: int
    batch: int
    rate: float
    start: Literal["scratch", "supernet"]


def spread_around_trend(macs: Floats, accuracy: Floats) -> float:
    """Standard deviation of accuracies around a parabola in log MACs fitted to them."""
    x = np.log(macs)
    residual = accuracy - np.polyval(np.polyfit(x, accuracy, 2), x)
    return float(residual.std(ddof=3))


def alone(
    net: Architecture,
    supernet: Supernet,
    card: Card,
    splits: Splits,
    evaluator: SubnetEvaluator,
    budget: Budget,
    seed: int,
) -> float:
    """Accuracy of an architecture after training it on its own."""
    if budget.start == "scratch":
        supernet = Supernet(card.space, splits.num_classes, generator=torch.Generator().manual_seed(seed))
    stream = TrainStream(splits.train, Batching.suited(splits.card, budget.batch, seed, card.mean, card.std))
    recipe = FinetuneRecipe(budget.steps, budget.rate)
    subnet = supernet.extract(net, fast=True).to(evaluator.device)
    return 1 - evaluator.error_of(train_subnet(subnet, stream, recipe, torch.device(evaluator.device)))


def main(
    name: Annotated[str, typer.Argument(help="A supernet: a name or a file.")],
    data: Annotated[str, typer.Option(help="Images of its classes.")],
    subnets: Annotated[int, typer.Option(help="Random subnets.")] = 30,
    alone_subnets: Annotated[int, typer.Option("--alone", help="Of these, how many are trained on their own.")] = 12,
    steps: Annotated[int, typer.Option(help="Steps of each of those trainings.")] = 1000,
    start: Annotated[Literal["scratch", "supernet"], typer.Option(help="Weights that they start from.")] = "scratch",
    batch: Annotated[int, typer.Option(help="Images a step.")] = 64,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    images: Annotated[int, typer.Option(help="Test images.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints the spread around the trend and the rank correlation."""
    torch.set_num_threads(threads)
    errors = Console(stderr=True)
    supernet, card = load_supernet(name)
    splits = load_dataset(data)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(splits.test))[:images])
    preprocessing = preprocessing_of(splits.card.crop_fraction, card)
    evaluator = SubnetEvaluator(splits.train, splits.test.subset(chosen), preprocessing, device=device)
    costs = CostTable(card.space, splits.num_classes)
    encodings = sample_uniform(card.space, subnets, rng)
    nets = card.space.decode(encodings)
    supernet.to(device)
    shared = np.array(
        [1 - evaluator.top1_error(supernet, net) for net in track(nets, "in the supernet", console=errors)]
    )
    result: dict[str, object] = {
        "subnets": len(nets),
        "top1": [float(shared.min()), float(shared.max())],
        "spread": spread_around_trend(costs.macs(encodings).astype(np.float64), shared),
    }
    some = np.linspace(0, len(nets) - 1, alone_subnets).round().astype(int)
    some = np.argsort(costs.macs(encodings))[some]
    if len(some) > 1:
        budget = Budget(steps, batch, rate, start)
        own = [
            alone(nets[i], supernet, card, splits, evaluator, budget, seed)
            for i in track(some.tolist(), "on their own", console=errors)
        ]
        tau, p = kendalltau(shared[some], own)
        result |= {
            "alone": len(some),
            "start": start,
            "steps": steps,
            "alone_top1": [min(own), max(own)],
            "tau": float(tau),
            "p": float(p),
        }
    Console().print_json(json.dumps(result)) if as_json else Console().print(result)


if __name__ == "__main__":
    typer.run(main)
