"""The search network of a cell space: every edge has all its operations, and mixtures say which of them run.

    >>> network = MixedNetwork(cell_spaces()["digits"], DIGITS)
    >>> network.choices.options["normal:0->1"]
    ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')

A choice is an edge of a kind of cell, which all cells of that kind share. As in DARTS' published code (Liu et al., ICLR
2019) batch norms have no scale and shift, and pools have one; they normalise by the batch, without running statistics,
so that architectures do not leave traces in each other. `none` is left out of the sums: it adds zeros.
"""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.errors import InputError
from nat.supernet.cells.genotype import Cell, Genotype
from nat.supernet.cells.network import CellForm, ResidualReduction
from nat.supernet.cells.operations import NONE, FactorizedReduce, Norm, Zero, operation, relu_conv_norm
from nat.supernet.cells.space import EdgeCellSpace
from nat.supernet.mixture import Choices, Mixture, mix

NORM = Norm(affine=False, tracked=False, pools=True)


def choice_name(cell: str, source: int, node: int) -> str:
    """What an edge is called."""
    return f"{cell}:{source}->{node}"


class QuickMaxPool(nn.MaxPool2d):
    """Max pooling, by rows and columns where no gradient is wanted: the same numbers, several times faster on CPUs."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__(pool.kernel_size, pool.stride, pool.padding)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, c, h, w) to (n, c, ceil(h / stride), ceil(w / stride))."""
        if torch.is_grad_enabled() or x.device.type != "cpu":
            pooled: Tensor = super().forward(x)
            return pooled
        kernel, stride = self.kernel_size, self.stride
        assert isinstance(kernel, int) and isinstance(stride, int)
        for dim in (2, 3):
            x = _running_max(x, dim, kernel, stride)
        return x


def _running_max(x: Tensor, dim: int, kernel: int, stride: int) -> Tensor:
    """The greatest of `kernel` neighbours along a dimension; beyond the ends there is nothing."""
    sides = (kernel // 2, kernel // 2)
    padded = F.pad(x, sides if dim == 3 else (0, 0, *sides), value=-torch.inf).transpose(2, dim)
    reach = stride * ((x.shape[dim] - 1) // stride) + 1
    total = padded[:, :, :reach:stride]
    for shift in range(1, kernel):
        total = torch.maximum(total, padded[:, :, shift : shift + reach : stride])
    return total.transpose(2, dim).contiguous()


class QuickAvgPool(nn.AvgPool2d):
    """Average pooling that counts no padding; at stride 1, by whole maps where no gradient is wanted.

    The bits are the same: neighbours are added in the order in which torch's own adds them, with zeros as padding, so
    that probed options give the gradients that autograd would. On CPUs it is faster; at stride 2 it would not
    always be.
    """

    def __init__(self, pool: nn.AvgPool2d) -> None:
        super().__init__(pool.kernel_size, pool.stride, pool.padding, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, c, h, w) to (n, c, ceil(h / stride), ceil(w / stride))."""
        if self.stride != 1 or torch.is_grad_enabled() or x.device.type != "cpu":
            pooled: Tensor = super().forward(x)
            return pooled
        assert isinstance(self.kernel_size, int)
        sizes = _window_sizes(x.shape[2], x.shape[3], self.kernel_size)
        return _window_sum(x, self.kernel_size).div_(sizes.to(x))


def _window_sum(x: Tensor, kernel: int) -> Tensor:
    """Sums over the windows around each pixel, row by row; what is beyond the ends is zero."""
    height, width = x.shape[2:]
    padded = F.pad(x, (kernel // 2,) * 4)
    total = torch.zeros_like(x)
    for row in range(kernel):
        for column in range(kernel):
            total += padded[:, :, row : row + height, column : column + width]
    return total


@lru_cache(maxsize=64)
def _window_sizes(height: int, width: int, kernel: int) -> Tensor:
    """Pixels of each window that are within the map, (1, 1, height, width)."""
    return _window_sum(torch.ones(1, 1, height, width), kernel)


def _operation(name: str, channels: int, stride: int) -> nn.Module:
    made = operation(name, channels, stride, affine=False, tracked=False, pool_norm=True)
    if isinstance(made, nn.Sequential):
        if isinstance(made[0], nn.MaxPool2d):
            made[0] = QuickMaxPool(made[0])
        elif isinstance(made[0], nn.AvgPool2d):
            made[0] = QuickAvgPool(made[0])
    return made


class MixedCell(nn.Module):
    """A cell with all operations on all edges.

    Args:
        space: its edges and operations.
        kind: "normal" or "reduce".
        channels: of its operations.
        before: channels of its inputs, one number for each.
        halved_before: whether the first of two inputs is twice the size of the other.
    """

    def __init__(
        self, space: EdgeCellSpace, kind: str, channels: int, before: tuple[int, ...], halved_before: bool
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.edges = space.inputs, space.outputs, space.edges
        self.names = tuple(choice_name(kind, *edge) for edge in space.edges)
        self.strides = tuple(space.stride(kind, source) for source, _ in space.edges)
        self.prepare = nn.ModuleList(relu_conv_norm(count, channels, 1, 1, NORM) for count in before)
        if space.inputs == 1 and before == (channels,):
            self.prepare[0] = nn.Identity()
        if halved_before:
            self.prepare[0] = FactorizedReduce(before[0], channels, NORM)
        self.operations = nn.ModuleList(
            nn.ModuleList(_operation(name, channels, stride) for name in space.searched[kind])
            for stride in self.strides
        )

    def forward(self, inputs: list[Tensor], mixtures: Mapping[str, Mixture]) -> Tensor:
        """Maps the last outputs, oldest first, to (n, channels * outputs, h / stride, w / stride).

        Args:
            inputs: one tensor for each of the cell's inputs.
            mixtures: of each edge, by the name of its choice.
        """
        states: list[Tensor | None] = [prepare(x) for prepare, x in zip(self.prepare, inputs, strict=True)]
        states += [None] * len(set(node for _, node in self.edges))
        for (source, node), name, options, stride in zip(
            self.edges, self.names, self.operations, self.strides, strict=True
        ):
            x = states[source]
            assert x is not None, "edges are sorted by the node they go to"
            operations = list(options.children())
            out = mix(_without_zeros(mixtures[name], operations), operations, x)
            if out is None and states[node] is None:
                out = torch.zeros_like(x[:, :, ::stride, ::stride])
            if out is not None:
                state = states[node]
                states[node] = out if state is None else state + out
        return torch.cat([state for number, state in enumerate(states) if number in self.outputs], dim=1)  # type: ignore[misc]


def _without_zeros(mixture: Mixture, options: list[nn.Module]) -> Mixture:
    """The mixture without options whose output is zero: neither the sum nor any gradient changes."""
    if not any(isinstance(options[option], Zero) for option in (*mixture.active, *mixture.probed)):
        return mixture
    active = tuple(option for option in mixture.active if not isinstance(options[option], Zero))
    probed = tuple(option for option in mixture.probed if not isinstance(options[option], Zero))
    return Mixture(mixture.weights, active, probed)


class MixedNetwork(nn.Module):
    """Stacked cells with open choices.

    Args:
        space: of the cells.
        form: everything else; its stem is one convolution.

    Raises:
        InputError: the form's stem is that of ImageNet.
    """

    def __init__(self, space: EdgeCellSpace, form: CellForm) -> None:
        super().__init__()
        if form.imagenet:
            raise InputError("expected a form with one convolution as stem to search with, got one for ImageNet.")
        self.space, self.form = space, form
        channels, wide = form.channels, form.channels * form.stem_multiple
        self.stem = nn.Sequential(nn.Conv2d(3, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide))
        before, halved = (wide, wide), False
        self.cells = nn.ModuleList()
        for layer in range(form.layers):
            reduces = layer in form.places
            channels *= 1 + reduces
            out_channels = channels * len(space.outputs)
            if reduces and not space.reduction:
                self.cells.append(ResidualReduction(before[1], out_channels))
            else:
                kind, widths = "reduce" if reduces else "normal", before[-space.inputs :]
                self.cells.append(MixedCell(space, kind, channels, widths, halved and space.inputs == 2))
            before, halved = (before[1], out_channels), reduces
        self.norm = nn.Sequential(nn.BatchNorm2d(before[1]), nn.ReLU()) if form.final_norm else nn.Identity()
        self.classifier = nn.Linear(before[1], form.num_classes)
        _forget_statistics(self)
        self.choices = Choices(
            options={choice_name(kind, *edge): names for kind, names in space.searched.items() for edge in space.edges},
            groups=() if space.kept is None else tuple(self._groups(space.kept)),
            kept=space.kept or 2,
            excluded=frozenset({NONE} if space.zero else ()),
            sizes=self._sizes(),
        )

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, h, w).

        Args:
            images: normalised.
            mixtures: of each choice.
        """
        before = last = self.stem(images)
        for cell in self.cells:
            inputs = [before, last][-self.space.inputs :]
            out = cell(inputs, mixtures) if isinstance(cell, MixedCell) else cell(last)
            before, last = last, out
        logits: Tensor = self.classifier(self.norm(last).mean((2, 3)))
        return logits

    def genotype(self, derived: Mapping[str, str | None]) -> Genotype:
        """The genotype of an operation on each edge, None on those that are dropped."""
        return derived_genotype(self.space, derived)

    def _groups(self, kept: int) -> list[tuple[str, ...]]:
        nodes = sorted({node for _, node in self.space.edges})
        groups = [
            tuple(choice_name(kind, source, node) for source in range(node))
            for kind in self.space.searched
            for node in nodes
        ]
        return [group for group in groups if len(group) > kept]

    def _sizes(self) -> dict[str, tuple[int, ...]]:
        sizes: dict[str, tuple[int, ...]] = {}
        for cell in self.cells:
            if isinstance(cell, MixedCell):
                for name, options in zip(cell.names, cell.operations, strict=True):
                    here = tuple(sum(weight.numel() for weight in option.parameters()) for option in options.children())
                    sizes[name] = tuple(map(sum, zip(sizes.get(name, (0,) * len(here)), here, strict=True)))
        return sizes


def derived_genotype(space: EdgeCellSpace, derived: Mapping[str, str | None]) -> Genotype:
    """The genotype of an operation on each edge, None on those that are dropped.

    Raises:
        InputError: it is not of the space.
    """
    cells = {}
    for kind in space.candidates:
        nodes: dict[int, list[tuple[str, int]]] = {node: [] for _, node in space.edges}
        for source, node in space.edges:
            name = derived[choice_name(kind, source, node)]
            if name is not None:
                nodes[node].append((name, source))
        cells[kind] = Cell(list(nodes.values()), space.outputs, space.inputs)
    genotype = Genotype(cells["normal"], cells.get("reduce"))
    space.validate(genotype)
    return genotype


def _forget_statistics(network: nn.Module) -> None:
    """Batch norms of the parts that derived networks share, too, normalise by the batch alone."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
