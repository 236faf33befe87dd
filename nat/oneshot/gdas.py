"""GDAS (Dong and Yang, CVPR 2019): one architecture drawn for each forward pass, by Gumbel sampling.

Only the drawn option of each choice runs. Its weight is 1 with the gradient of the Gumbel softmax (straight-through),
which goes to all of the choice's logits. As in the published code the weights are stepped first, and each of the two
forward passes has an architecture of its own. Differs from one of its two code paths: options that were not drawn do
not add their weights, as numbers, to the sum.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nat.oneshot.base import Batch, Parameters, SearchState, Settings, cross_entropy
from nat.oneshot.derivation import strongest
from nat.oneshot.relaxation import gumbel_mixtures, linear_temperature, random_parameters
from nat.supernet.mixture import Choices, Mixture


@dataclass(frozen=True, slots=True)
class Gdas:
    """GDAS.

    Attributes:
        first_temperature: of the Gumbel softmax, in the first epoch.
        last_temperature: which it falls to in equal steps.
    """

    first_temperature: float = 10.0
    last_temperature: float = 0.1
    weights_first: bool = True

    @property
    def name(self) -> str:
        """The name."""
        return "gdas"

    def published(self) -> Settings:
        """Of the published code: 250 epochs, Nesterov's momentum, decay 5e-4, batches of 64 on NAS-Bench-201."""
        return Settings(epochs=250, nesterov=True, weight_decay=5e-4)

    def start(self, choices: Choices, generator: Generator) -> Parameters:
        """Normal numbers of standard deviation 1e-3."""
        return random_parameters(choices.counts, generator)

    def temperature(self, state: SearchState) -> float:
        """Of the epoch."""
        progress = state.epoch / max(1, state.epochs - 1)
        return linear_temperature(progress, self.first_temperature, self.last_temperature)

    def weight_mixtures(self, state: SearchState) -> dict[str, Mixture]:
        """A drawn architecture."""
        fixed = {name: values.detach() for name, values in state.parameters.items()}
        return gumbel_mixtures(fixed, self.temperature(state), state.generator)

    def gradients(self, state: SearchState, train: Batch, valid: Batch) -> tuple[float, dict[str, Tensor]]:
        """See `nat.oneshot.base.Strategy`: those of another drawn architecture."""
        mixtures = gumbel_mixtures(state.parameters, self.temperature(state), state.generator)
        loss = cross_entropy(state.network, valid, mixtures)
        slopes = torch.autograd.grad(loss, list(state.parameters.values()), materialize_grads=True)
        return float(loss.detach()), dict(zip(state.parameters, slopes, strict=True))

    def constrain(self, parameters: Parameters) -> None:
        """Logits are free."""

    def derive(self, state: SearchState) -> dict[str, int | None]:
        """The strongest option of each choice, of each group the strongest choices."""
        return strongest(state.parameters, state.choices)
