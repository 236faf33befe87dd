"""What a search costs, in one unit for all strategies, and the plans with which they all cost the same.

The unit is a pass: forward and backward of one subnet over one batch of training images, whatever the subnet. A
training step of the sandwich rule with four subnets is four passes. A forward pass alone counts as a third of one (the
backward pass is about two forwards), so that an evaluation, which recalibrates batch norm on some images and classifies
others, is (images / batch) / 3 passes. Everything before the search ends is charged, the first training included; the
time of surrogates is not, and is reported as seconds. Fine-tuning is the same for all strategies and not charged.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace

from nat.errors import BudgetError, InputError
from nat.plan import Plan

FORWARD = 1 / 3  # of a pass
TIMES = re.compile(r"(\d+\.?\d*|\.\d+) ?x")


@dataclass(frozen=True)
class Charge:
    """What has been charged, in passes.

    Attributes:
        start: settling the supernet on the images and fitting its classifier.
        first_training: of the shared weights, before the first evaluation.
        later_training: of the shared weights, afterwards.
        architecture: steps of architecture parameters.
        evaluations: recalibration and validation, of failed evaluations too.
    """

    start: float
    first_training: float
    later_training: float
    architecture: float
    evaluations: float

    @property
    def total(self) -> float:
        """Of all parts."""
        return float(sum(astuple(self)))

    def to_json(self) -> dict[str, float]:
        """The parts and the total, by name."""
        return {name: round(value, 3) for name, value in {**asdict(self), "total": self.total}.items()}


@dataclass(frozen=True)
class Prices:
    """What units of a strategy's work cost, in passes.

    Attributes:
        step: a training step, with its part for architecture parameters.
        architecture: that part.
        evaluation: one evaluation.
        start: what is done once, before the first step.
    """

    step: float
    architecture: float
    evaluation: float
    start: float

    @classmethod
    def of(cls, strategy: object, batch: int, evaluated: int, started: int) -> "Prices":
        """The prices of a strategy's work.

        Args:
            strategy: says `passes` and perhaps `architecture_passes`, as `nat.searchers.base` has it.
            batch: images of a training step.
            evaluated: images that pass through a network in an evaluation.
            started: images that do before the first step.

        Raises:
            InputError: the strategy does not say what its steps cost.
        """
        passes = float(getattr(strategy, "passes", 0.0))
        if passes <= 0:
            raise InputError(f"expected `passes` above 0 of the strategy {type(strategy).__name__}, got {passes}.")
        architecture = float(getattr(strategy, "architecture_passes", 0.0))
        return cls(passes, architecture, FORWARD * evaluated / batch, FORWARD * started / batch)

    def charges(self, plan: Plan, evaluations: Sequence[int]) -> list[Charge]:
        """What has been charged at the end of each round.

        Args:
            plan: its training steps.
            evaluations: of each round, from round 0 on.
        """
        weights, done, found = self.step - self.architecture, 0, []
        for number, count in enumerate(evaluations):
            done += count
            steps = plan.last_step(number)
            first, later = weights * plan.last_step(0), weights * (steps - plan.last_step(0))
            charge = Charge(self.start, first, later, self.architecture * steps, self.evaluation * done)
            found.append(charge)
        return found

    def cost(self, plan: Plan) -> float:
        """Passes of a whole plan, every round with as many evaluations as it may have."""
        return self.start + self.step * plan.total_steps + self.evaluation * plan.evaluations

    def steps_left(self, budget: float, evaluations: int) -> int:
        """Training steps for which a budget has room beside so many evaluations."""
        return max(0, int((budget - self.start - self.evaluation * evaluations) / self.step + 1e-9))


def scaled_to(plan: Plan, prices: Prices, budget: float) -> Plan:
    """The plan whose initial sample, rounds and first training are scaled to what a budget allows.

    Args:
        plan: of at least one round; grows or shrinks.
        prices: the same for all strategies, so that all have as many rounds and evaluations.
        budget: passes.

    Raises:
        BudgetError: it does not suffice for one round.
    """
    if not plan.rounds:
        raise BudgetError("expected at least one round of proposals to compare, got rounds=0. Raise rounds.")
    least, whole = prices.cost(plan.scaled(1 / plan.rounds)), prices.cost(plan)
    if budget < least:
        raise BudgetError(
            f"expected --budget of at least {round(least + 0.5):,} passes ({least / whole + 0.005:.2f}x), which is one "
            f"round, got {budget:,.0f}. Raise it, or lower amounts: --set initial=..., --set per_round=..."
        )
    low, high = 1 / plan.rounds, 2 / plan.rounds
    while prices.cost(plan.scaled(high)) <= budget:
        low, high = high, 2 * high
    while high - low > 1e-3 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if prices.cost(plan.scaled(middle)) <= budget else (low, middle)
    return plan.scaled(low)


def equal_plan(plan: Plan, prices: Prices, budget: float, name: str) -> Plan:
    """The plan with as many training steps as a budget allows beside its evaluations: less than one step is left.

    Args:
        plan: its steps only say how the first training and those of the rounds compare.
        prices: of the strategy.
        budget: passes.
        name: of the strategy, for the error.

    Raises:
        BudgetError: there is not a step for each round.
    """
    steps, least = prices.steps_left(budget, plan.evaluations), plan.rounds + 1
    if steps < least:
        needed = prices.cost(replace(plan, first_steps=1, round_steps=1))
        raise BudgetError(
            f"expected --budget of at least {round(needed + 0.5):,} passes, with which '{name}' can take one step of "
            f"{prices.step:g} passes a round, got {budget:,.0f}. Raise it, or leave '{name}' out."
        )
    share = plan.round_steps / max(1, plan.first_steps + plan.rounds * plan.round_steps)
    each = min(max(1, int(share * steps)), (steps - 1) // plan.rounds)
    return replace(plan, first_steps=steps - plan.rounds * each, round_steps=each)


def settled(plan: Plan, prices: Prices, budget: float, evaluations: int) -> Plan:
    """The plan whose last round gets the steps that a strategy's missing evaluations have left of the budget.

    Args:
        plan: as `equal_plan` gives it.
        prices: of the strategy.
        budget: passes.
        evaluations: of the whole search, those of its last round as they will be.
    """
    plan = replace(plan, extra_steps=0)
    return replace(plan, extra_steps=max(0, prices.steps_left(budget, evaluations) - plan.total_steps))


def read_budget(text: str, usual: float) -> float:
    """Passes of a budget: a number ("2000"), or a multiple of the usual one ("0.5x").

    Raises:
        InputError: it is neither, or not above 0.
    """
    word = text.strip().lower().replace(",", "").replace("_", "")
    match = TIMES.fullmatch(word)
    try:
        value = float(match[1]) * usual if match else float(word)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        raise InputError(f"expected --budget in passes such as 2000, or a multiple such as 0.5x or 2x, got '{text}'.")
    return value
