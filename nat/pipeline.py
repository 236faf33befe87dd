"""The whole job, resumable: from images and a supernet to fine-tuned, verified subnets in a run's folder."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nat.archive import Archive, Evaluation
from nat.bundle import Bundle
from nat.bundling import Bundling
from nat.controls import COUNT, Control, subnets_beside
from nat.datasets.stream import TrainStream
from nat.errors import BudgetError, NatError, RunError
from nat.evaluation import SubnetEvaluator
from nat.files import write_json
from nat.fronts import best_within, pareto_set, thinned
from nat.job import Job, Shared
from nat.joining import joined, joining
from nat.meter import settled
from nat.objectives import ERROR
from nat.options import TransferOptions
from nat.outsider import check_control, outsider
from nat.plan import Pace, Plan
from nat.preparation import make_searcher, with_absolute_paths
from nat.pretrained.store import save_supernet
from nat.progress import Progress, Silence
from nat.report.writing import write_page
from nat.reports import write_report
from nat.run_folder import RunFolder
from nat.search import Search
from nat.supernet.architecture import Architecture
from nat.supernet.training import Schedule, WeightTrainer


def transfer(
    options: TransferOptions, out: Path, progress: Progress | None = None, shared: Shared | None = None
) -> dict[str, Any]:
    """Runs a transfer in a new folder.

    Args:
        options: what is asked.
        out: the run's folder, new or empty; it is made once everything has been checked.
        progress: shows how far it is.
        shared: of runs that differ in their strategy alone.

    Returns:
        The content of front.json.

    Raises:
        InputError: something that was asked cannot be done; nothing is left behind.
        TransferError: the work failed.
    """
    folder = RunFolder(out)
    folder.check_free()
    job = Transfer(with_absolute_paths(options), folder, progress or Silence(), shared)
    if options.warm_start is not None:
        job.seeds(job.amounts.initial)  # what cannot be used is said before anything is made
    if options.control_model is not None:
        check_control(job)
    with folder.locked():
        folder.create(job.config())
        return job.run()


def resume(out: Path, progress: Progress | None = None, shared: Shared | None = None) -> dict[str, Any]:
    """Goes on with a run to the same result as if it had not been interrupted; a finished one returns at once.

    Args:
        out: the run's folder.
        progress: shows how far it is.
        shared: of runs that differ in their strategy alone.

    Returns:
        The content of front.json.

    Raises:
        RunError: there is no run, its data have changed, or another process is at work in it.
        TransferError: the work failed.
    """
    folder = RunFolder(out)
    folder.read_config()
    if folder.front.is_file():
        return folder.read_front()
    folder.read_options()  # before the lock, which makes a file
    with folder.locked():
        folder.sweep()
        return reopened(folder, progress or Silence(), shared).run()


def reopened(
    folder: RunFolder, progress: Progress, shared: Shared | None = None, *, adapted: bool = False
) -> "Transfer":
    """The job of an existing run, as it was asked.

    Args:
        folder: of the run.
        progress: shows how far it is.
        shared: of runs that differ in their strategy alone.
        adapted: with the run's own supernet, of a finished search; the one that it started from may be gone by then.

    Raises:
        RunError: there is no run, or its data have changed, so that its splits would be others, or its supernet.
    """
    config = folder.read_config()
    job = Transfer(folder.read_options(), folder, progress, shared, adapted=adapted)
    if job.splits.fingerprint != config["data"].get("fingerprint"):
        raise RunError(f"the images of '{job.options.data}' are not those that the run started with. Start a new run.")
    if json.loads(json.dumps(job.space.to_json())) != config["space"]:
        raise RunError(f"'{job.options.supernet}' has other choices than when the run started. Start a new run.")
    return job


class Transfer(Job):
    """One job from beginning to end; takes up whatever is there already."""

    def run(self) -> dict[str, Any]:
        """Searches, fine-tunes, measures, reports; takes up whatever is there already."""
        self.folder.elapsed()  # the run's clock, before several threads look at it
        if self.latency is not None and not self.folder.latency.is_file():
            write_json(self.folder.latency, self.latency.to_json())  # first: what follows depends on it
        with Archive(self.folder.archive) as archive:
            evaluations = self._search(archive)
        if not self.problem.keeping(evaluations):
            raise self._too_inaccurate(evaluations)
        front = self._reported(evaluations)
        tuned, controls = self._tuned(front)
        largest = joining(self, tuned, controls)
        if largest is not None:
            tuned[largest.architecture], controls = joined(self.folder, largest.architecture, controls)
        report = write_report(self.folder, self.problem, self.options, evaluations, tuned, controls, largest)
        self._write_page()
        return report

    def _tuned(self, front: list[Architecture]) -> tuple[dict[Architecture, Bundle], list[Control]]:
        """The fine-tuned front and its controls."""
        beside = subnets_beside(self.amounts.controls, self.problem, front, self.options.seed)
        places = {net: self.folder.controls for _, _, net in beside} | dict.fromkeys(front, self.folder.subnets)
        bundling, further = Bundling(self), self._further(front[-1:])
        if self.options.time is not None:
            stream = self.stream(self.options.seed + 1)
            budget = self.time_budget(stream, self.evaluator(), len(places) + len(further))
            bundling = Bundling(self, budget.settle(self._timed(list(places)), bundling.steps_on(stream)))
        others = [outsider(bundling, net) for net in further]
        bundles = bundling.tuned(places, [other.work for other in others])
        controls = [Control.of(name, kind, bundles[net]) for name, kind, net in beside]
        return {net: bundles[net] for net in front}, [*controls, *(other.read() for other in others)]

    def _timed(self, nets: list[Architecture]) -> list[Architecture]:
        """What the time for fine-tuning is shared out to, where several are fine-tuned at once.

        The dearest may be alone at the end; a network of another kind is taken to cost what the largest subnet does.
        """
        nets = [*nets, *self._further([self.problem.space.largest()])]
        dearest = max(nets, key=lambda net: self.problem.costs.of(net)[0])
        return [*nets, *[dearest] * (self.workers(len(nets)).count - 1)]

    def _further(self, nets: list[Architecture]) -> list[Architecture]:
        """The nets if a control that is no subnet is asked for, else none."""
        return nets if self.amounts.controls == "all" or self.options.control_model else []

    def _write_page(self) -> None:
        """Writes report.html; the run is finished without it, and `nat report` makes it at any time."""
        try:
            write_page(self.folder, self.folder.report, self.progress, self.splits)
        except NatError as error:
            self.progress.say(f"there is no report.html: {error} Try 'nat report {self.folder.path}'.")

    def _reported(self, evaluations: Sequence[Evaluation]) -> list[Architecture]:
        """What is fine-tuned: a spread over the front, or the best net within each of the multiply-adds asked for."""
        front = pareto_set(self.problem, evaluations)
        if self.options.finetune_at is None:
            return [e.architecture for e in thinned(front, self.amounts.front)]
        macs, errors = ([e.objectives[name] for e in front] for name in ("macs", ERROR))
        chosen = best_within(macs, errors, self.options.finetune_at)
        return list(dict.fromkeys(front[i].architecture for i in chosen if i is not None))

    def _too_inaccurate(self, evaluations: Sequence[Evaluation]) -> BudgetError:
        found = sorted(1.0 - evaluation.objectives[ERROR] for evaluation in evaluations)
        return BudgetError(
            f"expected --min-top1 of at most {found[-1]:.4f}, which is what the search found at best with the adapted "
            f"supernet's weights (the least is {found[0]:.4f}), got {self.options.min_top1}. Lower it in a new run, "
            f"which may start from --supernet {self.folder.supernet}, or give a greater --effort."
        )

    def _search(self, archive: Archive) -> list[Evaluation]:
        """The evaluations with the final weights, which the supernet then has."""
        searched = [event["version"] for event in self.folder.read_events() if event["event"] == "searched"]
        if searched and self.folder.supernet.is_file():
            self.load_adapted()
            return archive.at_version(searched[-1])
        fresh = not self.folder.training.is_file()
        evaluator, stream = self.evaluator(), self.stream(self.options.seed)
        if fresh:
            self._start(evaluator)
        plan, pace = self._planned(stream, evaluator)
        searcher = make_searcher(self.options.searcher, self.amounts, plan.rounds)
        passes = self.options.passes
        prices = None if passes is None else self.prices(searcher, evaluator)
        search = Search(
            self.problem,
            searcher,
            plan,
            WeightTrainer(self.supernet, self._schedule(plan), class_weights=self.class_weights),
            self.stream(self.options.seed, self.weight_images),
            evaluator,
            archive,
            self.folder.training,
            self.folder.log,
            self.progress,
            pace=pace,
            seeds=[] if archive.proposals(0) else self.seeds(plan.initial),
            limit=self.options.evaluation_limit,
            held_out=None if self.held_out is None else self.stream(self.options.seed, self.held_out),
            settle=lambda plan, count: settled(plan, prices, passes, count) if prices and passes else plan,
        )
        if fresh:
            search.save()
        else:
            search.restore()
        evaluations = search.run()
        save_supernet(self.supernet, self.adapted_card(), self.folder.supernet)
        detail: dict[str, object] = {"version": evaluations[0].weights_version}
        if prices:
            counts = Counter(evaluation.round for evaluation in archive.evaluations())
            charges = prices.charges(search.plan, [counts[round] for round in range(max(counts) + 1)])
            detail["charges"] = [charge.to_json() for charge in charges]
        self.folder.log("searched", 0.0, detail)
        return evaluations

    def _schedule(self, plan: Plan) -> Schedule:
        return Schedule(self.amounts.learning_rate, max(1, plan.total_steps), min(20, plan.first_steps // 10))

    def _planned(self, stream: TrainStream, evaluator: SubnetEvaluator) -> tuple[Plan, Pace]:
        """The amounts of the search within the budgets, and what keeps it within its time."""
        plan = self.plan(stream)
        if self.options.time is None:
            return plan, Pace()
        named = self.amounts.controls != "all" and self.options.control_model is not None
        nets = self.amounts.front + COUNT[self.amounts.controls] + named
        timed = self.time_budget(stream, evaluator, nets).plan(plan, Bundling(self).steps_on(stream), nets)
        return timed.plan, Pace(self.folder.elapsed, timed.until, timed.speeds)

    def _start(self, evaluator: SubnetEvaluator) -> None:
        started = time.perf_counter()
        self.make_ready(self.supernet, evaluator)
        self.folder.log("start", time.perf_counter() - started)
