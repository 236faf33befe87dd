"""Multiply-adds and parameters of any network, counted as it runs; nothing is computed.

The conventions are those of `nat.supernet.costs`: convolutions and linear layers, one multiply-add counts as one, batch
size 1.
"""

from functools import cache

import torch
from torch import Tensor, nn

from nat.supernet.cells.operations import operation


def count(network: nn.Module, *shape: int) -> tuple[int, int]:
    """Multiply-adds for one input, and parameters.

    Args:
        network: made on the device "meta", or it is computed with; its mode is kept.
        shape: of the input without the batch, (channels, height, width).
    """
    macs = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer.weight, Tensor)
        macs += layer.weight.numel() * out[0].numel() // layer.weight.shape[0]

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    device = next((parameter.device for parameter in network.parameters()), torch.device("meta"))
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape, device=device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return macs, sum(parameter.numel() for parameter in network.parameters())


@cache
def operation_costs(name: str, channels: int, stride: int, size: int) -> tuple[int, int]:
    """Multiply-adds and parameters of a candidate operation on maps of size x size."""
    with torch.device("meta"):
        module = operation(name, channels, stride)
    return count(module, channels, size, size)
