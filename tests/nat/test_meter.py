"""What work costs in passes, and plans that cost the same."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.errors import BudgetError, InputError
from nat.meter import Prices, equal_plan, read_budget, scaled_to, settled
from nat.plan import Plan

PLAN = Plan(initial=16, rounds=4, per_round=8, archive=16, first_steps=50, round_steps=20, seed=0)
SANDWICH = Prices(step=4, architecture=0, evaluation=5, start=10)


@dataclass
class Mixing:
    """A strategy that takes a step of the architecture after each of the weights."""

    passes: float = 6.0
    architecture_passes: float = 2.0


def test_prices_of_a_strategy() -> None:
    prices = Prices.of(Mixing(), batch=32, evaluated=480, started=96)
    assert prices == Prices(step=6, architecture=2, evaluation=5, start=1)
    with pytest.raises(InputError, match="passes"):
        Prices.of(object(), 32, 480, 96)


def test_what_is_charged_at_the_end_of_each_round() -> None:
    prices = Prices(step=6, architecture=2, evaluation=5, start=1)
    plan = replace(PLAN, rounds=2, extra_steps=3)
    first, second, last = prices.charges(plan, [16, 24, 20])
    assert first.to_json() == {
        "start": 1,
        "first_training": 200,
        "later_training": 0,
        "architecture": 100,
        "evaluations": 80,
        "total": 381,
    }
    assert second.later_training == 4 * 20
    assert last.later_training == 4 * (20 + 20 + 3)
    assert last.architecture == 2 * (50 + 20 + 20 + 3)
    assert last.evaluations == 5 * 60
    assert last.total == 1 + 6 * 93 + 300


def test_a_whole_plan_costs_what_it_is_charged() -> None:
    sizes = [PLAN.pool_size(round) for round in range(PLAN.rounds + 1)]
    assert sizes == [16, 24, 24, 24, 24]
    assert SANDWICH.cost(PLAN) == SANDWICH.charges(PLAN, sizes)[-1].total == 10 + 4 * 130 + 5 * 112


@settings(deadline=None)  # the machine may be busy
@given(st.floats(1, 40), st.floats(700, 20_000))
def test_strategies_differ_by_less_than_a_step(passes: float, budget: float) -> None:
    plan = scaled_to(PLAN, SANDWICH, budget)
    prices = replace(SANDWICH, step=passes)
    try:
        own = equal_plan(plan, prices, budget, "own")
    except BudgetError:
        assert prices.cost(replace(plan, first_steps=1, round_steps=1)) > budget
        return
    assert own.evaluations == plan.evaluations and own.rounds == plan.rounds
    assert own.first_steps >= 1 and own.round_steps >= 1
    assert -1e-6 <= budget - prices.cost(own) < passes + 1e-6


@settings(deadline=None)
@given(st.integers(0, 60))
def test_what_missing_evaluations_leave_is_trained_with(missing: int) -> None:
    budget = SANDWICH.cost(PLAN)
    plan = settled(PLAN, SANDWICH, budget, PLAN.evaluations - missing)
    assert plan.last_step(plan.rounds - 1) == PLAN.last_step(PLAN.rounds - 1), "rounds before the last are as they were"
    spent = SANDWICH.start + SANDWICH.step * plan.total_steps + SANDWICH.evaluation * (plan.evaluations - missing)
    assert 0 <= budget - spent < SANDWICH.step
    assert settled(plan, SANDWICH, budget, PLAN.evaluations - missing) == plan, "however often it is settled"


def test_more_evaluations_than_planned_take_no_steps_away() -> None:
    assert settled(PLAN, SANDWICH, SANDWICH.cost(PLAN), PLAN.evaluations + 5) == PLAN


def test_scaling() -> None:
    usual = SANDWICH.cost(PLAN)
    assert scaled_to(PLAN, SANDWICH, usual) == PLAN
    double = scaled_to(PLAN, SANDWICH, 2 * usual)
    assert double.rounds > 1.5 * PLAN.rounds and double.initial > 1.5 * PLAN.initial
    assert SANDWICH.cost(double) <= 2 * usual
    half = scaled_to(PLAN, SANDWICH, usual / 2)
    assert SANDWICH.cost(scaled_to(PLAN, SANDWICH, 1000 * usual)) > 995 * usual
    assert half.rounds in (1, 2) and SANDWICH.cost(half) <= usual / 2


def test_too_little_for_one_round() -> None:
    least = SANDWICH.cost(PLAN.scaled(1 / PLAN.rounds))
    assert scaled_to(PLAN, SANDWICH, least).rounds == 1
    with pytest.raises(BudgetError, match=r"at least .* passes .*x\), which is one round"):
        scaled_to(PLAN, SANDWICH, least - 1)
    with pytest.raises(BudgetError, match="rounds=0"):
        scaled_to(replace(PLAN, rounds=0), SANDWICH, 1e6)
    with pytest.raises(BudgetError, match="leave 'dear' out"):
        equal_plan(PLAN, replace(SANDWICH, step=400), SANDWICH.cost(PLAN), "dear")


@pytest.mark.parametrize(
    ("text", "passes"), [("2000", 2000), ("2,000", 2000), ("0.5x", 50), (".5x", 50), ("2 x", 200), (" 1X", 100)]
)
def test_budgets_are_read(text: str, passes: float) -> None:
    assert read_budget(text, usual=100) == passes


@pytest.mark.parametrize("text", ["", "x", "0", "-1x", "-5", "nan", "inf", "many", "1e13", "2xx"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected --budget"):
        read_budget(text, usual=100)
