"""Amounts of a search, and how they are cut to a budget of evaluations or of time."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

SPARE = 0.1  # of the time: kept for what the forecast does not know


@dataclass(frozen=True)
class Plan:
    """Amounts of a search.

    Attributes:
        initial: architectures of round 0.
        rounds: later rounds.
        per_round: new architectures of each of them.
        archive: most earlier architectures that a round evaluates again.
        first_steps: training steps of round 0.
        round_steps: training steps of each later round.
        seed: of everything random.
        frozen: the weights stay as round 0 leaves them, and nothing is evaluated twice (MSuNAS, Lu et al., ECCV 2020).
        extra_steps: further training steps of the last round.
    """

    initial: int
    rounds: int
    per_round: int
    archive: int
    first_steps: int
    round_steps: int
    seed: int
    frozen: bool = False
    extra_steps: int = 0

    @property
    def total_steps(self) -> int:
        """Training steps of the whole search."""
        return self.last_step(self.rounds)

    def last_step(self, round: int) -> int:
        """Number of training steps at the end of a round."""
        extra = self.extra_steps if round == self.rounds else 0
        return self.first_steps + (0 if self.frozen else round * self.round_steps) + extra

    def version(self, round: int) -> int:
        """Version of the weights that a round evaluates with."""
        return 0 if self.frozen else round

    def pool_size(self, round: int) -> int:
        """Evaluations of a round, at most."""
        return next(itertools.islice(self._pool_sizes(), round, None))

    @property
    def evaluations(self) -> int:
        """Evaluations of the whole search, at most; each one again with newer weights counts."""
        return sum(itertools.islice(self._pool_sizes(), self.rounds + 1))

    def _pool_sizes(self) -> Iterator[int]:
        """Of round 0 and of every later one."""
        size = self.initial
        while True:
            yield size
            size = self.per_round + (0 if self.frozen else min(self.archive, size))

    def scaled(self, share: float) -> "Plan":
        """The same with a share of the initial sample, of the rounds and of the first training."""
        return replace(
            self,
            initial=max(2, round(share * self.initial)),
            rounds=int(share * self.rounds + 1e-9),
            first_steps=round(share * self.first_steps),
        )


def within_evaluations(plan: Plan, most: int) -> Plan:
    """The plan with as many rounds as a number of evaluations allows; what is left of it enlarges the initial sample.

    Args:
        plan: stays as it is if it needs no more.
        most: evaluations, at least 1.
    """
    if plan.evaluations <= most:
        return plan
    while plan.rounds and plan.evaluations > most:
        plan = replace(plan, rounds=plan.rounds - 1)
    plan = replace(plan, initial=min(plan.initial, most))
    while (larger := replace(plan, initial=plan.initial + 1)).evaluations <= most:
        plan = larger
    return plan


@dataclass(frozen=True)
class Speeds:
    """What parts of a run take on this machine, in seconds.

    Attributes:
        step: one training step of the supernet.
        evaluation: one evaluation.
        smallest_step: one step of fine-tuning the smallest subnet.
        largest_step: the same of the largest.
        measurement: measuring a fine-tuned subnet on validation and test images.
        proposal: surrogate and evolution of a round; before there was one, a guess.
    """

    step: float
    evaluation: float
    smallest_step: float
    largest_step: float
    measurement: float
    proposal: float = 5.0

    def search(self, plan: Plan) -> float:
        """Seconds of a whole search."""
        return plan.total_steps * self.step + plan.evaluations * self.evaluation + plan.rounds * self.proposal

    def tuning_steps(self, shares: Sequence[float], seconds: float) -> int:
        """Steps of fine-tuning that each of several subnets can have, so that with their measuring all is done in time.

        Args:
            shares: where each lies between the smallest subnet (0) and the largest (1) in multiply-adds.
            seconds: for all of them.
        """
        left = seconds - len(shares) * self.measurement
        step = sum(self.smallest_step + share * (self.largest_step - self.smallest_step) for share in shares)
        return max(0, int(left / max(step, 1e-9)))

    def finetuning(self, steps: int, nets: int) -> float:
        """Seconds of fine-tuning and measuring subnets of which little is known: of middling cost."""
        return nets * (steps * (self.smallest_step + self.largest_step) / 2 + self.measurement)


@dataclass(frozen=True)
class TimedPlan:
    """A plan that fits a budget of time.

    Attributes:
        plan: amounts of the search.
        finetuning: steps of each subnet's fine-tuning: a forecast, until the search is done.
        until: seconds of the run at which the search has to be done.
        speeds: what the forecast rests on.
        final: whether the search is done and the steps of fine-tuning are settled.
    """

    plan: Plan
    finetuning: int
    until: float
    speeds: Speeds
    final: bool = False

    def settled(self, shares: Sequence[float], speeds: Speeds, most: int, left: float) -> "TimedPlan":
        """With as many steps of fine-tuning, at most `most`, as the time left allows, but for a twentieth of it."""
        steps = min(most, speeds.tuning_steps(shares, (1 - SPARE / 2) * left))
        return replace(self, finetuning=steps, speeds=speeds, final=True)

    def to_json(self) -> dict[str, Any]:
        """As a run's plan.json has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "TimedPlan":
        """What `to_json` gave."""
        return cls(**{**data, "plan": Plan(**data["plan"]), "speeds": Speeds(**data["speeds"])})


def within_time(plan: Plan, finetuning: int, nets: int, speeds: Speeds, begun: float, budget: float) -> TimedPlan:
    """The greatest share of all amounts that a budget of time allows.

    Rounds, initial sample, first training and fine-tuning shrink by one factor, found by bisection on the forecast; a
    tenth of the time is kept for what the forecast does not know.

    Args:
        plan: what the search would do with time enough.
        finetuning: steps of each subnet's fine-tuning, likewise.
        nets: how many subnets are fine-tuned.
        speeds: measured.
        begun: seconds that the run has taken already.
        budget: seconds of the whole run.
    """

    def forecast(share: float) -> float:
        return speeds.search(plan.scaled(share)) + speeds.finetuning(round(share * finetuning), nets)

    share = _greatest(lambda share: forecast(share) <= (1 - SPARE) * (budget - begun))
    steps = round(share * finetuning)
    until = budget - max(SPARE * budget / 2, 1.1 * speeds.finetuning(steps, nets))
    return TimedPlan(plan.scaled(share), steps, until, speeds)


def _greatest(fits: Callable[[float], bool]) -> float:
    """The greatest share in [0, 1] that fits, to a thousandth; what fits must fit with less. 0 if nothing does."""
    if fits(1.0):
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class Pace:
    """Keeps a search within its time: what parts take, measured as it goes, and what that leaves room for.

    Args:
        clock: seconds of the run so far, over all of its sessions.
        until: the reading of the clock at which the search has to be done; infinite for no budget.
        speeds: a forecast, which measurements replace.
    """

    def __init__(
        self, clock: Callable[[], float] = lambda: 0.0, until: float = math.inf, speeds: Speeds | None = None
    ) -> None:
        self.clock, self.until = clock, until
        self.speeds = speeds or Speeds(0, 0, 0, 0, 0)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.clock() >= self.until

    def measured(self, part: str, seconds: float, count: int = 1) -> None:
        """Takes up what `count` units of a part ("step", "evaluation", "proposal") took together."""
        if count:
            self.speeds = replace(self.speeds, **{part: seconds / count})

    def training_over(self, evaluations: int) -> bool:
        """Whether a training has to stop, so that as many evaluations behind it find time."""
        return self.clock() + evaluations * self.speeds.evaluation >= self.until

    def rounds(self, plan: Plan, next_round: int) -> int:
        """How many later rounds the search can have in all, at most those planned, before the next one begins."""
        if not math.isfinite(self.until):
            return plan.rounds
        seconds = self.speeds.proposal + self.speeds.evaluation * plan.pool_size(next_round)
        seconds += self.speeds.step * (plan.last_step(next_round) - plan.last_step(next_round - 1))
        room = max(0.0, self.until - self.clock()) / max(seconds, 1e-9)
        return min(plan.rounds, next_round - 1 + int(room))
