"""Several options of one choice in one forward pass, weighted: what differentiable searches ask of a network.

A mixture says with which weights a choice's options are summed up, and which of them need to run at all. Strategies
differ in how they make mixtures (`nat.oneshot.relaxation`); a network only obeys them:

- all options active: a softmax-weighted sum (DARTS);
- one active, none probed: a single path (GDAS, and NASP's step of the weights);
- one active, the others probed: NASP's step of the architecture. A probed option has weight zero. It runs without
  autograd, only to learn what the gradient of its weight is, <dL/dsum, option(x)>. As its weight is zero, the sum is
  as if it were not there, and no gradient reaches its parameters or its input: nothing is lost, and most of the
  backward pass is saved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mixture:
    """Weights of the options of one choice.

    Attributes:
        weights: (options,); differentiable where the architecture is learnt.
        active: options that run with autograd and are summed up, in ascending order.
        probed: options of weight zero that run without autograd, for the gradients of their weights.
    """

    weights: Tensor
    active: tuple[int, ...]
    probed: tuple[int, ...] = ()


def mix(mixture: Mixture, options: Sequence[Callable[[Tensor], Tensor]], inputs: Tensor) -> Tensor | None:
    """The weighted sum of those options of a choice that a mixture lets run.

    Args:
        mixture: weights, active and probed options.
        options: functions of the inputs, all with outputs of one shape.
        inputs: what the options are applied to.

    Returns:
        The sum, or None if no option is active or probed.
    """
    total: Tensor | None = None
    for option in mixture.active:
        term = mixture.weights[option] * options[option](inputs)
        total = term if total is None else total + term
    if not mixture.probed:
        return total
    with torch.no_grad():
        outputs = [options[option](inputs) for option in mixture.probed]
    start = torch.zeros_like(outputs[0]) if total is None else total
    probes: Tensor = _Probe.apply(start, mixture.weights[list(mixture.probed)], *outputs)
    return probes


class _Probe(torch.autograd.Function):
    """The identity of its first argument; the weights' gradients are those of a sum with the outputs at weight zero."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, weights: Tensor, *outputs: Tensor) -> Tensor:
        ctx.save_for_backward(*outputs)
        return total.view_as(total)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        # the expression of autograd for a scalar times a tensor, so that both give the same floats
        slopes = torch.stack([(gradient * output).sum() for output in ctx.saved_tensors])
        return (gradient, slopes, *[None for _ in ctx.saved_tensors])
