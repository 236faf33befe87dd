"""Batch norm and other images than those it was trained on.

A supernet's running statistics are averages over all subnets that trained, right for none of them; without
recalibration a subnet's accuracy is meaningless (once-for-all, Cai et al., ICLR 2020, uses 2,000 training images).

A network that was trained on its own has the right statistics, and recalibrating it on other images or at another size
changes its function, for the worse where it is to be reused: `rebase` first.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain

import torch
from torch import Tensor, nn

from nat.errors import InputError
from nat.supernet.supernet import Supernet

LEAST_VARIANCE = 0.01  # of the median of a layer's channels


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Replaces the running mean and variance of every batch norm by their averages over the batches.

    Each batch counts alike, and each is normalised by its own statistics while it passes, as in training. The
    variance that is averaged is the unbiased one (torch's); once-for-all averages the biased one, which is smaller by
    a factor 1 - 1/n for n values a channel. Then variances near 0 are raised. Only call this on networks of your own,
    such as extracted ones: it writes into their buffers.

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
    return raise_low_variances(network)


@torch.no_grad()
def raise_low_variances(network: nn.Module) -> nn.Module:
    """Raises variances that are far below those of the other channels of their batch norm, in place.

    A channel that is silent on nearly all training images has a running variance of nearly 0, and batch norm multiplies
    it by 300 (1 / sqrt(1e-5)) on the image that wakes it: its logits are then in the hundreds, whatever it shows. In
    training a batch's own variance has kept it within bounds.

    Args:
        network: any; only running variances below `LEAST_VARIANCE` times their layer's median change.

    Returns:
        The network itself.
    """
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
            norm.running_var.clamp_(min=LEAST_VARIANCE * norm.running_var.median())
    return network


@torch.no_grad()
def rebase(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Gives every batch norm other images' statistics, and the scale and shift that keep the network's function.

    The function of a supernet is its largest subnet's.

    What is normalised to zero mean and unit variance on these images comes out as before; so recalibrating on such
    images, or training, which normalises by the batch, begins with the function that there was. On Caltech-101 at
    80 px a network of ImageNet is then right on 81.4 % of the validation images instead of 77.1 %
    (`benchmarks/grown_elastic.py --steps 0 --measured val`, with and without `--settled`).

    Args:
        network: any (one without batch norm stays as it is), or a supernet whose statistics are those of its largest
            subnet; left in evaluation mode.
        batches: images (n, 3, h, w), normalised. Each counts alike, as in `recalibrate`.

    Raises:
        InputError: there are no batches.
    """
    found: dict[nn.BatchNorm2d, list[tuple[Tensor, Tensor]]] = {}
    which = (network.space.largest(),) if isinstance(network, Supernet) else ()

    def keep(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        var, mean = torch.var_mean(inputs[0], (0, 2, 3))
        found.setdefault(norm, []).append((mean, var))

    with ExitStack() as hooks:
        for module in network.eval().modules():
            if isinstance(module, nn.BatchNorm2d):
                hooks.callback(module.register_forward_pre_hook(keep).remove)
        for images in batches:
            network(images, *which)
    if not found and any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise InputError("expected at least one batch of images to rebase batch norm on, got none.")
    for norm, statistics in found.items():
        mean, var = (torch.stack(values).mean(0) for values in zip(*statistics, strict=True))
        _restate(norm, mean, var)


def _restate(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor) -> None:
    """The same function of its inputs with other statistics."""
    assert norm.running_mean is not None and norm.running_var is not None
    old = (norm.running_var + norm.eps).sqrt()
    norm.bias.add_(norm.weight * (mean - norm.running_mean) / old)
    norm.weight.mul_((var + norm.eps).sqrt() / old)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
