"""What a net answers to each test image, kept in its bundle: reports tell classes and mistakes from it without images.

predictions.safetensors holds, for the n test images in the order of the split, `labels`, `answers` (the class with the
greatest logit) and `confidence` (its softmax probability).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from nat.files import whole_file

FILE = "predictions.safetensors"  # in a bundle's folder

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Predictions:
    """Answers of one net to n images.

    Attributes:
        labels: true classes, shape (n,).
        answers: predicted classes, shape (n,).
        confidence: softmax probabilities of the answers, shape (n,), in [0, 1].
    """

    labels: Integers
    answers: Integers
    confidence: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which answers are right, shape (n,)."""
        return np.equal(self.labels, self.answers)

    @property
    def top1(self) -> float:
        """Share of right answers; 0 without images."""
        return float(self.right.mean()) if len(self.labels) else 0.0

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> "Predictions":
        """The answers that logits (n, classes) give to images with labels (n,)."""
        best = logits.double().softmax(dim=1).max(dim=1)
        return cls(
            labels.numpy().astype(np.int32),
            logits.argmax(dim=1).numpy().astype(np.int32),  # as accuracies are counted
            best.values.numpy().astype(np.float32),
        )

    def save(self, folder: Path) -> None:
        """Writes the file into a bundle's folder, whole."""
        tensors = {"labels": self.labels, "answers": self.answers, "confidence": self.confidence}
        with whole_file(folder / FILE) as draft:
            save_file(tensors, draft)

    @classmethod
    def read(cls, folder: Path, classes: int) -> "Predictions | None":
        """What a bundle's folder holds; None for bundles of older versions and for files that make no sense.

        Args:
            folder: of the bundle.
            classes: that there are; labels and answers beyond are no labels and answers.
        """
        try:
            found: Mapping[str, NDArray[Any]] = load_file(folder / FILE)
            labels, answers, confidence = (found[name] for name in ("labels", "answers", "confidence"))
        except (OSError, KeyError, SafetensorError):
            return None
        if not labels.shape == answers.shape == confidence.shape or labels.ndim != 1:
            return None
        for values in (labels, answers):
            if values.dtype != np.int32 or (len(values) and not 0 <= values.min() <= values.max() < classes):
                return None
        return cls(labels, answers, np.nan_to_num(confidence.astype(np.float32)))
