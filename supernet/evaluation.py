"""Judging networks: answers on images, and accuracy."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nat.supernet.layers import ConvNorm


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
