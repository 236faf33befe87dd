"""Fine-tuned networks and their bundles: what a transfer, a pick and `nat finetune` have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from nat.bundle import save_bundle
from nat.datasets.splits import Splits
from nat.datasets.stream import TrainStream
from nat.distillation import Teacher
from nat.errors import TransferError
from nat.evaluation import Preprocessing
from nat.finetuning import Best, train_network
from nat.finetuning_recipe import FinetuneRecipe
from nat.metrics import answers, metrics_of
from nat.options import TransferOptions
from nat.predictions import Predictions
from nat.progress import Progress
from nat.supernet.costs import costs_of, space_around
from nat.supernet.subnet import Subnet

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Measured:
    """What is known of a network on the validation and test images.

    Attributes:
        metrics: `metrics_of` by split.
        correct: on which images it was right, by split, shape (n,).
        predictions: its answers to the test images.
    """

    metrics: dict[str, Any]
    correct: dict[str, torch.Tensor]
    predictions: Predictions


@dataclass(frozen=True)
class Tuner:
    """Fine-tunes networks on the same images in the same way, and writes what comes of it.

    Attributes:
        splits: the images.
        stream: training batches.
        recipe: constants.
        preprocessing: what images go through, by input size.
        data: what metrics.json tells of the images; see `told_of`.
        device: where networks are trained.
        progress: shows how far it is.
        teacher: whose answers are learnt; needed where the recipe has `distill`.
    """

    splits: Splits
    stream: TrainStream
    recipe: FinetuneRecipe
    preprocessing: Preprocessing
    data: Mapping[str, Any]
    device: torch.device
    progress: Progress
    teacher: Teacher | None = None

    def train(self, network: nn.Module, resolution: int, name: str, best: Best | None = None) -> bool:
        """Fine-tunes a network in place, if the recipe has any steps; whether it has."""
        if self.recipe.steps == 0:
            return False
        with self.progress.task(f"fine-tuning {name} at {resolution} px", self.recipe.steps) as task:
            try:
                train_network(
                    network, resolution, self.stream, self.recipe, self.device, task.advance, best, self.teacher
                )
            except TransferError as error:
                raise TransferError(f"{name}: {error}") from error
        return True

    def told_recipe(self) -> dict[str, Any]:
        """As metrics.json has it: the constants, and how the images became batches."""
        batching = self.stream.batching
        drawn = {"flip": batching.flip, "min_crop_area": batching.min_crop_area, "evenness": batching.evenness}
        return self.recipe.to_json() | {"batch": self.stream.batch_size, **drawn}

    def measured(self, network: nn.Module, resolution: int) -> Measured:
        """Judges a network as it will be used: on the CPU, each image from its file through the preprocessing alone."""
        splits = {"val": self.splits.val, "test": self.splits.test}
        preprocess = self.preprocessing(resolution)
        logits = {name: answers(network, preprocess, images) for name, images in splits.items()}
        return Measured(
            {name: metrics_of(logits[name], images.labels) for name, images in splits.items()},
            {name: logits[name].argmax(dim=1) == images.labels for name, images in splits.items()},
            Predictions.of(logits["test"], self.splits.test.labels),
        )

    def write(
        self, subnet: Subnet, path: Path, *, finetuned: bool, supernet: str, told: Mapping[str, Any] = NOTHING
    ) -> None:
        """Writes a bundle whose metrics are measured with the network as it is read back.

        Args:
            subnet: trained or not; left as it is.
            path: folder of the bundle; must not exist.
            finetuned: whether it was trained on its own.
            supernet: where its weights come from.
            told: what metrics.json has beside.
        """
        architecture, classes = subnet.architecture, self.splits.num_classes
        plain = Subnet(space_around(architecture, structure=subnet.structure), architecture, classes).eval()
        plain.load_state_dict(subnet.state_dict())  # the values, not the layout, which decides rounding
        macs, params = costs_of(architecture, classes, subnet.structure)
        measured = self.measured(plain, architecture.resolution)
        metrics = {
            "id": architecture.id,
            "macs": macs,
            "params": params,
            "resolution": architecture.resolution,
            "finetuned": finetuned,
            "supernet": supernet,
            **measured.metrics,
            "threads": torch.get_num_threads(),
            "recipe": self.told_recipe() if finetuned else None,
            "data": dict(self.data),
            **told,
        }
        preprocess = self.preprocessing(architecture.resolution)
        save_bundle(path, plain, preprocess, self.splits.classes, metrics, measured.correct, measured.predictions)


def told_of(splits: Splits, options: TransferOptions) -> dict[str, Any]:
    """What is kept of the images: how to read them again and see whether they have changed, and how many they are."""
    return {
        "name": splits.card.name,
        "source": options.data,
        "data_root": options.data_root,
        "seed": options.seed,
        "store_size": options.store_size,
        "skip_corrupt": options.skip_corrupt,
        "flip": options.flip,
        "fingerprint": splits.fingerprint,
        "classes": splits.num_classes,
        "train": len(splits.train),
        "val": len(splits.val),
        "test": len(splits.test),
        "skipped": len(splits.skipped),
    }
