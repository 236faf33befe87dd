"""Batch-norm recalibration: fitting the running statistics of a network to images before it is judged.

A supernet's running statistics are averages over all subnets that trained, right for none of them; without
recalibration a subnet's accuracy is meaningless (once-for-all, Cai et al., ICLR 2020, uses 2,000 training images).
"""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from nat.errors import InputError


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Replaces the running mean and variance of every batch norm by their averages over the batches.

    Each batch counts alike, and each is normalised by its own statistics while it passes, as in training. The
    variance that is averaged is the unbiased one (torch's); once-for-all averages the biased one, which is smaller by
    a factor 1 - 1/n for n values a channel. Only call this on networks of your own, such as extracted ones: it writes
    into their buffers.

    Args:
        network: any network with batch norm; left in evaluation mode.
        batches: images (n, 3, h, w), normalised, n of at least 2.

    Returns:
        The network itself.

    Raises:
        InputError: there are no batches; the network is as it was, but in evaluation mode.
    """
    batches = iter(batches)
    first = next(batches, None)
    network.eval()
    if first is None:
        raise InputError("expected at least one batch of images to recalibrate batch norm with, got none.")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average instead of an exponential one
        norm.train()
    try:
        with torch.inference_mode():
            for images in chain([first], batches):
                network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
    return network
