"""A supernet's answers where choices are mixed: the forward pass of strategies that learn architecture parameters.

Mixtures say with which weights the options of each choice count (`nat.supernet.mixture`). The options of an elastic
layer overlap, so that one pass serves them all, and no option is run twice:

- **kernel sizes**: a convolution is linear in its kernel, so the weighted sum of the outputs is the output of the
  weighted sum of the kernels, the smaller ones centred in zeros. The gradients of all weights come with it.
- **expand ratios**: the smaller ones are the first channels of the greater ones. Each channel behind the depthwise
  convolution counts with the weights of the ratios that have it (as in FBNetV2, Wan et al., CVPR 2020), and so does
  each hidden unit of squeeze-and-excite.
- **depths**: a layer that not all depths have counts with the weights of those that have it: x + gate * f(x).

With all weight on one option each, it is the subnet's function, whatever else runs; a test says so. Weights multiply
*inside* a block: behind it a batch norm would undo any factor where nothing is added, and its gradient would be zero.

Active options run with autograd up to the greatest of them, probed ones beyond without it, at weight zero. The gradient
of their weights is the same, as nothing else could come out of a product with zero.

Batch norm takes the statistics of the batch and leaves its running ones alone; weights get no gradients.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nat.supernet.categories import presence
from nat.supernet.elastic import ElasticDepthwise, ElasticInvertedResidual
from nat.supernet.layers import BatchNorm, depthwise, pointwise
from nat.supernet.mixture import Mixture
from nat.supernet.slots import squeeze_channels
from nat.supernet.supernet import Supernet


def relaxed_logits(supernet: Supernet, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
    """Logits (n, num_classes) of images (n, 3, h, w), differentiable by the weights of the mixtures and nothing else.

    Args:
        supernet: neither its weights nor its statistics change.
        images: normalised, at least 2.
        mixtures: of every choice (`Categories.options`).
    """
    space = supernet.space
    with _frozen(supernet):
        x = supernet.start(images)
        for stage, (offset, depths) in enumerate(zip(space.stage_offsets, space.stage_depths, strict=True)):
            depth = mixtures[f"depth {stage}"]
            run, reach = depths[max(depth.active)], depths[_last(depth)]
            for layer in range(reach):
                block = supernet.blocks[offset + layer + 1].get_submodule("conv")
                assert isinstance(block, ElasticInvertedResidual)
                choices = mixtures[f"kernel {offset + layer}"], mixtures[f"expand {offset + layer}"]
                with torch.set_grad_enabled(layer < run):
                    branch = _branch(block, x, *choices)
                if layer >= depths[0]:
                    branch = branch * presence(depths, layer, depth.weights).to(branch)
                x = x + branch if block.slot.residual else branch
        return supernet.finish(x)


def _last(mixture: Mixture) -> int:
    """The greatest option that runs."""
    return max(*mixture.active, *mixture.probed, -1)


def _branch(block: ElasticInvertedResidual, x: Tensor, kernels: Mixture, expands: Mixture) -> Tensor:
    """The block without its shortcut: (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
    slot = block.slot
    channels = [slot.mid_channels(expand) for expand in slot.expands]
    run, reach = channels[max(expands.active)], channels[_last(expands)]
    kernel = _mixed_kernel(block.depth_conv.conv, slot.kernels, kernels, reach)
    out = _expanded(block, x, kernel, 0, run)
    if reach > run:
        with torch.no_grad():
            more = _expanded(block, x, kernel, run, reach)
        out = torch.cat([out, more], dim=1)
    out = _masked(out, expands, channels)
    if slot.squeeze_excite:
        out = _excited(block, out, expands, channels)
    out = pointwise(out, block.point_linear.conv.kernel(reach, slot.out_channels))
    return _normalised(block.point_linear.bn.bn, out, 0, slot.out_channels)


def _mixed_kernel(conv: nn.Module, sizes: tuple[int, ...], kernels: Mixture, channels: int) -> Tensor:
    """The weighted sum of a slot's kernels of each size, in that of the largest, shape (channels, 1, k, k)."""
    assert isinstance(conv, ElasticDepthwise)
    total: Tensor | None = None
    for option, size in enumerate(sizes):
        margin = (sizes[-1] - size) // 2
        term = F.pad(conv.kernel(channels, size), (margin,) * 4)
        if len(sizes) > 1:
            term = term * kernels.weights[option].to(term)
        total = term if total is None else total + term
    assert total is not None
    return total


def _expanded(block: ElasticInvertedResidual, x: Tensor, kernel: Tensor, start: int, end: int) -> Tensor:
    """The channels from `start` to before `end` behind expansion and depthwise convolution."""
    first, second = block.inverted_bottleneck, block.depth_conv
    assert isinstance(second.conv, ElasticDepthwise)
    out = pointwise(x, first.conv.kernel(x.shape[1], end)[start:])
    out = first.act(_normalised(first.bn.bn, out, start, end))
    out = depthwise(out, kernel[start:end], second.conv.conv.stride[0], second.conv.same_padding)
    activated: Tensor = second.act(_normalised(second.bn.bn, out, start, end))
    return activated


def _normalised(norm: BatchNorm, x: Tensor, start: int, end: int) -> Tensor:
    """Batch norm of some channels by the statistics of the batch, which are not kept."""
    return F.batch_norm(x, None, None, norm.weight[start:end], norm.bias[start:end], True, 0.0, norm.eps)


def _masked(x: Tensor, expands: Mixture, sizes: list[int]) -> Tensor:
    """Channels times the sum of the weights of those expand ratios that have them.

    Args:
        x: shape (n, c, h, w), c one of the sizes.
        expands: mixture of the expand ratios.
        sizes: how many of the channels each expand ratio has, ascending.
    """
    if len(sizes) == 1:
        return x
    nested = torch.tensor(sizes)[:, None] > torch.arange(x.shape[1])  # (ratios, c)
    mask = (expands.weights[:, None] * nested.to(expands.weights)).sum(0)
    return x * mask.to(x)[:, None, None]


def _excited(block: ElasticInvertedResidual, x: Tensor, expands: Mixture, channels: list[int]) -> Tensor:
    """Squeeze-and-excite whose hidden units count with the expand ratios that have them."""
    hidden = [squeeze_channels(size) for size in channels]
    width, units = x.shape[1], hidden[channels.index(x.shape[1])]
    get = block.depth_conv.get_submodule("se.fc").get_parameter
    squeezed = x.mean((2, 3), keepdim=True)
    middle = F.relu(F.conv2d(squeezed, get("reduce.weight")[:units, :width], get("reduce.bias")[:units]))
    middle = _masked(middle, expands, hidden)
    scale = F.conv2d(middle, get("expand.weight")[:width, :units], get("expand.bias")[:width])
    return x * F.hardsigmoid(scale)


@contextmanager
def _frozen(supernet: Supernet) -> Iterator[None]:
    """No gradients for weights; batch norm as in training, but for its running statistics, which stay."""
    weights = [parameter for parameter in supernet.parameters() if parameter.requires_grad]
    norms = [(module, module.training) for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    for weight in weights:
        weight.requires_grad_(False)
    for norm, _ in norms:
        norm.train()
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, training in norms:
            norm.train(training)
            norm.track_running_stats = True
        for weight in weights:
            weight.requires_grad_(True)
