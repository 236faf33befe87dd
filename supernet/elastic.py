"""Layers whose kernel size and channels are chosen at each call; the weights of all choices overlap.

Weight sharing as in once-for-all (Cai et al., ICLR 2020): the first channels are shared, and a smaller kernel is the
centre of the next larger one times a learned matrix. Nothing is remembered between calls: a choice is an argument.
The modules nest as OFA's do, so that the names of their tensors are those of the published checkpoints.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.supernet.layers import BatchNorm, SqueezeExcite, activation, depthwise, pointwise
from nat.supernet.slots import Slot, squeeze_channels


class ElasticPointwise(nn.Module):
    """1x1 convolution of the first input channels to the first output channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def kernel(self, in_channels: int, out_channels: int) -> Tensor:
        """Weights of a choice, shape (out_channels, in_channels, 1, 1)."""
        return self.conv.weight[:out_channels, :in_channels]

    def forward(self, x: Tensor, out_channels: int) -> Tensor:
        """Convolves (n, c, h, w) to (n, out_channels, h, w)."""
        return pointwise(x, self.kernel(x.shape[1], out_channels))


class ElasticDepthwise(nn.Module):
    """Depthwise convolution of the first channels with one of several kernel sizes."""

    def __init__(self, channels: int, kernels: tuple[int, ...], stride: int, same_padding: bool) -> None:
        super().__init__()
        self.same_padding = same_padding
        self.conv = nn.Conv2d(channels, channels, kernels[-1], stride, kernels[-1] // 2, groups=channels, bias=False)
        self._steps = list(zip(kernels[:0:-1], kernels[-2::-1], strict=True))  # (7, 5), (5, 3)
        for large, small in self._steps:
            identity = torch.zeros(small**2, small**2).fill_diagonal_(1)  # eye takes seconds on the meta device
            self.register_parameter(f"{large}to{small}_matrix", nn.Parameter(identity))

    def kernel(self, channels: int, size: int) -> Tensor:
        """Weights of a choice, shape (channels, 1, size, size).

        The transforms chain: 3x3 comes from the centre of the transformed 5x5, not from the centre of the 7x7.
        """
        weight = self.conv.weight[:channels]
        for large, small in self._steps:
            if size >= large:
                break
            margin = (large - small) // 2
            centre = weight[:, :, margin : large - margin, margin : large - margin].reshape(channels, small**2)
            matrix = self.get_parameter(f"{large}to{small}_matrix")
            weight = F.linear(centre, matrix).reshape(channels, 1, small, small)
        return weight

    def forward(self, x: Tensor, size: int) -> Tensor:
        """Convolves (n, c, h, w) with kernels of size x size."""
        return depthwise(x, self.kernel(x.shape[1], size), self.conv.stride[0], self.same_padding)


class ElasticBatchNorm(nn.Module):
    """Puts a batch norm under the name `bn`, where OFA's checkpoints have it."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.bn = BatchNorm(channels, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (n, c, h, w) by the first channels' statistics."""
        normalised: Tensor = self.bn(x)
        return normalised


class ElasticSqueezeExcite(SqueezeExcite):
    """Squeeze-and-excite of the first channels, with as many hidden units as a block of that width has."""

    def forward(self, x: Tensor) -> Tensor:
        """Scales the channels of (n, c, h, w)."""
        channels, hidden = x.shape[1], squeeze_channels(x.shape[1])
        get = self.fc.get_parameter
        squeezed = x.mean((2, 3), keepdim=True)
        middle = F.conv2d(squeezed, get("reduce.weight")[:hidden, :channels], get("reduce.bias")[:hidden])
        scale = F.conv2d(F.relu(middle), get("expand.weight")[:channels, :hidden], get("expand.bias")[:channels])
        return x * F.hardsigmoid(scale)


class _ElasticConvNorm(nn.Module):
    """Holder of an elastic convolution, its batch norm and activation, under OFA's names."""

    def __init__(
        self, conv: ElasticPointwise | ElasticDepthwise, channels: int, epsilon: float, act: str | None = None
    ) -> None:
        super().__init__()
        self.conv = conv
        self.bn = ElasticBatchNorm(channels, epsilon)
        self.act = activation(act) if act else nn.Identity()

    def forward(self, x: Tensor, choice: int) -> Tensor:
        """Applies all three; `choice` is the convolution's: a kernel size or a number of output channels."""
        normalised: Tensor = self.act(self.bn(self.conv(x, choice)))
        return normalised


class ElasticInvertedResidual(nn.Module):
    """Inverted residual block (expand, depthwise, squeeze-and-excite, project) of elastic kernel and expand ratio."""

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.slot = slot
        mid, act, epsilon = slot.mid_channels(slot.expands[-1]), slot.activation, slot.conventions.epsilon
        spatial = ElasticDepthwise(mid, slot.kernels, slot.stride, slot.conventions.same_padding)
        self.inverted_bottleneck = _ElasticConvNorm(ElasticPointwise(slot.in_channels, mid), mid, epsilon, act)
        self.depth_conv = _ElasticConvNorm(spatial, mid, epsilon, act)
        if slot.squeeze_excite:
            self.depth_conv.add_module("se", ElasticSqueezeExcite(mid, squeeze_channels(mid)))
        self.point_linear = _ElasticConvNorm(ElasticPointwise(mid, slot.out_channels), slot.out_channels, epsilon)

    def forward(self, x: Tensor, kernel: int, expand: float) -> Tensor:
        """Maps (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride), rounded up."""
        out: Tensor = self.inverted_bottleneck(x, self.slot.mid_channels(expand))
        out = self.depth_conv(out, kernel)
        if self.slot.squeeze_excite:
            out = self.depth_conv.get_submodule("se")(out)
        out = self.point_linear(out, self.slot.out_channels)
        return x + out if self.slot.residual else out
