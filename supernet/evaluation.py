"""Judging networks: answers on images, and accuracy."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nat.supernet.layers import ConvNorm

BINS = 15


def batched(images: Tensor, size: int) -> Iterator[Tensor]:
    """Consecutive slices of at most `size` images."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def folded(network: nn.Module) -> nn.Module:
    """A network whose batch norms are part of the convolutions before them: fewer passes over the maps, for evaluation.

    Args:
        network: in evaluation mode, with the statistics it is to keep; changed in place, and no more to be trained.
    """
    for module in network.modules():
        if isinstance(module, ConvNorm):
            conv, norm = module.get_submodule("conv"), module.get_submodule("bn")
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            module.conv, module.bn = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, normalise: Callable[[Tensor], Tensor], batch_size: int = 128) -> Tensor:
    """Logits of uint8 images.

    Args:
        network: in evaluation mode.
        images: uint8, shape (n, 3, h, w), of the network's input size.
        normalise: makes normalised floats of a batch.
        batch_size: images at once.

    Returns:
        Float logits on the CPU, shape (n, classes).
    """
    device = next(network.parameters()).device
    logits = [network(normalise(batch.to(device))).float().cpu() for batch in batched(images, batch_size)]
    return torch.cat(logits)


def top1_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Fraction of rows of `logits` (n, classes) whose greatest entry is at `labels` (n,)."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def recalls(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of each class's images that are classified right, float64 (classes,); NaN for classes without images."""
    classes = logits.shape[1]
    right = torch.bincount(labels[logits.argmax(dim=1) == labels], minlength=classes).double()
    return right / torch.bincount(labels, minlength=classes).double()


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean recall of the classes that have images, in [0, 1]: every class counts alike, however many images it has."""
    return float(recalls(logits, labels).nanmean())


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error in [0, 1]: how far confidence is from accuracy (Guo et al., ICML 2017).

    Answers go into 15 bins of equal width by the probability of the class that is answered; the mean distance of their
    mean probability from their accuracy, weighted by their numbers.
    """
    confidence, answers = logits.double().softmax(dim=1).max(dim=1)
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gap = (answers == labels).double() - confidence
    return float(torch.bincount(bins, weights=gap, minlength=BINS).abs().sum() / max(1, len(labels)))


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the F1 of `logits` (n, classes) against `labels` (n,), in [0, 1].

    Classes that are neither there nor answered do not count.
    """
    classes, answers = logits.shape[1], logits.argmax(dim=1)
    right = torch.bincount(labels[answers == labels], minlength=classes).double()
    either = (torch.bincount(labels, minlength=classes) + torch.bincount(answers, minlength=classes)).double()
    there = either > 0
    return float((2 * right[there] / either[there]).mean())
