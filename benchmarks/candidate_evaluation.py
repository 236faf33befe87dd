"""Evaluating a candidate (recalibrating batch norm, classifying validation images): ours against once-for-all's way.

    git clone https://github.com/mit-han-lab/once-for-all
    python benchmarks/candidate_evaluation.py images/ --peer once-for-all --threads 1

Both supernets have the same weights and see the same normalised images. Ours is what `nat transfer` does for each
candidate (`nat.evaluation.SubnetEvaluator`); once-for-all's is `set_active_subnet`, `get_active_subnet`,
`set_running_statistics` on the same images, and a loop without gradients, all from its own code. They take turns. A
classifier is fitted to the images first; `--supernet tiny-small` has weights whose accuracies can be compared.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from once_for_all import peer_choices, peer_module, peer_supernet
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from nat.datasets.images import ImageSet
from nat.datasets.loading import load_dataset
from nat.datasets.preprocess import Preprocess
from nat.evaluation import SubnetEvaluator
from nat.pretrained.card import IMAGENET_MEAN, IMAGENET_STD
from nat.pretrained.catalogue import load_supernet
from nat.starting import fit_classifier
from nat.supernet.architecture import Architecture
from nat.supernet.evaluation import batched
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

Batches = list[tuple[Tensor, Tensor]]
PEER_BATCH = 100  # of its evaluators


@dataclass(frozen=True)
class Way:
    """One way of evaluating a candidate.

    Attributes:
        name: for the table.
        top1: accuracy of an architecture, in [0, 1].
    """

    name: str
    top1: Callable[[Architecture], float]


def measured(ways: list[Way], nets: dict[str, Architecture]) -> Iterator[dict[str, Any]]:
    """Accuracy and processor seconds of every net, one way after the other."""
    for way in ways:
        way.top1(nets["smallest"])  # warms up
    for name, net in nets.items():
        row: dict[str, Any] = {"net": name}
        for way in ways:
            started = time.process_time()
            row[f"{way.name} top1"] = round(way.top1(net), 4)
            row[f"{way.name} s"] = round(time.process_time() - started, 2)
        if len(ways) > 1:
            row["ratio"] = round(row["once-for-all s"] / row["ours s"], 2)
        yield row


def peer_top1(
    network: Any, calibrate: Callable[..., None], space: MobileNetSpace, calibration: Batches, validation: Batches
) -> Any:
    """Once-for-all's way, as a function of an architecture."""

    def top1(architecture: Architecture) -> float:
        network.set_active_subnet(**peer_choices(space, architecture))
        subnet: nn.Module = network.get_active_subnet(preserve_weight=True)
        calibrate(subnet, calibration)
        subnet.eval()
        right = 0
        with torch.no_grad():
            for batch, labels in validation:
                right += int((subnet(batch).argmax(dim=1) == labels).sum())
        return right / sum(len(labels) for _, labels in validation)

    return top1


def normalised(images: ImageSet, preprocess: Preprocess) -> Batches:
    """Batches of images and labels as a data loader of once-for-all would give them, made beforehand."""
    stored = batched(images.stored(preprocess), PEER_BATCH)
    return [(preprocess.normalise(x), y) for x, y in zip(stored, batched(images.labels, PEER_BATCH), strict=True)]


def weights_of(name: str | None, classes: int, resolution: int) -> tuple[Supernet, MobileNetSpace]:
    """A supernet with fresh classes at an input size: one that can be named, or random weights of width 1.0."""
    generator = torch.Generator().manual_seed(0)
    supernet = load_supernet(name)[0] if name else Supernet(MobileNetSpace(), classes, generator=generator)
    supernet.reset_classifier(classes, generator)
    supernet.space = supernet.space.with_resolutions([resolution])
    return supernet.to(memory_format=torch.channels_last), supernet.space  # as `nat transfer` has it


def main(
    data: Annotated[str, typer.Argument(help="A folder of images, or a data set's name.")],
    peer: Annotated[Path | None, typer.Option(help="A checkout of once-for-all; without it only ours.")] = None,
    supernet: Annotated[
        str | None, typer.Option(help="A MobileNetV3 one; random weights of width 1.0 without.")
    ] = None,
    resolution: Annotated[int, typer.Option(help="Input size in pixels.")] = 64,
    calibration: Annotated[int, typer.Option(help="Images to recalibrate on.")] = 512,
    validation: Annotated[int, typer.Option(help="Images to measure on.")] = 2000,
    random: Annotated[int, typer.Option(help="Random subnets, beside the largest and the smallest.")] = 3,
    batch: Annotated[int | None, typer.Option(help="Images at once in ours; its own choice if not given.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Prints a row for each net."""
    torch.set_num_threads(threads or torch.get_num_threads())
    splits = load_dataset(data)
    network, space = weights_of(supernet, splits.num_classes, resolution)
    preprocessing = partial(
        Preprocess.for_resolution, crop_fraction=splits.card.crop_fraction, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    chosen = splits.test.subset(np.random.default_rng(0).permutation(len(splits.test))[:validation])
    evaluator = SubnetEvaluator(splits.train, chosen, preprocessing, calibration_images=calibration, batch_size=batch)
    fit_classifier(network, space.largest(), splits.train, evaluator, seed=0)
    ways = [Way("ours", lambda net: 1.0 - evaluator.top1_error(network, net))]
    if peer is not None:
        theirs = peer_supernet(peer, space, splits.num_classes, network)
        preprocess = preprocessing(resolution)
        batches = [normalised(images, preprocess) for images in (evaluator.calibration, chosen)]
        calibrate = peer_module(peer, "utils").set_running_statistics
        ways.append(Way("once-for-all", peer_top1(theirs, calibrate, space, *batches)))
    drawn = space.decode(sample_uniform(space, random, np.random.default_rng(0)))
    nets = {"largest": space.largest(), "smallest": space.smallest()}
    rows = list(measured(ways, nets | {f"random {i}": net for i, net in enumerate(drawn)}))
    table = Table(title=f"{resolution} px, {calibration} + {len(chosen)} images, {torch.get_num_threads()} threads")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
