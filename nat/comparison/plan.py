"""Settling what a comparison does before anything is trained: amounts of equal cost, and how long they will take."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nat.comparison.options import CONTROL, Comparison, ComparisonFolder, ComparisonOptions, Share
from nat.efforts import steps_of
from nat.errors import BudgetError
from nat.forecast import Trial
from nat.job import Job, Shared
from nat.meter import equal_plan, read_budget, scaled_to
from nat.plan import Plan
from nat.preparation import make_searcher, with_absolute_paths
from nat.progress import Progress
from nat.searchers import check_searcher
from nat.supernet.sampling import sample_stratified

LESS = 2 / 3  # of the architectures that a transfer of the same effort evaluates
PLACES = (0.25, 0.5, 0.75)  # of the budgets of multiply-adds, from the cheapest to the dearest subnet, in logarithms
SAMPLED = 32


def complete(options: ComparisonOptions) -> ComparisonOptions:
    """The options with each strategy once, random search among them, and absolute paths.

    Raises:
        InputError: a strategy is unknown.
    """
    for name in options.searchers:
        check_searcher(name)
    names = tuple(dict.fromkeys([*options.searchers, CONTROL]))
    return options.model_copy(update={"searchers": names, "transfer": with_absolute_paths(options.transfer)})


def planned(options: ComparisonOptions, folder: ComparisonFolder, progress: Progress) -> tuple[Comparison, Shared]:
    """Settles a comparison, and gives what the runs of its first seed share.

    Raises:
        InputError: something that was asked cannot be done; nothing is left behind.
    """
    shared = Shared()
    job = Job(options.transfer.model_copy(update={"seed": 0}), folder.run(CONTROL, 0), progress, shared)
    evaluator, stream = job.evaluator(), job.stream(0)
    control = job.prices(make_searcher(CONTROL, job.amounts, 1), evaluator)
    usual = lessened(job.plan(stream), set(options.transfer.overrides))
    default = control.cost(usual)
    budget = read_budget(options.budget, default)
    plan = scaled_to(usual, control, budget)
    prices = {name: job.prices(make_searcher(name, job.amounts, plan.rounds), evaluator) for name in options.searchers}
    shares = [Share(name, equal_plan(plan, prices[name], budget, name), prices[name]) for name in options.searchers]
    tuning, macs = steps_of(job.amounts.finetuning, stream.steps_per_epoch), _budgets(job, options.macs)
    images, workers = len(job.splits.val) + len(job.splits.test), job.workers(len(macs))
    trial = Trial(job.problem, job.supernet, stream, evaluator, images, workers)
    amounts = job.amounts.model_dump(mode="json") | {"controls": "none", "finetuning": f"{tuning} steps"}
    seconds = _forecast(trial, shares, control.step, tuning, len(macs))
    return Comparison(options, amounts, budget, default, macs, tuning, tuple(shares), seconds), shared


def lessened(plan: Plan, given: set[str]) -> Plan:
    """The amounts of a transfer with fewer evaluations, as there are many runs; those that the user gave stay."""
    initial = plan.initial if "initial" in given else max(2, round(LESS * plan.initial))
    per_round = plan.per_round if "per_round" in given else max(1, round(LESS * plan.per_round))
    archive = plan.archive if "archive" in given else max(2, min(plan.archive, initial))
    return replace(plan, initial=initial, per_round=per_round, archive=archive)


def _budgets(job: Job, given: Sequence[int] | None) -> tuple[int, ...]:
    """Multiply-adds at which nets are compared: between those of the cheapest and of the dearest subnet, or as given.

    Raises:
        BudgetError: the cheapest subnet has more than a given one.
    """
    costs = job.problem.costs
    macs = costs.macs(sample_stratified(costs, SAMPLED, np.random.default_rng(0), job.problem.limits))
    low, high = float(macs.min()), float(macs.max())
    if given is None:
        return tuple(sorted({round(low * (high / low) ** place) for place in PLACES}))
    if min(given) < low:
        raise BudgetError(f"expected --macs of at least {low:,.0f}, which the cheapest subnet has, got {min(given):,}.")
    return tuple(given)


def _forecast(trial: Trial, shares: Sequence[Share], passes: float, tuning: int, nets: int) -> float:
    """Seconds of one run, the mean over the strategies; measured steps are of so many passes."""
    speeds = trial.speeds()
    searches = [
        share.plan.total_steps * speeds.step * share.prices.step / passes
        + share.plan.evaluations * speeds.evaluation
        + share.plan.rounds * speeds.proposal
        for share in shares
    ]
    return float(np.mean(searches)) + speeds.finetuning(tuning, nets)
