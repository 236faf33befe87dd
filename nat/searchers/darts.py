"""DARTS on an elastic supernet: all options of every choice run, weighted by a softmax, and gradients train its inputs.

DARTS: Differentiable Architecture Search, Liu, Simonyan and Yang, ICLR 2019, of first order. On cells, each option is a
network part of its own. Here options overlap, and the sum over them is taken inside a layer, which costs one pass of
the largest subnet instead of one for each option (`nat.supernet.relaxed`).

Second order looks one step of the weights ahead: at what they would become if they were trained with this mixture. Here
they are not trained with it, but as single subnets, so there is no such step to look at, and asking for it is refused.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nat.errors import InputError
from nat.oneshot.relaxation import Parameters, random_parameters, softmax_mixtures
from nat.searchers.differentiable import PRICES, DifferentiableSearcher, Relaxed


class DartsSearcher(DifferentiableSearcher):
    """Softmax-weighted options.

    Args:
        prices: see `DifferentiableSearcher`.
        order: 1; there is no other here.
    """

    name = "darts"
    title = "DARTS of first order: kernels, widths and depths mixed by softmax, for several prices of MACs"
    rate = 0.1

    def __init__(self, *, prices: Sequence[float] = PRICES, order: int = 1) -> None:
        if order != 1:
            raise InputError(
                f"expected order 1, got {order}: an elastic supernet's weights are not trained with mixed options, so "
                "there is no step of theirs to look ahead at. Second order is there for cells."
            )
        super().__init__(prices=prices)

    def fresh(self, options: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Small normal numbers."""
        return random_parameters(options, generator)

    def relax(self, parameters: Parameters, progress: float, generator: torch.Generator) -> Relaxed:
        """All options, by softmax."""
        mixtures = softmax_mixtures(parameters)
        return Relaxed(parameters, mixtures, {name: mixture.weights for name, mixture in mixtures.items()})

    def shares(self, parameters: Parameters) -> dict[str, Tensor]:
        """Softmax."""
        return {name: values.detach().softmax(0) for name, values in parameters.items()}
