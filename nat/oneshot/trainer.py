"""The trainer that all differentiable strategies share: weights by SGD, architecture by Adam, in turn, batch by batch.

Batches come from outside, as a function of the epoch; with the same ones and the same seed a search ends the same, also
one that was stopped after an epoch and went on from `state_dict`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Generator, Tensor, nn

from nat.errors import InputError, TransferError
from nat.oneshot.base import Batch, EpochRecord, OneShotResult, SearchState, Settings, Strategy, cross_entropy
from nat.oneshot.derivation import count_skips, named, ranking
from nat.oneshot.relaxation import entropy
from nat.oneshot.stopping import StopRule, greatest_eigenvalue
from nat.supernet.mixture import Choices

Pairs = Iterable[tuple[Batch, Batch]]  # a training and a validation batch for each step


class OneShotTrainer:
    """Trains weights and architecture of a network with open choices.

    Attributes:
        state: all that changes.
        strategy: how architecture weights are produced.
        settings: amounts and rates.
    """

    def __init__(
        self,
        network: nn.Module,
        strategy: Strategy,
        settings: Settings | None = None,
        seed: int = 0,
        rules: Sequence[StopRule] = (),
    ) -> None:
        """Starts a search.

        Args:
            network: with `choices` and `forward(images, mixtures)` (`nat.oneshot.base.SearchNetwork`).
            strategy: DARTS, NASP, GDAS or the like.
            settings: None for the published ones.
            seed: of the strategy's randomness.
            rules: that may end the search early.

        Raises:
            InputError: no epochs, or the network has no choices.
        """
        self.strategy, self.settings, self.rules = strategy, settings or strategy.published(), tuple(rules)
        choices = network.choices
        if not isinstance(choices, Choices) or not choices.options:
            raise InputError("expected a network with choices of operations, got one without any.")
        if self.settings.epochs < 1:
            raise InputError(f"expected at least 1 epoch, got {self.settings.epochs}.")
        generator = Generator().manual_seed(seed)
        device = next(network.parameters()).device
        parameters = {
            name: values.detach().to(device).requires_grad_()
            for name, values in strategy.start(choices, generator).items()
        }
        weights = torch.optim.SGD(
            network.parameters(),
            lr=self.settings.learning_rate,
            momentum=self.settings.momentum,
            nesterov=self.settings.nesterov,
            weight_decay=self.settings.weight_decay,
            foreach=True,
        )
        architecture = torch.optim.Adam(
            list(parameters.values()),
            lr=self.settings.architecture_rate,
            betas=self.settings.architecture_betas,
            weight_decay=self.settings.architecture_decay,
            foreach=True,
        )
        self.state = SearchState(
            network, choices, parameters, weights, architecture, generator, epochs=self.settings.epochs
        )

    # --- steps ---------------------------------------------------------------------------------------------------

    def step(self, train: Batch, valid: Batch) -> tuple[float, float]:
        """One step of the weights and one of the architecture, in the strategy's order; their losses.

        Raises:
            TransferError: a loss is not finite.
        """
        self.state.network.train()
        if self.strategy.weights_first:
            train_loss = self.step_weights(train)
            valid_loss = self.step_architecture(train, valid)
        else:
            valid_loss = self.step_architecture(train, valid)
            train_loss = self.step_weights(train)
        return train_loss, valid_loss

    def step_weights(self, train: Batch) -> float:
        """One step of the weights; options that do not run keep theirs, without momentum or decay.

        Raises:
            TransferError: the loss is not finite; nothing has changed.
        """
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(state.network, train, self.strategy.weight_mixtures(state))
        self._check_finite("training", float(loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.network.parameters(), self.settings.clip, foreach=True)
        state.optimizer.step()
        return float(loss.detach())

    def step_architecture(self, train: Batch, valid: Batch) -> float:
        """One step of the architecture; weights and buffers of the network are as before, bit for bit.

        Raises:
            TransferError: the loss is not finite; the architecture has not changed either.
        """
        state = self.state
        with _kept_buffers(state.network):
            loss, gradients = self.strategy.gradients(state, train, valid)
        self._check_finite("validation", loss)
        for name, values in state.parameters.items():
            values.grad = gradients[name].detach().to(values)
        state.architecture_optimizer.step()
        self.strategy.constrain(state.parameters)
        return loss

    def _check_finite(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise TransferError(
                f"the search diverged in epoch {self.state.epoch}: its {name} loss is {loss}. Lower the learning rate."
            )

    # --- epochs --------------------------------------------------------------------------------------------------

    def run(
        self, batches: Callable[[int], Pairs], after: Callable[[EpochRecord], None] = lambda record: None
    ) -> OneShotResult:
        """All epochs that are left, or those until a rule ends the search.

        Args:
            batches: of an epoch.
            after: called behind each epoch.

        Raises:
            TransferError: a loss is not finite.
        """
        while (ended := self._ended()) is None:
            record = self.run_epoch(batches(self.state.epoch))
            after(record)
        epoch, rule = ended
        return OneShotResult(self.state.history[epoch].derived, epoch, rule, list(self.state.history))

    def run_epoch(self, pairs: Pairs) -> EpochRecord:
        """One epoch.

        Raises:
            InputError: there are no batches.
            TransferError: a loss is not finite.
        """
        state = self.state
        for group in state.optimizer.param_groups:
            group["lr"] = self._learning_rate(state.epoch)
        losses, valid = [], None
        for train, valid in pairs:
            losses.append(self.step(train, valid))
        if valid is None:
            raise InputError("expected at least one training and one validation batch, got none.")
        means = torch.tensor(losses, dtype=torch.float64).mean(0).tolist()
        record = self._record(means[0], means[1], valid)
        state.history.append(record)
        state.epoch += 1
        return record

    def _record(self, train_loss: float, valid_loss: float, valid: Batch) -> EpochRecord:
        state = self.state
        derived = named(self.strategy.derive(state), state.choices)
        eigenvalue = None
        if any(rule.needs_eigenvalue for rule in self.rules):
            with _kept_buffers(state.network):
                eigenvalue = greatest_eigenvalue(state.network, state.parameters, valid)
        return EpochRecord(
            epoch=state.epoch,
            train_loss=train_loss,
            valid_loss=valid_loss,
            skips=count_skips(derived),
            entropy=entropy(state.parameters),
            derived=derived,
            ranking=ranking(state.parameters),
            eigenvalue=eigenvalue,
        )

    def _ended(self) -> tuple[int, str | None] | None:
        for rule in self.rules:
            if self.state.history and (epoch := rule.chosen_epoch(self.state.history)) is not None:
                return epoch, rule.name
        return (self.state.epochs - 1, None) if self.state.epoch >= self.state.epochs else None

    def _learning_rate(self, epoch: int) -> float:
        most, least = self.settings.learning_rate, self.settings.least_learning_rate
        return least + (most - least) * (1 + math.cos(math.pi * epoch / self.settings.epochs)) / 2

    # --- resuming ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the search depends on, between epochs: tensors, numbers, names."""
        state = self.state
        return {
            "strategy": self.strategy.name,
            "network": state.network.state_dict(),
            "parameters": {name: values.detach().clone() for name, values in state.parameters.items()},
            "optimizer": state.optimizer.state_dict(),
            "architecture_optimizer": state.architecture_optimizer.state_dict(),
            "generator": state.generator.get_state(),
            "epoch": state.epoch,
            "history": [asdict(record) for record in state.history],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken.

        Raises:
            InputError: it is another strategy's, or of other choices.
        """
        state = self.state
        if saved["strategy"] != self.strategy.name:
            raise InputError(f"expected the state of a {self.strategy.name} search, got {saved['strategy']}'s.")
        if list(saved["parameters"]) != list(state.parameters):
            raise InputError(
                f"expected a state with the choices {list(state.parameters)}, got {list(saved['parameters'])}."
            )
        state.network.load_state_dict(saved["network"])
        with torch.no_grad():
            for name, values in saved["parameters"].items():
                state.parameters[name].copy_(values)
        state.optimizer.load_state_dict(saved["optimizer"])
        state.architecture_optimizer.load_state_dict(saved["architecture_optimizer"])
        state.generator.set_state(saved["generator"].cpu())
        state.epoch = saved["epoch"]
        state.history[:] = [EpochRecord(**record) for record in saved["history"]]


@contextmanager
def _kept_buffers(network: nn.Module) -> Iterator[None]:
    """What is done inside leaves the buffers (batch norm's running statistics) as they were."""
    kept: list[tuple[Tensor, Tensor]] = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
