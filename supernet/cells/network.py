"""Networks of stacked cells, out of a genotype and numbers.

    >>> from nat.supernet.cells.spelling import find_genotype
    >>> CellNetwork(find_genotype("darts-v2"), CIFAR)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])

Normal cells keep the size, reductions halve it and double the channels. Forms are those of DARTS' code for CIFAR-10 and
ImageNet (Liu et al., ICLR 2019) and of NAS-Bench-201 (Dong and Yang, ICLR 2020), whose reductions are residual blocks;
any others are the same with other numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.errors import InputError
from nat.supernet.cells.genotype import Cell, Genotype
from nat.supernet.cells.operations import FactorizedReduce, Norm, operation, relu_conv_norm


class Layout(NamedTuple):
    """A layer of a network of cells.

    Attributes:
        reduces: whether it halves the size.
        channels: of its operations.
        size: of the maps before it, pixels.
        after: of those behind it.
    """

    reduces: bool
    channels: int
    size: int
    after: int


@dataclass(frozen=True)
class CellForm:
    """Everything of a network but its cells.

    Attributes:
        layers: cells, reductions included.
        channels: of the operations in the first cells.
        num_classes: outputs.
        reductions: which layers halve the size, from 0 on; None for those a third and two thirds through.
        stem_multiple: channels of a stem of one convolution, in `channels`.
        imagenet: the stem has three convolutions of stride 2 instead.
        final_norm: batch norm and ReLU before the mean over the positions, as in NAS-Bench-201.
        resolution: input size that costs are counted at, pixels.
    """

    layers: int
    channels: int
    num_classes: int
    reductions: tuple[int, ...] | None = None
    stem_multiple: int = 3
    imagenet: bool = False
    final_norm: bool = False
    resolution: int = 32

    def __post_init__(self) -> None:
        """Refuses numbers that no network has.

        Raises:
            InputError: a number is too small, or a reduction is not among the layers.
        """
        numbers = (self.layers, self.channels - 1, self.num_classes, self.stem_multiple, self.resolution)
        if min(numbers) < 1 or not set(self.places) <= set(range(self.layers)):
            raise InputError(
                "expected at least 1 layer, 2 channels, 1 class and 1 pixel, and reductions among the layers, got "
                f"{self}."
            )

    @property
    def places(self) -> tuple[int, ...]:
        """The layers that halve the size, ascending."""
        thirds = (self.layers // 3, 2 * self.layers // 3)
        return tuple(sorted(set(thirds if self.reductions is None else self.reductions)))

    def layouts(self) -> Iterator[Layout]:
        """The layers, from the first on."""
        channels, size = self.channels, self.resolution
        for _ in range(3 if self.imagenet else 0):  # convolutions of stride 2 in the stem
            size = (size + 1) // 2
        for layer in range(self.layers):
            reduces = layer in self.places
            channels *= 1 + reduces
            after = (size + 1) // 2 if reduces else size
            yield Layout(reduces, channels, size, after)
            size = after

    @property
    def auxiliary_place(self) -> int:
        """The layer behind which the auxiliary classifier is."""
        return 2 * self.layers // 3


CIFAR = CellForm(layers=20, channels=36, num_classes=10)
IMAGENET = CellForm(layers=14, channels=48, num_classes=1000, imagenet=True, resolution=224)
NAS_BENCH_201 = CellForm(layers=17, channels=16, num_classes=10, stem_multiple=1, final_norm=True)
DIGITS = CellForm(3, 8, 10, reductions=(1,), stem_multiple=1, final_norm=True, resolution=8)
FORMS = {"cifar": CIFAR, "imagenet": IMAGENET, "nas-bench-201": NAS_BENCH_201, "digits": DIGITS}


@dataclass(frozen=True)
class DropPath:
    """Drop path in training: on the outputs of all operations that are no identities.

    Attributes:
        probability: below 1.
        generator: of the draws, on the device of the images; None for torch's own.
    """

    probability: float
    generator: torch.Generator | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Zeroes whole images of a batch (n, c, h, w) and scales up the others; x is kept."""
        drawn = torch.rand(len(x), 1, 1, 1, device=x.device, generator=self.generator)
        return x * (drawn >= self.probability) / (1 - self.probability)


class CellModule(nn.Module):
    """A cell as a network.

    Args:
        cell: its nodes and edges.
        channels: of its operations; its output has as many for each of the cell's outputs.
        before: channels of its inputs, one number for each.
        halved_before: whether the first of two inputs is twice the size of the other.
        stride: 2 for a reduction.
    """

    def __init__(self, cell: Cell, channels: int, before: tuple[int, ...], halved_before: bool, stride: int) -> None:
        super().__init__()
        norm = Norm()
        self.cell = cell
        self.prepare = nn.ModuleList(_prepared(count, channels, norm, cell.inputs == 1) for count in before)
        if halved_before:
            self.prepare[0] = FactorizedReduce(before[0], channels, norm)
        self.operations = nn.ModuleList(
            operation(name, channels, stride if source < cell.inputs else 1) for source, _, name in cell.edges
        )

    def forward(self, inputs: list[Tensor], drop: DropPath | None = None) -> Tensor:
        """Maps the last outputs, oldest first, to (n, channels * outputs, h / stride, w / stride).

        Args:
            inputs: one tensor for each of the cell's inputs.
            drop: what is done to the outputs of operations, or nothing.
        """
        states = [prepare(x) for prepare, x in zip(self.prepare, inputs, strict=True)]
        for (source, node, _), op in zip(self.cell.edges, self.operations, strict=True):
            out = op(states[source])
            if drop is not None and not isinstance(op, nn.Identity):
                out = drop(out)
            if node < len(states):
                states[node] = states[node] + out
            else:
                states.append(out)
        return torch.cat([states[node] for node in self.cell.outputs], dim=1)


def _prepared(in_channels: int, channels: int, norm: Norm, single: bool) -> nn.Module:
    """What makes an input have the channels of the operations; cells of one input take it as it is, if that fits."""
    if single and in_channels == channels:
        return nn.Identity()
    return relu_conv_norm(in_channels, channels, 1, 1, norm)


class ResidualReduction(nn.Module):
    """The fixed reduction of NAS-Bench-201: two 3x3 convolutions, the first of stride 2, beside a pooled 1x1 one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = relu_conv_norm(in_channels, out_channels, 3, 2, Norm())
        self.second = relu_conv_norm(out_channels, out_channels, 3, 1, Norm())
        pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
        self.beside = nn.Sequential(pool, nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, in_channels, h, w) to (n, out_channels, ceil(h / 2), ceil(w / 2))."""
        out: Tensor = self.beside(x) + self.second(self.first(x))
        return out


class AuxiliaryHead(nn.Module):
    """A second classifier in the middle, for training only.

    Its pool takes 8 x 8 maps (CIFAR; windows of 5, stride 3) or 7 x 7 ones (ImageNet; stride 2) to 2 x 2 as published;
    other maps are pooled evenly. The ImageNet form lacks the last batch norm, as the published one does.
    """

    def __init__(self, channels: int, num_classes: int, imagenet: bool) -> None:
        super().__init__()
        self.size, self.stride = (7, 2) if imagenet else (8, 3)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.Identity() if imagenet else nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of (n, channels, h, w)."""
        x = F.relu(x)
        published = x.shape[-2:] == (self.size, self.size)
        pooled = F.avg_pool2d(x, 5, self.stride) if published else F.adaptive_avg_pool2d(x, 2)
        logits: Tensor = self.classifier(self.features(pooled).flatten(1))
        return logits


class CellNetwork(nn.Module):
    """The network of a genotype.

    Args:
        genotype: its cells; where it has no reduction cell, reductions are residual blocks.
        form: everything else.
        auxiliary: with the second classifier that trains with it (`train_logits`); evaluation never runs it.
    """

    def __init__(self, genotype: Genotype, form: CellForm, *, auxiliary: bool = False) -> None:
        super().__init__()
        self.genotype, self.form = genotype, form
        self.stems = _stems(form)
        wide = form.channels if form.imagenet else form.channels * form.stem_multiple
        before, channels, halved = (wide, wide), form.channels, form.imagenet
        self.cells = nn.ModuleList()
        self.auxiliary: AuxiliaryHead | None = None
        for layer in range(form.layers):
            reduces = layer in form.places
            channels *= 1 + reduces
            self.cells.append(self._layer(reduces, channels, before, halved))
            cell = genotype.reduce if reduces and genotype.reduce else genotype.normal
            before, halved = (before[1], channels * len(cell.outputs)), reduces
            if auxiliary and layer == form.auxiliary_place:
                self.auxiliary = AuxiliaryHead(before[1], form.num_classes, form.imagenet)
        self.norm = nn.Sequential(nn.BatchNorm2d(before[1]), nn.ReLU()) if form.final_norm else nn.Identity()
        self.classifier = nn.Linear(before[1], form.num_classes)

    def _layer(self, reduces: bool, channels: int, before: tuple[int, int], halved: bool) -> nn.Module:
        normal, reduce = self.genotype.normal, self.genotype.reduce
        if reduces and reduce is None:
            return ResidualReduction(before[1], channels * len(normal.outputs))
        cell = reduce if reduces and reduce is not None else normal
        return CellModule(cell, channels, before[-cell.inputs :], halved and cell.inputs == 2, 1 + reduces)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, h, w)."""
        return self._run(images)[0]

    def train_logits(self, images: Tensor, drop: DropPath | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits, and those of the auxiliary classifier if there is one.

        Args:
            images: shape (n, 3, h, w).
            drop: drop path, or none.
        """
        return self._run(images, drop, with_auxiliary=True)

    def _run(
        self, images: Tensor, drop: DropPath | None = None, with_auxiliary: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        states = [images, images]
        for stem in self.stems:
            states = [states[1], stem(states[1])]
        if len(self.stems) == 1:
            states[0] = states[1]
        extra: Tensor | None = None
        for layer, cell in enumerate(self.cells):
            out = cell(states[-cell.cell.inputs :], drop) if isinstance(cell, CellModule) else cell(states[1])
            states = [states[1], out]
            if with_auxiliary and self.auxiliary is not None and layer == self.form.auxiliary_place:
                extra = self.auxiliary(out)
        logits: Tensor = self.classifier(self.norm(states[1]).mean((2, 3)))
        return logits, extra


def _stems(form: CellForm) -> nn.ModuleList:
    """One convolution; or two blocks whose outputs are the first cell's two inputs, a quarter and an eighth in size."""
    if not form.imagenet:
        wide = form.channels * form.stem_multiple
        return nn.ModuleList([nn.Sequential(nn.Conv2d(3, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide))])
    c = form.channels
    first = nn.Sequential(
        nn.Conv2d(3, c // 2, 3, 2, 1, bias=False),
        nn.BatchNorm2d(c // 2),
        nn.ReLU(),
        nn.Conv2d(c // 2, c, 3, 2, 1, bias=False),
        nn.BatchNorm2d(c),
    )
    return nn.ModuleList([first, relu_conv_norm(c, c, 3, 2, Norm())])
