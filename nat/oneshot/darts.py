"""DARTS (Liu, Simonyan and Yang, ICLR 2019): softmax-weighted sums of all options, first and second order.

The second order differentiates the validation loss at the weights w' behind one more step of the training,

    w' = w - xi (momentum buffer + dL_train/dw + decay w),

by the architecture: dL_valid(w', a)/da - xi d/da <dL_train(w, a)/dw, v> with v = dL_valid/dw'. The published code
takes the last term by finite differences along v, at a radius where networks with ReLU and batch norm are not smooth,
so that it can be further from the truth than leaving the term out. Here it is exact by default (`hvp="exact"`, double
backward), and `hvp="fd"` is the published way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from nat.oneshot.base import Batch, Parameters, SearchState, Settings, cross_entropy
from nat.oneshot.derivation import strongest
from nat.oneshot.relaxation import random_parameters, softmax_mixtures
from nat.supernet.mixture import Choices, Mixture

# of the published finite difference: the weights move by this much along v, in norm
RADIUS = 0.01


@dataclass(frozen=True, slots=True)
class Darts:
    """DARTS.

    Attributes:
        order: 1 takes the weights as constants, 2 differentiates through one step of them.
        hvp: the second order's product with second derivatives: "exact", or "fd" as published.
        rate: xi of the second order; None for the weights' current learning rate, as published.
    """

    order: Literal[1, 2] = 1
    hvp: Literal["exact", "fd"] = "exact"
    rate: float | None = None
    weights_first: bool = False

    @property
    def name(self) -> str:
        """By its order."""
        return f"darts{self.order}"

    def published(self) -> Settings:
        """Of the published code: 50 epochs, batches of 64."""
        return Settings()

    def start(self, choices: Choices, generator: Generator) -> Parameters:
        """Normal numbers of standard deviation 1e-3."""
        return random_parameters(choices.counts, generator)

    def weight_mixtures(self, state: SearchState) -> dict[str, Mixture]:
        """All options, by softmax; the weights' step does not differentiate by them."""
        return softmax_mixtures({name: values.detach() for name, values in state.parameters.items()})

    def gradients(self, state: SearchState, train: Batch, valid: Batch) -> tuple[float, dict[str, Tensor]]:
        """See `nat.oneshot.base.Strategy`."""
        if self.order == 1:
            loss = cross_entropy(state.network, valid, softmax_mixtures(state.parameters))
            slopes = torch.autograd.grad(loss, list(state.parameters.values()), materialize_grads=True)
            return float(loss.detach()), dict(zip(state.parameters, slopes, strict=True))
        return self._unrolled(state, train, valid)

    def constrain(self, parameters: Parameters) -> None:
        """Logits are free."""

    def derive(self, state: SearchState) -> dict[str, int | None]:
        """Of each node the strongest edges, of each edge the strongest option that is not `none`."""
        return strongest(state.parameters, state.choices)

    def _unrolled(self, state: SearchState, train: Batch, valid: Batch) -> tuple[float, dict[str, Tensor]]:
        weights = {name: weight for name, weight in state.network.named_parameters() if weight.requires_grad}
        parameters = list(state.parameters.values())
        rate = float(state.optimizer.param_groups[0]["lr"]) if self.rate is None else self.rate
        exact = self.hvp == "exact"
        train_loss = cross_entropy(state.network, train, softmax_mixtures(state.parameters))
        slopes = torch.autograd.grad(train_loss, list(weights.values()), create_graph=exact, materialize_grads=True)
        ahead = unroll(state.optimizer, weights, slopes, rate)
        loss = _Unrolled(state.network, ahead).loss(valid, state.parameters)
        found = torch.autograd.grad(loss, [*parameters, *ahead.values()], materialize_grads=True)
        direct, vector = found[: len(parameters)], found[len(parameters) :]
        mixed = (
            _product(slopes, parameters, vector)
            if exact
            else finite_difference(state, train, list(weights.values()), vector)
        )
        gradients = [first - rate * second for first, second in zip(direct, mixed, strict=True)]
        return float(loss.detach()), dict(zip(state.parameters, gradients, strict=True))


@dataclass(frozen=True, slots=True)
class _Unrolled:
    """The network with other weights; its own are not touched."""

    network: nn.Module
    weights: Mapping[str, Tensor]

    def loss(self, batch: Batch, parameters: Parameters) -> Tensor:
        images, labels = batch
        logits = functional_call(self.network, dict(self.weights), (images, softmax_mixtures(parameters)))
        return nn.functional.cross_entropy(logits, labels)


def unroll(
    optimizer: torch.optim.SGD, weights: Mapping[str, Tensor], slopes: tuple[Tensor, ...], rate: float
) -> dict[str, Tensor]:
    """Weights behind one more step of SGD with momentum and decay, as leaves; as published, without clipping.

    Args:
        optimizer: whose momentum and decay are used; without a momentum buffer, in the first step, it counts as zeros.
        weights: by name.
        slopes: gradients of the training loss, in the order of the weights.
        rate: learning rate of the step.
    """
    group = optimizer.param_groups[0]
    ahead = {}
    with torch.no_grad():
        for (name, weight), slope in zip(weights.items(), slopes, strict=True):
            step = slope + group["weight_decay"] * weight
            buffer = optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None
            if buffer is not None:
                step += group["momentum"] * buffer
            ahead[name] = (weight - rate * step).requires_grad_()
    return ahead


def _product(slopes: Sequence[Tensor], parameters: list[Tensor], vector: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """d/da <dL_train/dw, v>; slopes that are constant, of weights that the loss does not see, add nothing."""
    moving = [(slope, part) for slope, part in zip(slopes, vector, strict=True) if slope.requires_grad]
    outputs, directions = [slope for slope, _ in moving], [part for _, part in moving]
    return torch.autograd.grad(outputs, parameters, directions, materialize_grads=True)


def finite_difference(
    state: SearchState, train: Batch, weights: list[Tensor], vector: tuple[Tensor, ...], radius: float = RADIUS
) -> list[Tensor]:
    """d/da <dL_train/dw, v> by central differences along v; the weights are put back bit for bit.

    Args:
        state: of the search.
        train: batch of the training loss.
        weights: of the network.
        vector: v, in their order.
        radius: how far the weights move, in norm.
    """
    norm = torch.stack([part.norm() for part in vector]).norm()
    reach = radius / float(norm) if norm > 0 else 0.0
    if reach == 0.0:
        return [torch.zeros_like(values) for values in state.parameters.values()]
    kept = [weight.detach().clone() for weight in weights]
    sides = []
    try:
        for sign in (1, -1):
            with torch.no_grad():
                torch._foreach_copy_(weights, kept)
                torch._foreach_add_(weights, list(vector), alpha=sign * reach)
            loss = cross_entropy(state.network, train, softmax_mixtures(state.parameters))
            sides.append(torch.autograd.grad(loss, list(state.parameters.values()), materialize_grads=True))
    finally:
        with torch.no_grad():
            torch._foreach_copy_(weights, kept)
    return [(plus - minus) / (2 * reach) for plus, minus in zip(*sides, strict=True)]
