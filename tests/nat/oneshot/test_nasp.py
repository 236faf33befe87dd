"""NASP: what runs, what gets gradients, where the continuous copy may be, and what the complexity term does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator

from nat.errors import InputError
from nat.oneshot.base import Batch, Settings
from nat.oneshot.nasp import Nasp, shares
from nat.oneshot.relaxation import select
from nat.oneshot.trainer import OneShotTrainer

WITHOUT_NONE = ("skip_connect", "linear", "wide")


@pytest.fixture
def start(make_network: Callable[..., Any]) -> Callable[..., OneShotTrainer]:
    def make(strategy: Nasp, seed: int = 0, rate: float = 3e-4) -> OneShotTrainer:
        settings = Settings(epochs=3, architecture_rate=rate)
        return OneShotTrainer(make_network(WITHOUT_NONE, seed=seed), strategy, settings, seed)

    return make


def test_the_continuous_copy_stays_between_zero_and_one(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]
) -> None:
    trainer = start(Nasp(), rate=0.4)
    touched = set()
    for step in range(12):
        trainer.step(make_batch(step), make_batch(step + 50))
        values = torch.cat([vector.detach() for vector in trainer.state.parameters.values()])
        assert values.min() >= 0 and values.max() <= 1
        touched |= {float(value) for value in values if value in (0, 1)}
    assert touched == {0.0, 1.0}, "steps of this size must meet both bounds"


def test_the_continuous_copy_moves_where_the_architecture_may_not(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]
) -> None:
    trainer = start(Nasp())
    with torch.no_grad():
        for name, vector in trainer.state.parameters.items():
            vector.copy_(torch.tensor([0.2, 0.5, 0.8]) - 0.05 * int(name[7]))
    before = trainer.strategy.derive(trainer.state)
    values = {name: vector.detach().clone() for name, vector in trainer.state.parameters.items()}
    trainer.step_architecture(make_batch(0), make_batch(1))
    assert trainer.strategy.derive(trainer.state) == before
    assert all((trainer.state.parameters[name] != values[name]).all() for name in values), "every entry has a gradient"


@pytest.mark.parametrize("prune", [True, False])
def test_what_is_derived_is_what_was_trained(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch], prune: bool
) -> None:
    trainer = start(Nasp(prune=prune), rate=0.05)
    for step in range(5):
        trainer.step(make_batch(step), make_batch(step + 50))
        derived = trainer.strategy.derive(trainer.state)
        mixtures = trainer.strategy.weight_mixtures(trainer.state)
        for name, winner in derived.items():
            expected = () if winner is None else (winner,)
            active = mixtures[name].active
            assert active == expected if prune or winner is not None else len(active) == 1
            assert mixtures[name].probed == ()


def test_the_complexity_term_moves_active_entries_by_their_share(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]
) -> None:
    plain, heavy = start(Nasp(prune=False)), start(Nasp(eta=2.0, prune=False))
    for trainer in (plain, heavy):
        trainer.state.generator.manual_seed(3)
    (_, without), (_, with_term) = (
        trainer.strategy.gradients(trainer.state, make_batch(0), make_batch(1)) for trainer in (plain, heavy)
    )
    winners = select(plain.state.parameters, Generator().manual_seed(3))
    for name, share in shares(plain.state.choices).items():
        winner = winners[name]
        expected = torch.zeros(3, dtype=torch.float64)
        expected[winner] = 2 * 2.0 * share[winner]
        assert torch.allclose((with_term[name] - without[name]).double(), expected, atol=1e-6)
        assert float(share.sum()) == pytest.approx(1.0) and share[0] == 0 < share[1] < share[2]


def test_options_that_are_never_derived_are_refused(make_network: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="none"):
        OneShotTrainer(make_network(), Nasp())


def test_frugal_gradients_are_the_full_ones(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]
) -> None:
    found = [
        start(strategy).strategy.gradients(start(strategy).state, make_batch(0), make_batch(1))[1]
        for strategy in (Nasp(), Nasp(frugal=False))
    ]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert all(vector.abs().max() > 0 for vector in found[0].values())


ETAS, SEEDS, EPOCHS, BATCHES = (0.0, 0.01, 0.3), range(5), 4, 10


def test_parameters_shrink_as_eta_grows(make_network: Callable[..., Any], make_batch: Callable[[int], Batch]) -> None:
    """Whole searches from NASP's own start, where all entries are alike: five seeds, three values."""

    def pairs(seed: int, epoch: int) -> list[tuple[Batch, Batch]]:
        first = 2 * BATCHES * (EPOCHS * seed + epoch)
        return [(make_batch(first + step), make_batch(first + BATCHES + step)) for step in range(BATCHES)]

    def derived_size(eta: float, seed: int) -> int:
        settings = Settings(epochs=EPOCHS, architecture_rate=0.02)
        trainer = OneShotTrainer(make_network(WITHOUT_NONE, seed=seed), Nasp(eta=eta), settings, seed)
        found = trainer.run(lambda epoch: pairs(seed, epoch)).derived
        options, sizes = trainer.state.choices.options, trainer.state.choices.sizes
        assert sizes is not None
        return sum(sizes[name][options[name].index(option)] for name, option in found.items() if option is not None)

    sizes = {eta: [derived_size(eta, seed) for seed in SEEDS] for eta in ETAS}
    plain, some, much = (sum(found) / len(found) for found in sizes.values())
    assert plain > some > much, sizes
    assert much < plain / 2, sizes
