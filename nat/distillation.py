"""Distillation: a network whose answers another one learns beside the labels, and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nat.bundle import load_bundle
from nat.datasets.preprocess import Triple
from nat.datasets.splits import Splits
from nat.datasets.stream import TrainStream
from nat.errors import InputError
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.pretrained.store import load_supernet_file
from nat.run_folder import RunFolder

Streams = Callable[[Triple, Triple], TrainStream]  # of mean and standard deviation


@dataclass(frozen=True)
class Teacher:
    """A trained network that answers the batches of a training.

    It sees the same crops and flips (and random operations) as its pupil, at its own input size and before images are
    mixed: a network sees most at the size that it was trained at, and its answers can be mixed as labels are. That
    both see the same view is what matters (Beyer et al., "A good teacher is patient and consistent", CVPR 2022).

    Attributes:
        network: in evaluation mode, on the device of the training.
        resolution: its input size in pixels.
        stream: the training's batches, normalised as the network knows them.
        name: for records.
    """

    network: nn.Module
    resolution: int
    stream: TrainStream
    name: str

    @torch.no_grad()
    def answers(self, step: int) -> Tensor:
        """Probabilities of the classes for the batch of a step, shape (b, classes), on the network's device."""
        device = next(self.network.parameters()).device
        images, _ = self.stream.batch(step, self.resolution)
        logits: Tensor = self.network(images.to(device).contiguous(memory_format=torch.channels_last))
        return logits.softmax(dim=1)


def run_around(bundle: Path) -> Path | None:
    """The run that a bundle lies in (`RUN/subnets/ID`, `RUN/controls/ID`, or picked as `RUN/NAME`), if there is one."""
    above = bundle.expanduser().resolve().parents
    return next((path for path in above[:2] if RunFolder(path).supernet.is_file()), None)


def teacher_at(path: Path, splits: Splits, streams: Streams, device: torch.device) -> Teacher:
    """The teacher in a folder: the network of a bundle, or the largest one of a run's adapted supernet.

    Args:
        path: of a bundle or a run.
        splits: the images; those of training recalibrate the batch norm of a supernet's network.
        streams: makes the training's batches with a normalisation.
        device: where it is to run.

    Raises:
        CheckpointError: the files cannot be used.
        InputError: it knows other classes than the images have.
        RunError: it is a run that is not finished.
    """
    path = path.expanduser()
    if RunFolder(path).supernet.is_file():
        return _of_run(RunFolder(path), splits, streams, device)
    bundle = load_bundle(path)
    _check_classes(path, bundle.labels, splits)
    network = bundle.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    stream = streams(bundle.preprocess.mean, bundle.preprocess.std)
    return Teacher(network, bundle.preprocess.crop, stream, str(bundle.metrics["id"]))


def _of_run(folder: RunFolder, splits: Splits, streams: Streams, device: torch.device) -> Teacher:
    """The largest network of the adapted supernet, with batch norm fitted to the images."""
    known = folder.subnets / str(folder.read_front()["front"][0]["id"])
    _check_classes(folder.path, load_bundle(known).labels, splits)
    supernet, card = load_supernet_file(folder.supernet)
    preprocessing = preprocessing_of(splits.card.crop_fraction, card)
    largest = card.space.largest()
    network = SubnetEvaluator(splits.train, splits.val, preprocessing, device=device).calibrated(supernet, largest)
    return Teacher(network.eval(), largest.resolution, streams(card.mean, card.std), largest.id)


def _check_classes(path: Path, labels: tuple[str, ...], splits: Splits) -> None:
    if labels != splits.classes:
        raise InputError(
            f"expected a teacher of the images' {splits.num_classes} classes, got '{path}', whose {len(labels)} are "
            "others. Name a bundle or a run of these images: --teacher BUNDLE."
        )
