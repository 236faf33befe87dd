"""The places of searchable layers, and how wide what stands there is."""

from dataclasses import dataclass

from nat.supernet.structure import Conventions


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least `divisor`; the next where that loses over a tenth of `channels`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def halved(size: int) -> int:
    """Positions along an axis behind a stride of 2."""
    return (size + 1) // 2


def squeeze_channels(mid_channels: int) -> int:
    """Hidden channels of the squeeze-and-excite unit of a block with that many expanded channels."""
    return make_divisible(mid_channels // 4)


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one searchable layer: everything about it that is not searched, and its choices.

    Attributes:
        stage: index of its stage.
        layer: index in its stage.
        in_channels: channels of its input.
        out_channels: channels of its output.
        stride: 1 or 2.
        squeeze_excite: whether it has a squeeze-and-excite unit.
        activation: behind its first two convolutions.
        conventions: padding and batch norm.
        kernels: sizes to choose from, ascending.
        expands: expand ratios to choose from, ascending.
        base: channels that expand ratios multiply.
    """

    stage: int
    layer: int
    in_channels: int
    out_channels: int
    stride: int
    squeeze_excite: bool
    activation: str
    conventions: Conventions
    kernels: tuple[int, ...]
    expands: tuple[float, ...]
    base: int

    @property
    def residual(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == 1 and self.in_channels == self.out_channels

    def out_size(self, size: int) -> int:
        """Pixels of its output, of an input of size x size."""
        return halved(size) if self.stride == 2 else size

    def mid_channels(self, expand: float) -> int:
        """Channels between the expansion and the projection."""
        return make_divisible(round(self.base * expand))
