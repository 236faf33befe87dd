"""A single architecture as an ordinary network: plain layers, no elastic machinery, ready to train or export."""

from collections import OrderedDict

from torch import Tensor, nn

from nat.supernet.architecture import Architecture
from nat.supernet.layers import ConvNorm, SqueezeExcite, activation, convolution
from nat.supernet.space import (
    FEATURE_MIX_WIDTH,
    FINAL_EXPAND_WIDTH,
    STEM_WIDTH,
    MobileNetV3Space,
    Slot,
    squeeze_channels,
)


class InvertedResidual(nn.Module):
    """Inverted residual block: 1x1 expansion, depthwise convolution, squeeze-and-excite, linear 1x1 projection."""

    def __init__(self, slot: Slot, kernel: int, expand: float, *, fast: bool = False) -> None:
        super().__init__()
        self.residual = slot.residual
        mid, act = slot.mid_channels(expand), slot.activation
        self.inverted_bottleneck = ConvNorm(slot.in_channels, mid, act=act, fast=fast)
        self.depth_conv = ConvNorm(mid, mid, kernel, slot.stride, depthwise=True, act=act, fast=fast)
        if slot.squeeze_excite:
            self.depth_conv.add_module("se", SqueezeExcite(mid, squeeze_channels(mid), fast=fast))
        self.point_linear = ConvNorm(mid, slot.out_channels, fast=fast)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride), rounded up."""
        out: Tensor = self.point_linear(self.depth_conv(self.inverted_bottleneck(x)))
        return x + out if self.residual else out


class FixedBlock(nn.Module):
    """The block behind the stem, which is not searched: depthwise 3x3 with ReLU, linear 1x1, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth_conv = ConvNorm(channels, channels, 3, depthwise=True, act="relu")
        self.point_linear = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        out: Tensor = x + self.point_linear(self.depth_conv(x))
        return out


class Block(nn.Module):
    """Puts a block under the name `conv`, where OFA's checkpoints have it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv


class Skeleton(nn.Module):
    """What a supernet and its subnets share: stem, fixed block, head. The classifier's input is one vector an image."""

    def __init__(self, space: MobileNetV3Space, num_classes: int, dropout: float = 0.0, *, fast: bool = False) -> None:
        super().__init__()
        stem = space.channels(STEM_WIDTH)
        final, mix = space.channels(FINAL_EXPAND_WIDTH), space.channels(FEATURE_MIX_WIDTH)
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        self.first_conv = ConvNorm(3, stem, 3, 2, act="h_swish")
        self.blocks = nn.ModuleList([Block(FixedBlock(stem))])
        self.final_expand_layer = ConvNorm(space.slots[-1].out_channels, final, act="h_swish", fast=fast)
        self.feature_mix_layer = nn.Sequential(
            OrderedDict(conv=convolution(fast)(final, mix, 1, bias=False), act=activation("h_swish"))
        )
        self.classifier = nn.Sequential(OrderedDict(linear=nn.Linear(mix, num_classes)))

    def start(self, images: Tensor) -> Tensor:
        """Stem and fixed block."""
        out: Tensor = self.blocks[0].get_submodule("conv")(self.first_conv(images))
        return out

    def finish(self, features: Tensor) -> Tensor:
        """Head: (n, c, h, w) to logits (n, num_classes)."""
        pooled = self.final_expand_layer(features).mean((2, 3), keepdim=True)
        logits: Tensor = self.classifier(self.dropout(self.feature_mix_layer(pooled).flatten(1)))
        return logits


class Subnet(Skeleton):
    """The network of one architecture.

    Args:
        space: the space that the architecture belongs to.
        architecture: which layers, kernels and expand ratios.
        num_classes: outputs.
        dropout: probability before the classifier, in training.
        fast: skip kernel taps that only see padding: the same function and weights, much faster on tiny maps
            on a CPU. Off by default, so that counters of operations see every layer as it is defined.
    """

    def __init__(
        self,
        space: MobileNetV3Space,
        architecture: Architecture,
        num_classes: int,
        *,
        dropout: float = 0.0,
        fast: bool = False,
    ) -> None:
        space.validate(architecture)
        super().__init__(space, num_classes, dropout, fast=fast)
        self.architecture = architecture
        for index, kernel, expand in space.active_slots(architecture):
            self.blocks.append(Block(InvertedResidual(space.slots[index], kernel, expand, fast=fast)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, h, w)."""
        x = self.start(images)
        for block in list(self.blocks)[1:]:
            x = block.get_submodule("conv")(x)
        return self.finish(x)
