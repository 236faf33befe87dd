"""NASP on an elastic supernet: a discrete subnet in every step, and the gradients of what it leaves out.

Efficient Neural Architecture Search via Proximal Iterations, Yao, Xu, Tu and Zhu, AAAI 2020. Parameters A in [0, 1] are
projected to one option a choice; gradients are taken there, of all options, and applied to A, which is clipped: no
option that is not chosen ever costs more than a look. The paper's regulariser of complexity is the price of
multiply-adds, whose expectation at one option each is that subnet's cost, with those of its neighbours as gradients.

Options that are not chosen run without autograd at weight zero, which gives the same gradients (a test says so). Since
options overlap, those of all layers do so in one pass, where a network of separate options would have to take turns.
Layers that the projection leaves out learn nothing but whether to come back.

The greatest entries decide both in training and when an architecture is derived. Draws for proposals take entries as
shares, which the paper does not have.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nat.oneshot.relaxation import Parameters, discrete_mixtures, prox_c1, prox_c2, random_parameters, select
from nat.searchers.differentiable import DifferentiableSearcher, Relaxed

START = 0.5  # of the released code; a little noise, as ties would all go to one option
LEAST = 1e-6  # share of an option whose entry is 0, so that a choice of zeros can still be drawn from


class NaspSearcher(DifferentiableSearcher):
    """Options by proximal iterations."""

    name = "nasp"
    title = "NASP: proximal steps between discrete subnets, for several prices of MACs"
    rate = 0.05

    def fresh(self, options: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """A half and a little noise."""
        noise = random_parameters(options, generator)
        return {name: (START + values.detach()).requires_grad_() for name, values in noise.items()}

    def relax(self, parameters: Parameters, progress: float, generator: torch.Generator) -> Relaxed:
        """The projection; gradients are those of its own vectors."""
        winners = select(parameters, generator)
        projected = prox_c1(parameters, winners)
        return Relaxed(projected, discrete_mixtures(projected, winners, probe=True), projected)

    def settled(self, parameters: Parameters) -> Parameters:
        """Clipped to [0, 1]."""
        return prox_c2(parameters)

    def shares(self, parameters: Parameters) -> dict[str, Tensor]:
        """Entries in proportion."""
        return {name: values.detach() + LEAST for name, values in parameters.items()}

    def walked(self, parameters: Parameters, generator: torch.Generator) -> dict[str, Tensor]:
        """The projection: weights are trained on the discrete subnet."""
        return prox_c1(parameters, select(parameters, generator))
