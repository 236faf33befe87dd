"""DARTS: gradients of both orders against what they should be, and what is derived."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from nat.oneshot.base import Batch, Settings, cross_entropy
from nat.oneshot.darts import Darts, finite_difference
from nat.oneshot.derivation import count_skips, named, strongest
from nat.oneshot.relaxation import softmax_mixtures
from nat.oneshot.trainer import OneShotTrainer
from nat.supernet.mixture import Choices

RATE = 0.3


@pytest.fixture
def trainer(make_network: Callable[..., Any], make_batch: Callable[[int], Batch]) -> OneShotTrainer:
    """Some steps into a search, so that there is momentum."""
    trainer = OneShotTrainer(make_network(), Darts(2), Settings(epochs=1, learning_rate=RATE))
    double = {name: values.detach().double() for name, values in trainer.state.parameters.items()}
    trainer.state.parameters = {name: (300 * values).requires_grad_() for name, values in double.items()}
    trainer.state.architecture_optimizer = torch.optim.Adam(list(trainer.state.parameters.values()), lr=0.1)
    for step in range(3):
        trainer.step(make_batch(step), make_batch(step + 10))
    return trainer


def brute_gradients(trainer: OneShotTrainer, train: Batch, valid: Batch) -> list[Tensor]:
    """The unrolled objective as one expression of the architecture, differentiated by autograd as a whole."""
    state, group = trainer.state, trainer.state.optimizer.param_groups[0]
    weights = dict(state.network.named_parameters())
    loss = cross_entropy(state.network, train, softmax_mixtures(state.parameters))
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    ahead = {}
    for (name, weight), slope in zip(weights.items(), slopes, strict=True):
        moved = group["momentum"] * state.optimizer.state[weight]["momentum_buffer"] + group["weight_decay"] * weight
        ahead[name] = weight - group["lr"] * (slope + moved)
    images, labels = valid
    logits = functional_call(state.network, ahead, (images, softmax_mixtures(state.parameters)))
    value = torch.nn.functional.cross_entropy(logits, labels)
    return list(torch.autograd.grad(value, list(state.parameters.values())))


def all_bits(module: torch.nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in (*module.parameters(), *module.buffers())]


def test_second_order_is_the_gradient_of_the_unrolled_loss(
    trainer: OneShotTrainer, make_batch: Callable[[int], Batch]
) -> None:
    train, valid = make_batch(20), make_batch(21)
    _, gradients = Darts(2).gradients(trainer.state, train, valid)
    _, first = Darts(1).gradients(trainer.state, train, valid)
    for found, brute in zip(gradients.values(), brute_gradients(trainer, train, valid), strict=True):
        assert torch.allclose(found, brute, rtol=0, atol=1e-9)
    assert max((gradients[name] - first[name]).abs().max() for name in first) > 1e-4


@pytest.mark.parametrize("hvp", ["exact", "fd"])
def test_second_order_at_rate_zero_is_first_order(
    trainer: OneShotTrainer, make_batch: Callable[[int], Batch], hvp: Any
) -> None:
    train, valid = make_batch(20), make_batch(21)
    loss, gradients = Darts(2, hvp=hvp, rate=0.0).gradients(trainer.state, train, valid)
    first_loss, first = Darts(1).gradients(trainer.state, train, valid)
    assert loss == pytest.approx(first_loss, abs=1e-12)
    for name, values in first.items():
        assert torch.allclose(gradients[name], values, rtol=0, atol=1e-12)


def test_finite_differences_converge_on_a_smooth_network(
    trainer: OneShotTrainer, make_batch: Callable[[int], Batch]
) -> None:
    state, train = trainer.state, make_batch(20)
    weights = list(state.network.parameters())
    loss = cross_entropy(state.network, train, softmax_mixtures(state.parameters))
    slopes = torch.autograd.grad(loss, weights, create_graph=True)
    vector = tuple(torch.cos(torch.arange(w.numel(), dtype=torch.float64)).view_as(w) for w in weights)
    exact = torch.autograd.grad(slopes, list(state.parameters.values()), vector)

    def error(radius: float) -> float:
        found = finite_difference(state, train, weights, vector, radius)
        return max(float((f - e).abs().max()) for f, e in zip(found, exact, strict=True))

    assert error(1e-1) / error(1e-2) == pytest.approx(100, rel=0.2)
    before = [weight.detach().clone() for weight in weights]
    error(1e9)  # so far that what was there could not be computed back
    assert all(torch.equal(one, other) for one, other in zip(before, weights, strict=True))


@pytest.mark.parametrize("strategy", [Darts(1), Darts(2), Darts(2, hvp="fd")])
def test_a_step_of_the_architecture_leaves_weights_and_buffers_bit_for_bit(
    trainer: OneShotTrainer, make_batch: Callable[[int], Batch], strategy: Darts
) -> None:
    trainer.strategy = strategy
    before, parameters = all_bits(trainer.state.network), [v.clone() for v in trainer.state.parameters.values()]
    trainer.step_architecture(make_batch(20), make_batch(21))
    assert all(torch.equal(a, b) for a, b in zip(before, all_bits(trainer.state.network), strict=True))
    assert len(list(trainer.state.network.buffers())) == 3
    assert not any(torch.equal(a, b) for a, b in zip(parameters, trainer.state.parameters.values(), strict=True))


def test_a_step_of_the_weights_leaves_the_architecture(
    trainer: OneShotTrainer, make_batch: Callable[[int], Batch]
) -> None:
    before, parameters = all_bits(trainer.state.network), [v.clone() for v in trainer.state.parameters.values()]
    trainer.step_weights(make_batch(20))
    assert all(torch.equal(a, b) for a, b in zip(parameters, trainer.state.parameters.values(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before, all_bits(trainer.state.network), strict=True))


CHOICES = Choices(
    dict.fromkeys(("a", "b", "c"), ("none", "skip_connect", "conv")),
    groups=(("a", "b", "c"),),
    excluded=frozenset({"none"}),
)
LOGITS = {"a": torch.tensor([9.0, 1.0, 0.0]), "b": torch.tensor([0.0, 1.0, 2.0]), "c": torch.tensor([0.0, 2.0, 0.5])}


def test_what_is_derived() -> None:
    """Edge a's best option has little of the softmax beside `none`; two edges stay, and none of them is `none`."""
    derived = named(strongest(LOGITS, CHOICES), CHOICES)
    assert derived == {"a": None, "b": "conv", "c": "skip_connect"}
    assert count_skips(derived) == 1
    free = replace(CHOICES, groups=(), excluded=frozenset())
    assert named(strongest(LOGITS, free), free) == {"a": "none", "b": "conv", "c": "skip_connect"}


def test_adding_a_constant_to_a_row_changes_nothing() -> None:
    for shifts in itertools.product([-3.0, 0.0, 5.0], repeat=3):
        shifted = {name: values + shift for (name, values), shift in zip(LOGITS.items(), shifts, strict=True)}
        assert strongest(shifted, CHOICES) == strongest(LOGITS, CHOICES)
