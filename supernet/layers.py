"""Plain layers that the supernet and its extracted subnets share. Tensors are (batch, channels, height, width)."""

from collections import OrderedDict
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.supernet.distributed import Group, normalised_together
from nat.supernet.structure import Conventions

BATCH_NORM_MOMENTUM = 0.1
DENSE_POSITIONS = 16  # maps of at most 4 x 4
BROADCAST_PRODUCTS = 64  # products of input and output positions up to which broadcasting beats matrix products


def activation(name: str) -> nn.Module:
    """The module of an activation: "relu", "relu6" or "h_swish"."""
    return {"relu": nn.ReLU, "relu6": nn.ReLU6, "h_swish": nn.Hardswish}[name](inplace=True)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of the first channels if the input has fewer, with the momentum of OFA and NAT.

    In training mode the running statistics of a slice are updated by whichever subnet runs: they fit no subnet in
    particular, and every subnet is recalibrated before it is judged (`nat.supernet.calibration`).

    Attributes:
        group: the processes that train together and whose batches are normalised as one; None for this one alone.
    """

    group: Group | None = None

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__(channels, eps=epsilon, momentum=BATCH_NORM_MOMENTUM)

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (n, c, h, w)."""
        c = input.shape[1]
        if c == self.num_features and (self.group is None or not self.training):
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        mean, var, weight, bias = self.running_mean[:c], self.running_var[:c], self.weight[:c], self.bias[:c]
        momentum = self.momentum or 0.0
        if self.training:
            self.num_batches_tracked.add_(1)
            if self.group is not None:
                return normalised_together(input, mean, var, weight, bias, momentum, self.eps, self.group)
        return F.batch_norm(input, mean, var, weight, bias, self.training, momentum, self.eps)


def train_together(network: nn.Module, group: Group) -> None:
    """Makes every batch norm of a network normalise the batches of all processes of a group as one."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.group = group


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


def margins(size: int, kernel: int, stride: int, same_padding: bool) -> tuple[int, int]:
    """Padding in front of and behind an axis, such that ceil(size / stride) positions come out.

    Symmetric, or as TensorFlow's "same" has it: no more than needed, of an odd number less in front. The two differ
    for stride 2 and even sizes only, and there by one pixel.
    """
    if not same_padding:
        return kernel // 2, kernel // 2
    needed = max(0, (size - 1) // stride * stride + kernel - size)
    return needed // 2, needed - needed // 2


def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Images (n, c, h, w) with zeros around as TensorFlow's "same" padding puts them; see `margins`."""
    rows, columns = (margins(size, kernel, stride, same_padding=True) for size in x.shape[-2:])
    return F.pad(x, (*columns, *rows))


def depthwise(x: Tensor, weight: Tensor, stride: int, same_padding: bool = False, bias: Tensor | None = None) -> Tensor:
    """Depthwise convolution that keeps the size, but for the stride, by whichever way is fast for the size of the map.

    oneDNN is very slow on tiny maps, above all backwards. There, on a CPU, each channel is a small dense matrix from
    input to output positions instead: 3 to 13 times faster forward and backward (benchmarks/depthwise.py), equal to
    rounding. Exported networks have the convolution.

    Args:
        x: shape (n, channels, h, w).
        weight: shape (channels, 1, k, k), k odd.
        stride: 1 or 2.
        same_padding: see `margins`.
        bias: shape (channels,), or None.

    Returns:
        Shape (n, channels, ceil(h / stride), ceil(w / stride)).
    """
    height, width = x.shape[-2:]
    positions = height * width
    if x.device.type == "cpu" and positions <= DENSE_POSITIONS and not torch.compiler.is_compiling():
        out = _dense_depthwise(x, weight, stride, same_padding)
        return out if bias is None else out + bias[:, None, None]
    if stride == 1:
        weight = cropped_kernel(weight, height, width)
    elif same_padding:
        return F.conv2d(padded(x, weight.shape[-1], stride), weight, bias, stride, 0, 1, x.shape[1])
    padding = (weight.shape[-2] // 2, weight.shape[-1] // 2)
    return F.conv2d(x, weight, bias, stride, padding, 1, x.shape[1])


def _dense_depthwise(x: Tensor, weight: Tensor, stride: int, same_padding: bool) -> Tensor:
    n, channels, height, width = x.shape
    out_height, out_width = (height - 1) // stride + 1, (width - 1) // stride + 1
    inputs, outputs = height * width, out_height * out_width
    taps = _taps(weight.shape[-1], stride, height, width, same_padding).to(weight.dtype)
    dense = (weight.flatten(1) @ taps).view(channels, inputs, outputs)
    if inputs * outputs <= BROADCAST_PRODUCTS:
        flat = x.permute(0, 2, 3, 1).reshape(n, inputs, 1, channels)
        out = (flat * dense.permute(1, 2, 0)).sum(1)
    else:
        out = torch.bmm(x.flatten(2).permute(1, 0, 2), dense).permute(1, 2, 0)
    return out.reshape(n, out_height, out_width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must do for later calls, with gradients, too
def _taps(kernel: int, stride: int, height: int, width: int, same_padding: bool) -> Tensor:
    """Which tap of a kernel joins which input to which output position, shape (kernel^2, inputs * outputs), 0 or 1."""
    rows, columns = torch.arange(height), torch.arange(width)
    out_rows, out_columns = rows[::stride], columns[::stride]
    top, left = (margins(size, kernel, stride, same_padding)[0] for size in (height, width))
    row_tap = rows[:, None] - out_rows + top  # (height, out_height)
    column_tap = columns[:, None] - out_columns + left
    tap = row_tap[:, None, :, None] * kernel + column_tap[None, :, None, :]
    inside = ((row_tap >= 0) & (row_tap < kernel))[:, None, :, None] & ((column_tap >= 0) & (column_tap < kernel))[
        None, :, None, :
    ]
    chosen = torch.where(inside, tap, -1).flatten()
    return (chosen == torch.arange(kernel * kernel)[:, None]).float()


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution; on tiny maps on a CPU a matrix product instead, 2 to 3 times faster there and equal to rounding.

    Args:
        x: shape (n, in_channels, h, w).
        weight: shape (out_channels, in_channels, 1, 1).
        bias: shape (out_channels,), or None.
    """
    positions = x.shape[-2] * x.shape[-1]
    if x.device.type == "cpu" and positions <= DENSE_POSITIONS and not torch.compiler.is_compiling():
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolves a batch."""
        images = padded(input, self.kernel_size[0], self.stride[0])
        return F.conv2d(images, self.weight, self.bias, self.stride, 0, 1, self.groups)


class FastConv2d(nn.Conv2d):
    """A depthwise or 1x1 convolution by the fast ways for tiny maps; results and weights are those of `nn.Conv2d`."""

    same_padding = False

    def forward(self, input: Tensor) -> Tensor:
        """Convolves a batch."""
        if self.groups == 1:
            return pointwise(input, self.weight, self.bias)
        return depthwise(input, self.weight, self.stride[0], self.same_padding, self.bias)


class FastSameConv2d(FastConv2d):
    """The same with TensorFlow's "same" padding."""

    same_padding = True


def convolution(fast: bool, same_padding: bool = False) -> type[nn.Conv2d]:
    """The class of a convolution: torch's or, where it is depthwise or 1x1, the one that is fast on tiny maps.

    Args:
        fast: the latter.
        same_padding: with TensorFlow's "same" padding, which differs from torch's at strides above 1.
    """
    if same_padding:
        return FastSameConv2d if fast else SameConv2d
    return FastConv2d if fast else nn.Conv2d


class ConvNorm(nn.Sequential):
    """Convolution that keeps the size, but for the stride, batch norm and, perhaps, an activation.

    Children `conv`, `bn`, `act`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        conventions: Conventions,
        depthwise: bool = False,
        act: str | None = None,
        fast: bool = False,
    ) -> None:
        make = convolution(fast and (depthwise or kernel == 1), conventions.same_padding and stride > 1)
        groups = out_channels if depthwise else 1
        conv = make(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        children: list[tuple[str, nn.Module]] = [("conv", conv), ("bn", BatchNorm(out_channels, conventions.epsilon))]
        if act is not None:
            children.append(("act", activation(act)))
        super().__init__(OrderedDict(children))


class SqueezeExcite(nn.Module):
    """Channel weights from a two-layer network on the spatial means (MobileNetV3: ReLU, then hard sigmoid)."""

    def __init__(self, channels: int, hidden: int, *, fast: bool = False) -> None:
        super().__init__()
        make = convolution(fast)
        self.fc = nn.ModuleDict({"reduce": make(channels, hidden, 1), "expand": make(hidden, channels, 1)})

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
