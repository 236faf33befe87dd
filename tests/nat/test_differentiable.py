"""What DARTS, NASP and GDAS do with architecture parameters; proposals, limits, and what is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import Generator
from torch import Tensor

from nat.errors import InputError
from nat.problem import SearchProblem
from nat.searchers import DartsSearcher, GdasSearcher, NaspSearcher, TrainedSearcher, differentiable
from nat.searchers.derived import Distribution, propose_from, size_shares, within_limits
from nat.searchers.differentiable import DifferentiableSearcher
from nat.searchers.sandwich import PASSES
from nat.supernet.architecture import Architecture
from nat.supernet.categories import Categories, ExpectedMacs
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits, sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer

every = pytest.mark.parametrize("make", [DartsSearcher, NaspSearcher, GdasSearcher])
Make = Callable[..., DifferentiableSearcher]
SPACE = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24,))


class Granted:
    """Some steps on noise, every batch the same; `steps` of a schedule of 20."""

    def __init__(self, steps: range, trainer: WeightTrainer | None = None) -> None:
        supernet = Supernet(SPACE, 3, generator=torch.Generator().manual_seed(0))
        self.trainer = trainer or WeightTrainer(supernet, Schedule(1e-9, 20), weight_decay=0.0)
        self._steps = steps

    def steps(self) -> Iterator[int]:
        yield from self._steps

    def rng(self, step: int) -> Generator:
        return np.random.default_rng([7, step])

    def batch(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(step % 2)
        return torch.randn(4, 3, resolution, resolution, generator=generator), torch.tensor([0, 1, 2, 0])

    held_out = batch


def trained(
    searcher: DifferentiableSearcher, steps: range = range(20), trainer: WeightTrainer | None = None
) -> DifferentiableSearcher:
    problem = SearchProblem(CostTable(SPACE, 3))
    searcher.adapt(Granted(steps, trainer), problem, SPACE.encode([SPACE.smallest(), SPACE.largest()]))
    return searcher


def expected_macs(searcher: DifferentiableSearcher) -> list[float]:
    """Of each set, as a share of the way from the smallest to the largest subnet."""
    costs = CostTable(SPACE, 3)
    low, high = (costs.of(end)[0] for end in (SPACE.smallest(), SPACE.largest()))
    found = []
    for parameters in searcher.sets:
        shares = {name: values / values.sum() for name, values in searcher.shares(parameters).items()}
        found.append((float(ExpectedMacs(costs)(shares, 0)) - low) / (high - low))
    return found


@every
def test_a_price_above_all_else_leads_to_the_smallest(make: Make) -> None:
    """And shares are probabilities, all choices are there, and NASP's entries stay in [0, 1]."""
    searcher = trained(make(prices=(100.0, 0.0)))
    dear, free = expected_macs(searcher)
    assert dear < 0.45 and dear < free - 0.03, (dear, free)
    for parameters in searcher.sets:
        assert {name: len(values) for name, values in parameters.items()} == Categories(SPACE).options
        assert all(values.isfinite().all() for values in parameters.values())
        if isinstance(searcher, NaspSearcher):
            assert all(0 <= values.min() and values.max() <= 1 for values in parameters.values())


@every
def test_the_state_goes_on_exactly(make: Make) -> None:
    """Ten steps and ten more from what was saved are twenty steps; before the first there is no state."""
    trainer = Granted(range(0)).trainer
    whole, first, second = trained(make()), trained(make(), range(10), trainer), make()
    assert isinstance(second, TrainedSearcher) and second.state_dict() == {}
    second.load_state_dict(first.state_dict())
    trained(second, range(10, 20), trainer)
    torch.testing.assert_close(second.state_dict(), whole.state_dict(), rtol=0, atol=0)
    second.load_state_dict({})
    assert second.state_dict() == {}


@every
def test_the_first_steps_are_the_weights_alone(make: Make) -> None:
    fresh, later = trained(make(), range(4)), trained(make(), range(6))
    assert not fresh.state_dict()["optimizer"]["state"]
    assert later.state_dict()["optimizer"]["state"]


@every
def test_steps_of_the_architecture_are_those_that_are_charged(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run = differentiable.relaxed_logits
    monkeypatch.setattr(differentiable, "relaxed_logits", lambda *given: calls.append(1) or run(*given))
    searcher = trained(make())
    assert len(calls) == pytest.approx(20 * searcher.architecture_passes)
    assert searcher.passes == pytest.approx(PASSES + searcher.architecture_passes)


def test_gdas_prices_what_a_draw_shows() -> None:
    """The drawn subnet's multiply-adds; nothing is wider or deeper than a draw that has no gain for it either."""
    choices, costs, generator = Categories(SPACE), CostTable(SPACE, 3), torch.Generator().manual_seed(0)
    searcher, seen = GdasSearcher(), {"least": 0, "more": 0}
    parameters = searcher.fresh(choices.options, generator)
    for _ in range(10):
        relaxed = searcher.relax(parameters, 0.5, generator)
        macs = ExpectedMacs(costs)(relaxed.probabilities, 0)
        drawn = {name: mixture.active[0] for name, mixture in relaxed.mixtures.items()}
        row = choices.encodings({name: np.array([option]) for name, option in drawn.items()}, np.zeros(1, dtype=int))
        assert macs.item() == pytest.approx(costs.macs(row)[0], rel=1e-5)
        slopes = torch.autograd.grad(macs, list(parameters.values()), allow_unused=True)
        for (name, option), slope in zip(drawn.items(), slopes, strict=True):
            moved = slope is not None and float(slope.abs().max()) > 1e-3
            if not name.startswith("kernel"):
                seen["more" if option else "least"] += moved
    assert seen["least"] == 0 < seen["more"]


@every
def test_what_is_refused(make: Make, problem: SearchProblem) -> None:
    for prices in ((), (0.1, -0.1)):
        with pytest.raises(InputError, match="at least one price"):
            make(prices=prices)

    class Other:
        space = SPACE

    with pytest.raises(InputError, match="elastic mobile network"):
        make().propose(SearchProblem(Other()), [], 2, np.random.default_rng(0))  # type: ignore[arg-type]
    elsewhere = SearchProblem(CostTable(replace(SPACE, kernels=(3,)), 3))
    with pytest.raises(InputError, match="trained in"):
        trained(make(), range(1)).propose(elsewhere, [], 2, np.random.default_rng(0))


def test_second_order_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"order 1, got 2.*not trained with mixed options"):
        DartsSearcher(order=2)


def certain(space: MobileNetSpace, option: int) -> Distribution:
    """All on the first or the last option."""
    options = Categories(space).options
    best = {name: range(count)[option] for name, count in options.items()}
    return Distribution(best, {name: np.eye(count)[best[name]] for name, count in options.items()})


def test_proposals_come_from_all_distributions_and_keep_the_limits(
    space: MobileNetSpace, problem: SearchProblem, evaluate: Callable[..., Any]
) -> None:
    both = [certain(space, 0), certain(space, -1)]
    choices = Categories(space)
    known = evaluate(problem, [space.smallest()], [0.5])
    nets = propose_from(both, problem, choices, known, 3, np.random.default_rng(0))
    without_size = {net.depths for net in nets}
    assert len(nets) == 3 and space.smallest() not in nets
    assert {space.largest().depths, space.smallest().depths} & without_size
    costs = problem.costs
    limit = (costs.of(space.smallest())[0] + costs.of(space.largest())[0]) // 2
    limited = replace(problem, limits=Limits(max_macs=limit))
    nets = propose_from(both[1:], limited, choices, known, 8, np.random.default_rng(0))
    assert len(set(nets)) == 8 and all(costs.of(net)[0] <= limit for net in nets)
    near = [net for net in nets if costs.of(net)[0] > 0.8 * limit]
    assert len(near) >= 4, "made no smaller than need be"


def test_what_keeps_the_limits_stays_and_what_cannot_is_none(space: MobileNetSpace, problem: SearchProblem) -> None:
    rng = np.random.default_rng(0)
    for row in sample_uniform(space, 20, rng)[:, None]:
        assert within_limits(problem, row, rng) is row
    impossible = replace(problem, limits=Limits(max_macs=1))
    assert within_limits(impossible, space.encode([space.largest()]), rng) is None


def test_input_sizes_of_the_front_are_likelier(
    space: MobileNetSpace, problem: SearchProblem, evaluate: Callable[..., Any]
) -> None:
    assert size_shares(problem, []).tolist() == [0.5, 0.5]

    def net(resolution: int, depth: int) -> Architecture:
        return space.uniform(3, 2, depth, resolution)

    known = evaluate(problem, [net(24, 1), net(32, 1), net(32, 2)], [0.9, 0.5, 0.3])
    assert size_shares(problem, known).tolist() == [2 / 5, 3 / 5]
    known = evaluate(problem, [net(24, 1), net(32, 1), net(32, 2)], [0.3, 0.5, 0.4])
    assert size_shares(problem, known).tolist() == [2 / 3, 1 / 3], "the others are dominated"
