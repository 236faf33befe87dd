"""The candidate operations on the edges of cells, by name. Tensors are (batch, channels, height, width).

    >>> operation("sep_conv_3x3", channels=16, stride=2)(torch.zeros(1, 16, 8, 8)).shape
    torch.Size([1, 16, 4, 4])

Every operation keeps the channels and divides the size by its stride, rounded up. Those of DARTS (Liu et al., ICLR
2019) are as in its published code: convolutions are ReLU, convolution, batch norm; separable ones are applied twice,
dilated ones once; a skip connection at stride 2 is a factorised reduction; pools count no padding. The names of
NAS-Bench-201 (Dong and Yang, ICLR 2020) are the same convolutions under its names.

Differs from the published code: maps of odd sizes are padded where that would fail in a factorised reduction.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.errors import unknown_name

NONE, SKIP = "none", "skip_connect"

# candidates of published searches, in the order of their code where there is one
SEVEN = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)  # of the cells that DARTS derives, and NASP's smaller space
DARTS = ("none", *SEVEN)  # of DARTS' search
NASP_NORMAL = (
    "skip_connect",
    "conv_3x1_1x3",
    "dil_conv_3x3",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
)  # of NASP's published code (Yao et al., AAAI 2020), normal cells
NASP_REDUCTION = ("skip_connect", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7")  # reduction cells
TWELVE = (*NASP_NORMAL, *NASP_REDUCTION[1:])  # the larger space of NASP's paper
NAS_BENCH_201 = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@dataclass(frozen=True, slots=True)
class Norm:
    """How operations are normalised.

    Attributes:
        affine: batch norms have a scale and a shift. Off while architectures are searched, so that the sizes of
            operations' outputs are comparable (the authors' answer in DARTS' issue 10).
        tracked: batch norms keep running statistics, which evaluation uses.
        pools: pools have a batch norm, which has no scale and shift, as in DARTS' search network only.
    """

    affine: bool = True
    tracked: bool = True
    pools: bool = False

    def __call__(self, channels: int) -> nn.BatchNorm2d:
        """A batch norm."""
        return nn.BatchNorm2d(channels, affine=self.affine, track_running_stats=self.tracked)


class Zero(nn.Module):
    """No connection: zeros of the shape that other operations would give."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Zeros (n, c, ceil(h / stride), ceil(w / stride))."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """Halves the size: two 1x1 convolutions of stride 2, one a pixel further right and down, joined."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        first = out_channels // 2
        self.even = nn.Conv2d(in_channels, first, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - first, 1, stride=2, bias=False)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, h, w) to (n, out_channels, ceil(h / 2), ceil(w / 2))."""
        x = F.relu(x)
        shifted = F.pad(x[:, :, 1:, 1:], (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return out


def relu_conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int, norm: Norm) -> nn.Sequential:
    """ReLU, convolution that keeps the size but for the stride, batch norm."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, norm(out_channels))


def _depthwise_separable(channels: int, kernel: int, stride: int, norm: Norm, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    return nn.Sequential(nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), norm(channels))


def _none(channels: int, stride: int, norm: Norm) -> nn.Module:
    return Zero(stride)


def _skip(channels: int, stride: int, norm: Norm) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, norm)


def _pool(channels: int, stride: int, norm: Norm, kernel: int, average: bool) -> nn.Module:
    pool: nn.Module = (
        nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
        if average
        else nn.MaxPool2d(kernel, stride, kernel // 2)
    )
    return nn.Sequential(pool, Norm(False, norm.tracked)(channels)) if norm.pools else pool


def _separable(channels: int, stride: int, norm: Norm, kernel: int) -> nn.Module:
    first = _depthwise_separable(channels, kernel, stride, norm)
    return nn.Sequential(*first, *_depthwise_separable(channels, kernel, 1, norm))


def _dilated(channels: int, stride: int, norm: Norm, kernel: int) -> nn.Module:
    return _depthwise_separable(channels, kernel, stride, norm, dilation=2)


def _convolution(channels: int, stride: int, norm: Norm, kernel: int) -> nn.Module:
    return relu_conv_norm(channels, channels, kernel, stride, norm)


def _crossed(channels: int, stride: int, norm: Norm, length: int) -> nn.Module:
    """A row, then a column."""
    row = nn.Conv2d(channels, channels, (1, length), (1, stride), (0, length // 2), bias=False)
    column = nn.Conv2d(channels, channels, (length, 1), (stride, 1), (length // 2, 0), bias=False)
    return nn.Sequential(nn.ReLU(), row, column, norm(channels))


_BUILDERS: Mapping[str, Callable[[int, int, Norm], nn.Module]] = MappingProxyType(
    {
        NONE: _none,
        SKIP: _skip,
        "avg_pool_3x3": partial(_pool, kernel=3, average=True),
        "max_pool_3x3": partial(_pool, kernel=3, average=False),
        "max_pool_5x5": partial(_pool, kernel=5, average=False),
        "max_pool_7x7": partial(_pool, kernel=7, average=False),
        "sep_conv_3x3": partial(_separable, kernel=3),
        "sep_conv_5x5": partial(_separable, kernel=5),
        "sep_conv_7x7": partial(_separable, kernel=7),
        "dil_conv_3x3": partial(_dilated, kernel=3),
        "dil_conv_5x5": partial(_dilated, kernel=5),
        "conv_1x1": partial(_convolution, kernel=1),
        "conv_3x3": partial(_convolution, kernel=3),
        "conv_3x1_1x3": partial(_crossed, length=3),
        "conv_7x1_1x7": partial(_crossed, length=7),
        "nor_conv_1x1": partial(_convolution, kernel=1),
        "nor_conv_3x3": partial(_convolution, kernel=3),
    }
)
OPERATIONS = tuple(_BUILDERS)  # every name that there is


def operation(
    name: str, channels: int, stride: int, affine: bool = True, *, tracked: bool = True, pool_norm: bool = False
) -> nn.Module:
    """A candidate operation, from `channels` to as many.

    Args:
        name: one of `OPERATIONS`.
        channels: of input and output.
        stride: 1 or 2; sizes are divided by it, rounded up.
        affine: see `Norm.affine`.
        tracked: see `Norm.tracked`.
        pool_norm: see `Norm.pools`.

    Raises:
        InputError: there is no such operation.
    """
    check_operation(name)
    return _BUILDERS[name](channels, stride, Norm(affine, tracked, pool_norm))


def check_operation(name: str) -> None:
    """Raises `InputError`, with the nearest name, unless there is an operation of that name."""
    if name not in _BUILDERS:
        raise unknown_name("operation", name, OPERATIONS)
