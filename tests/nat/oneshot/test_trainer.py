"""The trainer that all strategies share: a seed gives one search, also if it is stopped between; records; rules."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from nat.errors import InputError, TransferError
from nat.oneshot.base import Batch, EpochRecord, Settings, Strategy
from nat.oneshot.darts import Darts
from nat.oneshot.gdas import Gdas
from nat.oneshot.nasp import Nasp
from nat.oneshot.relaxation import softmax_mixtures
from nat.oneshot.stopping import DartsPlus, GrowingCurvature, greatest_eigenvalue
from nat.oneshot.trainer import OneShotTrainer, Pairs

STRATEGIES: list[Strategy] = [Darts(1), Darts(2), Darts(2, hvp="fd"), Nasp(eta=0.1), Nasp(prune=False), Gdas()]
WITHOUT_NONE = ("skip_connect", "linear", "wide")


@pytest.fixture
def start(make_network: Callable[..., Any]) -> Callable[..., OneShotTrainer]:
    def make(strategy: Strategy, seed: int = 0, **options: Any) -> OneShotTrainer:
        network = make_network(WITHOUT_NONE)
        return OneShotTrainer(network, strategy, Settings(epochs=4, architecture_rate=0.05), seed, **options)

    return make


@pytest.fixture
def batches(make_batch: Callable[[int], Batch]) -> Callable[[int], Pairs]:
    return lambda epoch: [(make_batch(10 * epoch + step), make_batch(100 + 10 * epoch + step)) for step in range(3)]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_search_that_was_stopped_ends_the_same(
    start: Callable[..., OneShotTrainer], batches: Callable[[int], Pairs], strategy: Strategy
) -> None:
    whole = start(strategy)
    result = whole.run(batches)
    first = start(strategy)
    for epoch in range(2):
        first.run_epoch(batches(epoch))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = start(strategy, seed=7)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.run(batches) == result
    for name, values in whole.state.parameters.items():
        assert torch.equal(values, second.state.parameters[name])
    pairs = zip(whole.state.network.state_dict().values(), second.state.network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("strategy", [Nasp(), Gdas()], ids=repr)
def test_another_seed_is_another_search(
    start: Callable[..., OneShotTrainer], batches: Callable[[int], Pairs], strategy: Strategy
) -> None:
    assert start(strategy).run(batches).history != start(strategy, seed=1).run(batches).history


def test_the_learning_rate_falls_epoch_by_epoch(
    start: Callable[..., OneShotTrainer], batches: Callable[[int], Pairs]
) -> None:
    trainer, rates = start(Darts()), []
    trainer.run(batches, after=lambda record: rates.append(trainer.state.optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([0.025, 0.0214853, 0.013, 0.0045147], abs=1e-6)


def test_gdas_trains_the_weights_first(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]
) -> None:
    for strategy, first in ((Gdas(), "weights"), (Darts(), "architecture")):
        trainer, order = start(strategy), []
        trainer.step_weights = lambda train, order=order: order.append("weights") or 0.0  # type: ignore[method-assign]
        trainer.step_architecture = lambda t, v, order=order: order.append("architecture") or 0.0  # type: ignore[method-assign]
        trainer.step(make_batch(0), make_batch(1))
        assert order[0] == first and len(order) == 2


def test_records_say_what_an_epoch_was_like(
    start: Callable[..., OneShotTrainer], batches: Callable[[int], Pairs]
) -> None:
    trainer = start(Darts(), rules=[GrowingCurvature()])
    record = trainer.run_epoch(batches(0))
    assert record.epoch == 0 and record.train_loss > 0 and record.valid_loss > 0
    assert 0 < record.entropy <= torch.tensor(3.0).log() + 1e-9
    assert record.skips == sum(option == "skip_connect" for option in record.derived.values())
    assert sum(option is None for option in record.derived.values()) == 1
    assert record.eigenvalue is not None and record.eigenvalue > 0


def test_the_eigenvalue_is_that_of_the_hessian(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]
) -> None:
    trainer = start(Darts())
    state, (images, labels) = trainer.state, make_batch(0)
    names = list(state.parameters)

    def loss(*vectors: torch.Tensor) -> torch.Tensor:
        logits = state.network(images, softmax_mixtures(dict(zip(names, vectors, strict=True))))
        return torch.nn.functional.cross_entropy(logits, labels)

    rows = torch.autograd.functional.hessian(loss, tuple(state.parameters.values()))
    matrix = torch.cat([torch.cat(list(row), dim=1) for row in rows])
    found = greatest_eigenvalue(state.network, state.parameters, (images, labels), steps=200)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(matrix).abs().max()), rel=1e-3)


def test_errors_say_what_was_expected(start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch]) -> None:
    with pytest.raises(InputError, match="at least one training"):
        start(Darts()).run_epoch([])
    with pytest.raises(InputError, match="expected the state of a darts1"):
        start(Darts()).load_state_dict(start(Gdas()).state_dict())
    with pytest.raises(InputError, match="at least 1 epoch"):
        OneShotTrainer(start(Darts()).state.network, Darts(), Settings(epochs=0))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@pytest.mark.parametrize("broken", ["training", "validation"])
def test_a_search_that_diverges_says_so_and_leaves_the_architecture_as_it_was(
    start: Callable[..., OneShotTrainer], make_batch: Callable[[int], Batch], strategy: Strategy, broken: str
) -> None:
    trainer, (images, labels) = start(strategy), make_batch(0)
    batches = {name: (images * (torch.nan if name == broken else 1), labels) for name in ("training", "validation")}
    with pytest.raises(TransferError, match=r"diverged in epoch 0: its .* loss is nan. Lower"):
        trainer.run_epoch([(batches["training"], batches["validation"])])
    assert all(vector.isfinite().all() for vector in trainer.state.parameters.values())


RECORD = EpochRecord(0, 1.0, 1.0, 0, 1.0, {"normal:0->2": "conv", "normal:1->2": "conv"}, {"normal:0->2": [0, 1]}, 1.0)


def history(count: int, **changes: Any) -> list[EpochRecord]:
    return [replace(RECORD, epoch=epoch, **changes) for epoch in range(count)]


def test_skip_connections_end_a_search_one_epoch_earlier() -> None:
    skips = {"normal:0->2": "skip_connect", "normal:1->2": "skip_connect", "reduce:0->2": "skip_connect"}
    past = history(3)
    assert DartsPlus().chosen_epoch(past) is None
    assert DartsPlus().chosen_epoch([*past, replace(RECORD, epoch=3, derived=skips)]) == 2
    reduction = {"normal:0->2": "skip_connect", "reduce:0->2": "skip_connect", "reduce:1->2": "skip_connect"}
    assert DartsPlus().chosen_epoch([*past, replace(RECORD, epoch=3, derived=reduction)]) is None


def test_an_order_that_stays_ends_a_search() -> None:
    assert DartsPlus().chosen_epoch(history(10)) is None
    assert DartsPlus().chosen_epoch(history(11)) == 10
    changed = [*history(5, ranking={"normal:0->2": [1, 0]})[:1], *history(11)[1:]]
    assert DartsPlus().chosen_epoch(changed) is None


def test_growing_curvature_ends_a_search_and_goes_back() -> None:
    flat = history(14)
    assert GrowingCurvature().chosen_epoch(flat) is None
    sharp = [replace(record, eigenvalue=1.0 if record.epoch < 10 else 3.0) for record in flat]
    assert GrowingCurvature().chosen_epoch(sharp) == 9
    assert GrowingCurvature().chosen_epoch(sharp[:10]) is None


def test_a_rule_ends_the_run(start: Callable[..., OneShotTrainer], batches: Callable[[int], Pairs]) -> None:
    result = start(Darts(), rules=[DartsPlus(most_skips=0)]).run(batches)
    assert result.stopped == "darts+" and result.epoch == 0 and len(result.history) == 1
