"""A single architecture as an ordinary network: plain layers, no elastic machinery, ready to train or export."""

from collections import OrderedDict

from torch import Tensor, nn

from nat.supernet.architecture import Architecture
from nat.supernet.layers import ConvNorm, SqueezeExcite, activation, convolution
from nat.supernet.slots import Slot, squeeze_channels
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import Conventions


class InvertedResidual(nn.Module):
    """Inverted residual block: 1x1 expansion, depthwise convolution, squeeze-and-excite, linear 1x1 projection."""

    def __init__(self, slot: Slot, kernel: int, expand: float, *, fast: bool = False) -> None:
        super().__init__()
        self.residual = slot.residual
        self.drop_path: nn.Module = nn.Identity()  # fine-tuning may put stochastic depth here for a while
        mid, act, like = slot.mid_channels(expand), slot.activation, slot.conventions
        self.inverted_bottleneck = ConvNorm(slot.in_channels, mid, conventions=like, act=act, fast=fast)
        self.depth_conv = ConvNorm(mid, mid, kernel, slot.stride, conventions=like, depthwise=True, act=act, fast=fast)
        if slot.squeeze_excite:
            self.depth_conv.add_module("se", SqueezeExcite(mid, squeeze_channels(mid), fast=fast))
        self.point_linear = ConvNorm(mid, slot.out_channels, conventions=like, fast=fast)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride), rounded up."""
        out: Tensor = self.point_linear(self.depth_conv(self.inverted_bottleneck(x)))
        return x + self.drop_path(out) if self.residual else out


class FixedBlock(nn.Module):
    """The block behind the stem, which is not searched: depthwise 3x3, linear 1x1; added to its input if it fits."""

    def __init__(self, in_channels: int, out_channels: int, act: str, conventions: Conventions) -> None:
        super().__init__()
        self.residual = in_channels == out_channels
        self.depth_conv = ConvNorm(in_channels, in_channels, 3, conventions=conventions, depthwise=True, act=act)
        self.point_linear = ConvNorm(in_channels, out_channels, conventions=conventions)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, h, w) to (n, out_channels, h, w)."""
        out: Tensor = self.point_linear(self.depth_conv(x))
        return x + out if self.residual else out


class Block(nn.Module):
    """Puts a block under the name `conv`, where OFA's checkpoints have it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv


class Skeleton(nn.Module):
    """What a supernet and its subnets share: stem, fixed block, head. The classifier's input is one vector an image."""

    def __init__(self, space: MobileNetSpace, num_classes: int, dropout: float = 0.0, *, fast: bool = False) -> None:
        super().__init__()
        structure, like, channels = space.structure, space.structure.conventions, space.channels
        stem = channels(structure.stem)
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        self.first_conv = ConvNorm(3, stem, 3, 2, conventions=like, act=structure.stem_activation)
        fixed = FixedBlock(stem, channels(structure.fixed), structure.fixed_activation, like)
        self.blocks = nn.ModuleList([Block(fixed)])
        self._add_head(space, fast)
        self.classifier = nn.Sequential(OrderedDict(linear=nn.Linear(channels(structure.head.mix), num_classes)))

    def _add_head(self, space: MobileNetSpace, fast: bool) -> None:
        head, like = space.structure.head, space.structure.conventions
        last, mix = space.slots[-1].out_channels, space.channels(head.mix)
        if head.expand is None:
            self.feature_mix_layer: nn.Sequential = ConvNorm(
                last, mix, conventions=like, act=head.activation, fast=fast
            )
            return
        final = space.channels(head.expand)
        self.final_expand_layer = ConvNorm(last, final, conventions=like, act=head.activation, fast=fast)
        conv = convolution(fast)(final, mix, 1, bias=head.bias)
        self.feature_mix_layer = nn.Sequential(OrderedDict(conv=conv, act=activation(head.activation)))

    def start(self, images: Tensor) -> Tensor:
        """Stem and fixed block."""
        out: Tensor = self.blocks[0].get_submodule("conv")(self.first_conv(images))
        return out

    def finish(self, features: Tensor) -> Tensor:
        """Head: (n, c, h, w) to logits (n, num_classes)."""
        logits: Tensor = self.classifier(self.dropout(self.pooled(features)))
        return logits

    def pooled(self, features: Tensor) -> Tensor:
        """The head but for the classifier: (n, c, h, w) to vectors (n, v)."""
        if isinstance(self.feature_mix_layer, ConvNorm):
            vectors: Tensor = self.feature_mix_layer(features).mean((2, 3))
            return vectors
        pooled = self.final_expand_layer(features).mean((2, 3), keepdim=True)
        vectors = self.feature_mix_layer(pooled).flatten(1)
        return vectors


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
        space: MobileNetSpace,
        architecture: Architecture,
        num_classes: int,
        *,
        dropout: float = 0.0,
        fast: bool = False,
    ) -> None:
        space.validate_layers(architecture)
        super().__init__(space, num_classes, dropout, fast=fast)
        self.architecture, self.structure = architecture, space.structure
        for index, kernel, expand in space.active_slots(architecture):
            self.blocks.append(Block(InvertedResidual(space.slots[index], kernel, expand, fast=fast)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, h, w)."""
        return self.finish(self.features(images))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Which parameters are one layer, as timm asks for layer-wise rates: stem, blocks; what is left is the head.

        Args:
            coarse: part of timm's interface; stages are blocks here.
        """
        return {"stem": r"^first_conv|^blocks\.0\.", "blocks": r"^blocks\.(\d+)\."}

    def features(self, images: Tensor) -> Tensor:
        """Maps (n, channels, h, w) behind the stages."""
        x = self.start(images)
        for block in list(self.blocks)[1:]:
            x = block.get_submodule("conv")(x)
        return x
