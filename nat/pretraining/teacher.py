"""Answers of a pretrained network to the training images, computed once: what a supernet can learn from beside labels.

The network keeps its weights; a linear classifier for the data set's own classes is trained on its pooled features, so
a classification network of timm can teach whatever it was trained on, if it takes images of the size that is asked for.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from timm import create_model
from timm.data import resolve_model_data_config  # type: ignore[attr-defined]  # not marked as a re-export
from torch import Tensor, autograd, nn
from torch.nn import functional as F

from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.errors import CheckpointError, InputError, reason_of
from nat.pretrained.store import read_tensors, write_tensors
from nat.pretrained.timm_models import is_known
from nat.progress import Progress
from nat.supernet.evaluation import top1_accuracy
from nat.supernet.training import Schedule, WeightTrainer

ANSWERS = "answers.safetensors"
BATCH = 32
PROBE_BATCH, PROBE_EPOCHS, PROBE_RATE, PROBE_DECAY, PROBE_DROPOUT = 512, 4, 2e-3, 0.3, 0.5


@dataclass(frozen=True)
class TeacherOptions:
    """Which network teaches.

    Attributes:
        model: name of a timm model, such as `mobilenetv3_large_100`.
        weights: file of its weights; None has timm download the published ones.
        size: side in pixels at which it sees the images.
    """

    model: str
    weights: Path | None = None
    size: int = 128

    def check(self) -> None:
        """Raises `InputError` unless timm has the model."""
        if not is_known(self.model):
            raise InputError(
                f"expected the name of a timm model as teacher, got '{self.model}': see timm.list_models()."
            )

    @property
    def identity(self) -> str:
        """Model, weights and size in one line.

        Raises:
            CheckpointError: the weights cannot be read.
        """
        if self.weights is None:
            return f"{self.model} at {self.size} px"
        try:
            with self.weights.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(
                f"cannot read the teacher's weights in '{self.weights}': {error.strerror or error}."
            ) from error
        return f"{self.model} (weights sha256 {digest[:16]}) at {self.size} px"


def answers_for(splits: Splits, options: TeacherOptions, out: Path, device: torch.device, progress: Progress) -> Tensor:
    """The teacher's logits for the training images, from `out` if they are there, else computed and stored there.

    Args:
        splits: the images.
        options: the teacher.
        out: folder.
        device: where the teacher runs.
        progress: shows how far it is, and how good the teacher is.

    Returns:
        float16, shape (training images, classes).

    Raises:
        CheckpointError: the teacher's weights cannot be used.
        InputError: there is no such model.
    """
    path, identity = out / ANSWERS, f"{options.identity}, images {splits.fingerprint}"
    stored = _stored(path, identity)
    if stored is not None and stored.shape == (len(splits.train), splits.num_classes):
        return stored
    network, preprocess = load_teacher(options, device)
    parts = (splits.train, splits.val)
    with progress.task("asking the teacher", sum(len(part) for part in parts)) as task:
        train, val = (features_of(network, preprocess, part, device, task.advance) for part in parts)
    probe = fit_probe(train, splits.train.labels, splits.num_classes)
    answers, checked = _answers(probe, train), _answers(probe, val)
    accuracy = top1_accuracy(checked, splits.val.labels)
    progress.say(f"the teacher {options.model} reaches {accuracy:.3f} top-1 on {len(splits.val)} validation images")
    write_tensors(path, {"answers": answers}, {"of": identity})
    return answers


@torch.inference_mode()
def _answers(probe: "Probe", features: Tensor) -> Tensor:
    return torch.cat([probe(part.float()).half() for part in torch.split(features, 10_000)])


def load_teacher(options: TeacherOptions, device: torch.device) -> tuple[nn.Module, Preprocess]:
    """The network in evaluation mode, and what its images go through."""
    options.check()
    try:
        network = create_model(options.model, pretrained=options.weights is None)
        if options.weights is not None:
            network.load_state_dict(read_tensors(options.weights))
    except Exception as error:  # downloads and files fail in many ways
        raise CheckpointError(f"cannot load the teacher '{options.model}': {reason_of(error)}") from error
    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    preprocess = Preprocess(options.size, options.size, config["mean"], config["std"], "bicubic")
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    return network, preprocess


@torch.inference_mode()
def features_of(
    network: nn.Module, preprocess: Preprocess, images: ImageSet, device: torch.device, advance: Callable[[int], None]
) -> Tensor:
    """What a timm network has before its classifier, float16, shape (n, features)."""
    parts = []
    for start in range(0, len(images), BATCH):
        batch = images.subset(range(start, min(start + BATCH, len(images))))
        pixels = preprocess.normalise(batch.stored(preprocess).to(device)).contiguous(memory_format=torch.channels_last)
        try:
            maps = network.forward_features(pixels)  # type: ignore[operator]
            parts.append(network.forward_head(maps, pre_logits=True).half().cpu())  # type: ignore[operator]
        except (AssertionError, RuntimeError) as error:
            raise InputError(
                f"the teacher cannot take images of {preprocess.crop} px ({reason_of(error)}): see --teacher-size."
            ) from error
        advance(len(batch))
    return torch.cat(parts)


class Probe(nn.Module):
    """A linear classifier of standardised features.

    Args:
        features: shape (n, features), whose mean and spread are kept.
        classes: outputs.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: Tensor, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", features.float().mean(0))
        self.register_buffer("spread", features.float().std(0) + 1e-3)
        self.linear = nn.Linear(features.shape[1], classes)
        nn.init.zeros_(self.linear.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, classes); with dropout in training."""
        standardised = (features - self.mean) / self.spread
        logits: Tensor = self.linear(F.dropout(standardised, PROBE_DROPOUT, self.training))
        return logits


def fit_probe(features: Tensor, labels: Tensor, classes: int) -> Probe:
    """Trains a probe, briefly and with strong regularisation: its answers to its training images must stay soft.

    Args:
        features: shape (n, features).
        labels: shape (n,).
        classes: outputs.
    """
    batch = min(PROBE_BATCH, len(labels))
    steps = PROBE_EPOCHS * max(1, len(labels) // batch)
    rng = np.random.default_rng(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        probe = Probe(features, classes)
        trainer = WeightTrainer(probe, Schedule(PROBE_RATE, steps), weight_decay=PROBE_DECAY)
        for _ in range(steps):
            chosen = torch.from_numpy(rng.choice(len(labels), batch, replace=False))
            loss = F.cross_entropy(probe(features[chosen].float()), labels[chosen], label_smoothing=0.05)
            autograd.backward(loss)
            trainer.update()
    return probe.eval()


def _stored(path: Path, identity: str) -> Tensor | None:
    """The answers in a file, or None if there is none or it has those of others."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            same = (file.metadata() or {}).get("of") == identity
            answers: Tensor = file.get_tensor("answers")
    except Exception as error:  # a damaged file
        raise CheckpointError(f"'{path}' is damaged: delete it.") from error
    return answers if same else None
