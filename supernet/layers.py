"""Plain layers that the supernet and its extracted subnets share. Tensors are (batch, channels, height, width)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1


def activation(name: str) -> nn.Module:
    """The module of an activation: "relu" or "h_swish"."""
    return {"relu": nn.ReLU, "h_swish": nn.Hardswish}[name](inplace=True)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the constants of OFA and NAT."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


def cropped_kernel(weight: Tensor, height: int, width: int) -> Tensor:
    """The part of a stride-1 kernel that can meet an input of that size, exactly: the centre of at most 2 * size - 1.

    The taps outside only ever see padding. On tiny maps this is many times faster on a CPU.

    Args:
        weight: kernels, shape (channels, 1, k, k), k odd.
        height: of the input.
        width: of the input.
    """
    size = weight.shape[-1]
    top = max(0, size // 2 - (height - 1))
    left = max(0, size // 2 - (width - 1))
    return weight[:, :, top : size - top, left : size - left] if top or left else weight


class CroppedConv2d(nn.Conv2d):
    """A depthwise `nn.Conv2d`, of the same weights and results, that skips the taps that only see padding."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolves a batch."""
        if self.stride != (1, 1):
            return super().forward(input)
        weight = cropped_kernel(self.weight, input.shape[-2], input.shape[-1])
        padding = (weight.shape[-2] // 2, weight.shape[-1] // 2)
        return F.conv2d(input, weight, None, 1, padding, 1, self.groups)


class ConvNorm(nn.Sequential):
    """Convolution with "same" padding, batch norm and, perhaps, an activation; children `conv`, `bn`, `act`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        act: str | None = None,
        crop_kernel: bool = False,
    ) -> None:
        make = CroppedConv2d if crop_kernel else nn.Conv2d
        groups = out_channels if depthwise else 1
        conv = make(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        children: list[tuple[str, nn.Module]] = [("conv", conv), ("bn", batch_norm(out_channels))]
        if act is not None:
            children.append(("act", activation(act)))
        super().__init__(OrderedDict(children))


class SqueezeExcite(nn.Module):
    """Channel weights from a two-layer network on the spatial means (MobileNetV3: ReLU, then hard sigmoid)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.ModuleDict(
            {"reduce": nn.Conv2d(channels, hidden, 1), "expand": nn.Conv2d(hidden, channels, 1)},
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scales the channels of a batch."""
        hidden = F.relu(self.fc["reduce"](x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.fc["expand"](hidden))


def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """He initialisation (fan out) of convolutions, N(0, 0.01) and zeros for classifiers."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            initialise_classifier(layer, generator)


def initialise_classifier(layer: nn.Linear, generator: torch.Generator | None = None) -> None:
    """Small zero-mean weights: the logits of a fresh classifier start near zero."""
    nn.init.normal_(layer.weight, std=0.01, generator=generator)
    nn.init.zeros_(layer.bias)
