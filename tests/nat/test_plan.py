"""Amounts and budgets, without any network."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.plan import Pace, Plan, Speeds, TimedPlan, within_evaluations, within_time

STANDARD = Plan(initial=48, rounds=8, per_round=12, archive=60, first_steps=400, round_steps=60, seed=0)
SPEEDS = Speeds(step=0.5, evaluation=0.4, smallest_step=0.05, largest_step=0.25, measurement=1.0)
plans = st.builds(
    Plan,
    initial=st.integers(2, 100),
    rounds=st.integers(0, 30),
    per_round=st.integers(1, 100),
    archive=st.integers(2, 300),
    first_steps=st.integers(0, 500),
    round_steps=st.integers(0, 100),
    seed=st.just(0),
    frozen=st.booleans(),
)


def test_evaluations_count_again_with_newer_weights_but_not_with_frozen_ones() -> None:
    plan = Plan(initial=6, rounds=3, per_round=3, archive=4, first_steps=5, round_steps=2, seed=0)
    assert [plan.pool_size(k) for k in range(4)] == [6, 7, 7, 7] and plan.evaluations == 27
    frozen = replace(plan, frozen=True)
    assert [frozen.pool_size(k) for k in range(4)] == [6, 3, 3, 3]
    assert [frozen.version(k) for k in range(4)] == [0] * 4 and frozen.total_steps == 5


@given(plans, st.integers(2, 3000))
def test_a_budget_of_evaluations_is_kept_and_used(plan: Plan, most: int) -> None:
    cut = within_evaluations(plan, most)
    if plan.evaluations <= most:
        assert cut == plan
    else:
        assert cut.evaluations <= most
        assert replace(cut, initial=cut.initial + 1).evaluations > most, "one more would fit"
        assert (cut.per_round, cut.archive, cut.round_steps) == (plan.per_round, plan.archive, plan.round_steps)


@given(plans, st.integers(0, 500), st.floats(1, 1e5), st.floats(0, 100))
def test_a_plan_for_a_time_is_forecast_to_need_less(plan: Plan, tuning: int, budget: float, begun: float) -> None:
    timed = within_time(plan, tuning, 8, SPEEDS, begun, budget)
    need = SPEEDS.search(timed.plan) + SPEEDS.finetuning(timed.finetuning, 8)
    least = SPEEDS.search(plan.scaled(0)) + SPEEDS.finetuning(0, 8)
    assert need <= max(0.9 * (budget - begun), least) + 1e-9
    assert timed.plan.rounds <= plan.rounds and timed.finetuning <= tuning and timed.until < budget
    assert TimedPlan.from_json(timed.to_json()) == timed


def test_time_enough_changes_nothing() -> None:
    assert within_time(STANDARD, 300, 10, SPEEDS, 0, 1e6).plan == STANDARD


def test_steps_of_tuning_fill_what_is_left() -> None:
    timed = within_time(STANDARD, 300, 3, SPEEDS, 0, 600).settled([0, 0.5, 1], SPEEDS, 300, 100)
    seconds = timed.finetuning * (0.05 + 0.15 + 0.25) + 3
    assert 90 < seconds <= 95 and timed.final
    assert timed.settled([0], SPEEDS, 300, -5).finetuning == 0
    assert timed.settled([0], SPEEDS, 10, 500).finetuning == 10


def test_pace_leaves_out_rounds_that_would_not_end_in_time() -> None:
    now = 0.0
    pace = Pace(lambda: now, 100.0, SPEEDS)
    seconds = 5 + 60 * 0.4 + 60 * 0.5  # of a round: proposal, evaluations, steps
    now = 100 - 1.5 * seconds
    assert pace.rounds(STANDARD, 3) == 3, "time for round 3 only"
    now = 100 - 0.5 * seconds
    assert pace.rounds(STANDARD, 3) == 2 and not pace.over
    assert pace.training_over(300) and not pace.training_over(1)
    now = 101
    assert pace.over
    assert Pace().rounds(STANDARD, 3) == 8 and not Pace().over and math.isinf(Pace().until)


def test_pace_forgets_forecasts_for_measurements() -> None:
    pace = Pace(lambda: 0.0, 100.0, SPEEDS)
    pace.measured("step", 8.0, 4)
    pace.measured("evaluation", 3.0, 0)
    assert pace.speeds == replace(SPEEDS, step=2.0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_scaled_keeps_a_sample_to_start_from(share: float) -> None:
    scaled = STANDARD.scaled(share)
    assert scaled.initial >= 2 and scaled.rounds == int(8 * share) and scaled.first_steps == round(400 * share)
