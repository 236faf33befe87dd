"""GDAS on an elastic supernet: one option of every choice is drawn in each step, so that a step costs one subnet.

Searching for a Robust Neural Architecture in Four GPU Hours, Dong and Yang, CVPR 2019: Gumbel noise draws the options,
and gradients reach the logits as if their softmax had been the weights (straight-through), at a temperature that falls
from 10 to 0.1.

Where we differ: options overlap here, so the pass of the drawn option shows the gradients of others for nothing: of all
kernel sizes, and of narrower and shallower options than the drawn ones. They are used. What is wider or deeper counts
like the drawn option, in the cross-entropy and in the multiply-adds alike: a cost that is seen in every draw, beside a
gain that is seen in few, outweighs it. On cells, all options that are not drawn count like an output of zeros; here
that would make batch norm behind a block hide the gradient (`nat.supernet.relaxed`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nat.oneshot.relaxation import Parameters, gumbel_mixtures, linear_temperature, random_parameters
from nat.searchers.differentiable import DifferentiableSearcher, Relaxed
from nat.supernet.mixture import Mixture


class GdasSearcher(DifferentiableSearcher):
    """Options drawn by Gumbel noise, with straight-through gradients."""

    name = "gdas"
    title = "GDAS: one subnet a step, drawn by Gumbel softmax, for several prices of MACs"
    rate = 0.1

    def fresh(self, options: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Small normal numbers."""
        return random_parameters(options, generator)

    def relax(self, parameters: Parameters, progress: float, generator: torch.Generator) -> Relaxed:
        """One drawn option of each choice."""
        mixtures = gumbel_mixtures(parameters, linear_temperature(progress), generator)
        return Relaxed(parameters, mixtures, {name: _as_seen(name, mixture) for name, mixture in mixtures.items()})

    def shares(self, parameters: Parameters) -> dict[str, Tensor]:
        """Softmax: what the draws follow at any temperature."""
        return {name: values.detach().softmax(0) for name, values in parameters.items()}


def _as_seen(name: str, mixture: Mixture) -> Tensor:
    """The weights (options,), where the pass does not show them those behind the drawn one added to its own."""
    (drawn,), weights = mixture.active, mixture.weights
    if name.startswith("kernel"):
        return weights
    return torch.cat([weights[:drawn], weights[drawn:].sum()[None], torch.zeros_like(weights[drawn + 1 :])])
