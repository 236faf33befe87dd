"""What is measured of a network on a split: its answers, and the numbers that metrics.json has of them."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.supernet.evaluation import (
    balanced_accuracy,
    calibration_error,
    macro_f1,
    predict,
    recalls,
    top1_accuracy,
)
from nat.supernet.subnet import Subnet

Metrics = dict[str, Any]


def measure(model: Subnet, preprocess: Preprocess, images: ImageSet, device: torch.device | str = "cpu") -> Metrics:
    """What `metrics_of` tells of a network's `answers` on a split."""
    return metrics_of(answers(model, preprocess, images, device), images.labels)


def answers(model: nn.Module, preprocess: Preprocess, images: ImageSet, device: torch.device | str = "cpu") -> Tensor:
    """Logits on a split, shape (n, classes), each image going from its file through `preprocess` alone.

    Args:
        model: in evaluation mode.
        preprocess: the bundle's.
        images: a split.
        device: where it runs.
    """
    return predict(model.to(device), images.original(preprocess), preprocess.normalise)


def metrics_of(logits: Tensor, labels: Tensor) -> Metrics:
    """What is told of logits (n, classes) for labels (n,).

    Top-1 and top-5 accuracy, balanced accuracy, macro F1, mean cross-entropy, expected calibration error, and the
    recall of each class, None for one without images.
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return {
        "images": len(labels),
        "top1": top1_accuracy(logits, labels),
        "balanced_accuracy": balanced_accuracy(logits, labels),
        "macro_f1": macro_f1(logits, labels),
        "top5": float((ranked == labels[:, None]).any(dim=1).double().mean()),
        "loss": float(F.cross_entropy(logits.double(), labels)),
        "calibration_error": calibration_error(logits, labels),
        "recalls": [None if math.isnan(recall) else recall for recall in recalls(logits, labels).tolist()],
    }
