"""What a differentiable strategy is: how architecture parameters start, become weights, get gradients, and end.

Everything else is the trainer's (`nat.oneshot.trainer`). Strategies are values without state of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from nat.oneshot.relaxation import Winners
from nat.supernet.mixture import Choices, Mixture

Batch = tuple[Tensor, Tensor]  # images (n, channels, height, width), labels (n,)
Parameters = dict[str, Tensor]  # of each choice, a trainable vector


class SearchNetwork(Protocol):
    """A module of shared weights in which choices are open."""

    choices: Choices

    def __call__(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Logits (n, classes) of images, with options weighted as the mixtures say."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Amounts and rates of a search. The defaults are those of DARTS' published code, which NASP's shares.

    Attributes:
        epochs: of training weights and architecture in turn.
        learning_rate: of the weights, SGD, in the first epoch.
        least_learning_rate: which it falls to along a cosine, epoch by epoch.
        momentum: of SGD.
        nesterov: its form.
        weight_decay: of the weights.
        clip: greatest norm of the weights' gradient.
        architecture_rate: learning rate of the architecture, Adam.
        architecture_betas: of Adam.
        architecture_decay: weight decay of the architecture parameters.
    """

    epochs: int = 50
    learning_rate: float = 0.025
    least_learning_rate: float = 0.001
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    clip: float = 5.0
    architecture_rate: float = 3e-4
    architecture_betas: tuple[float, float] = (0.5, 0.999)
    architecture_decay: float = 1e-3


@dataclass
class SearchState:
    """All that a search changes as it goes on.

    Attributes:
        network: shared weights.
        choices: what is chosen, each among how many options.
        parameters: of the architecture.
        optimizer: of the weights.
        architecture_optimizer: of the architecture parameters.
        generator: source of the strategy's randomness, on the CPU.
        epoch: that is being worked on, from 0.
        epochs: in all.
        history: of the epochs that are done.
    """

    network: nn.Module
    choices: Choices
    parameters: Parameters
    optimizer: torch.optim.SGD
    architecture_optimizer: torch.optim.Adam
    generator: Generator
    epochs: int
    epoch: int = 0
    history: list["EpochRecord"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What an epoch was like.

    Attributes:
        epoch: from 0.
        train_loss: mean loss of the weights' steps.
        valid_loss: mean loss of the architecture's steps, on the search's validation batches.
        skips: skip connections in what is derived, of all choices.
        entropy: mean entropy of the choices' softmax, in nats.
        derived: name of the option of each choice; None for choices that are dropped.
        ranking: indices of the options of each choice, the greatest probability first.
        eigenvalue: the greatest of the validation loss's second derivatives by the architecture, if it was asked for.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    skips: int
    entropy: float
    derived: dict[str, str | None]
    ranking: dict[str, list[int]]
    eigenvalue: float | None = None


@dataclass(frozen=True, slots=True)
class OneShotResult:
    """What a search found.

    Attributes:
        derived: name of the option of each choice; None for choices that are dropped.
        epoch: whose architecture parameters it was derived from.
        stopped: name of the rule that ended the search early, if one did.
        history: of all epochs.
    """

    derived: dict[str, str | None]
    epoch: int
    stopped: str | None
    history: list[EpochRecord]


class Strategy(Protocol):
    """A way of producing and stepping architecture weights. Any object with these members will do.

    Attributes:
        name: what commands call it.
        weights_first: whether a step trains the weights before the architecture.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def weights_first(self) -> bool:
        """See above."""

    def published(self) -> Settings:
        """Amounts and rates of its publication."""

    def start(self, choices: Choices, generator: Generator) -> Parameters:
        """The first architecture parameters."""

    def weight_mixtures(self, state: SearchState) -> dict[str, Mixture]:
        """Mixtures that a step of the weights is done with."""

    def gradients(self, state: SearchState, train: Batch, valid: Batch) -> tuple[float, dict[str, Tensor]]:
        """Of the validation loss: its value, and gradients of the architecture parameters. Weights stay as they are."""

    def constrain(self, parameters: Parameters) -> None:
        """What is done to the parameters behind an optimiser's step, in place."""

    def derive(self, state: SearchState) -> Winners:
        """Index of the option of each choice in the end; None for choices that are dropped. Changes nothing."""


def cross_entropy(network: nn.Module, batch: Batch, mixtures: Mapping[str, Mixture]) -> Tensor:
    """Mean cross entropy of a batch."""
    images, labels = batch
    return nn.functional.cross_entropy(network(images, mixtures), labels)
