"""The one loop of every strategy: propose, adapt, evaluate, keep; stoppable at any moment.

Round 0 evaluates an initial sample. Each later round joins proposals with the best so far to a pool, adapts the shared
weights, and evaluates the whole pool with the new weights (NAT, Lu et al., TPAMI 2021: values of older weights never
mix with new ones). Everything random is a function of the seed and the round or step, and what was evaluated in
earlier rounds: so a search that was killed does, when resumed, what it would have done.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from nat.archive import Archive, Evaluation, Proposal
from nat.attempts import attempt, seconds_allowed
from nat.datasets.stream import TrainStream
from nat.errors import TransferError
from nat.evaluation import SubnetEvaluator
from nat.objectives import ERROR
from nat.pareto import select_by_rank
from nat.plan import Pace, Plan
from nat.pretrained.store import write_state
from nat.problem import SearchProblem
from nat.progress import Progress, Silence
from nat.rounds import round_record
from nat.searchers.base import Searcher, TrainedSearcher
from nat.supernet.architecture import Architecture
from nat.supernet.supernet import Supernet
from nat.supernet.training import WeightTrainer

Log = Callable[[str, float, dict[str, object]], None]
SAVE_SECONDS = 30.0


class Search:
    """A search with its weights and its archive.

    Args:
        problem: space, objectives, limits.
        searcher: the strategy.
        plan: amounts.
        trainer: of the supernet; holds how many steps have been taken.
        stream: training batches.
        evaluator: measures architectures.
        archive: results; those of earlier sessions are taken as done.
        checkpoint: file for weights and optimiser, rewritten as the training goes on.
        log: called after each part with its name, seconds and details.
        progress: shows how far it is.
        pace: keeps it within its time; None for any time.
        seeds: proposed for round 0, before what the strategy proposes.
        limit: seconds that an evaluation may take, as `seconds_allowed` reads it.
        held_out: batches of training images that `stream` does not have, for a `TrainedSearcher`.
        settle: gives the plan, before the training of the last round, from the number of evaluations of the whole
            search.
    """

    def __init__(
        self,
        problem: SearchProblem,
        searcher: Searcher,
        plan: Plan,
        trainer: WeightTrainer,
        stream: TrainStream,
        evaluator: SubnetEvaluator,
        archive: Archive,
        checkpoint: Path,
        log: Log = lambda event, seconds, detail: None,
        progress: Progress | None = None,
        *,
        pace: Pace | None = None,
        seeds: Sequence[Proposal] = (),
        limit: float | str = "auto",
        held_out: TrainStream | None = None,
        settle: Callable[[Plan, int], Plan] = lambda plan, evaluations: plan,
    ) -> None:
        self.problem, self.searcher, self.plan = problem, searcher, plan
        self.trainer, self.stream, self.evaluator = trainer, stream, evaluator
        self.archive, self.checkpoint, self.log = archive, checkpoint, log
        self.progress = progress or Silence()
        self.pace, self.seeds, self.limit = pace or Pace(), seeds, limit
        self.held_out = held_out
        self.settle = settle
        assert isinstance(trainer.network, Supernet)
        self.supernet = trainer.network

    def run(self) -> list[Evaluation]:
        """Runs, or goes on, to the end, or until the time is up.

        Returns:
            The evaluations with the final weights: those of the last round that was evaluated whole.

        Raises:
            TransferError: no architecture could be evaluated.
        """
        steps, last = self.trainer.step_count, self.plan.rounds
        round = next((k for k in range(last) if steps <= self.plan.last_step(k)), last)
        while round <= self.plan.rounds:
            pool = self._pool(round)
            self._settle(round, pool)
            self._adapt(round, pool)
            if not self._evaluate(round, pool):
                self.progress.say(f"the time is up in round {round}, which is left out")
                return self._before(round)
            round += 1
            self._shorten(round)
        return self.archive.at_version(self.plan.version(self.plan.rounds))

    def _pool(self, round: int) -> list[Architecture]:
        """Proposals of the round, then the best of the last round's pool, unless they are known with these weights."""
        started = time.perf_counter()
        plan = self.plan
        current = [e for e in self.archive.at_version(plan.version(round - 1)) if e.round < round] if round else []
        proposed = self.archive.proposals(round)
        if not proposed:
            failed = {evaluation.architecture for evaluation in self.archive.failures() if evaluation.round < round}
            proposed = [p for p in self._proposed(round, current) if p.architecture not in failed]
            self.archive.add_proposals(round, proposed)
            seconds = time.perf_counter() - started
            self.log("propose", seconds, {"round": round, "proposed": len(proposed), **self.searcher.seconds})
            self.pace.measured("proposal", seconds, min(1, round))
        kept = [] if plan.frozen else best(self.problem, current, plan.archive)
        return [*(p.architecture for p in proposed), *(evaluation.architecture for evaluation in kept)]

    def _settle(self, round: int, pool: Sequence[Architecture]) -> None:
        """Lets the last round's training depend on how many evaluations there have been, and will be."""
        if round == self.plan.rounds:
            plan = self.settle(self.plan, len(self.archive.evaluations(before_round=round)) + len(pool))
            if plan != self.plan:
                self.plan = plan
                self.trainer.schedule = replace(self.trainer.schedule, steps=max(1, plan.total_steps))

    def _proposed(self, round: int, current: Sequence[Evaluation]) -> list[Proposal]:
        rng = np.random.default_rng([self.plan.seed, 1, round])
        if round:
            return self.searcher.propose(self.problem, current, self.plan.per_round, rng)
        count = self.plan.initial - len(self.seeds)
        drawn = self.searcher.propose(self.problem, current, self.plan.initial, rng)
        seeded = {seed.architecture for seed in self.seeds}
        fresh = [proposal for proposal in drawn if proposal.architecture not in seeded]
        if len(fresh) > count:
            fresh = [fresh[i] for i in sorted(rng.choice(len(fresh), max(0, count), replace=False))]
        return [*self.seeds, *fresh]

    def _adapt(self, round: int, pool: Sequence[Architecture]) -> None:
        first, last = self.trainer.step_count, self.plan.last_step(round)
        if last <= first:
            return
        started = time.perf_counter()
        title = f"round {round}/{self.plan.rounds}  adapting the supernet"
        with self.progress.task(title, last - first) as task:
            steps = _Steps(self, last, len(pool), lambda: task.advance())
            self.searcher.adapt(steps, self.problem, self.problem.space.encode(pool))
        taken = self.trainer.step_count - first
        self.trainer.step_count = last  # a strategy, or the time, may leave steps unused
        self.save()
        seconds = time.perf_counter() - started
        self.pace.measured("step", seconds, taken)
        self.log("adapt", seconds, {"round": round, "steps": taken})

    def _evaluate(self, round: int, pool: Sequence[Architecture]) -> bool:
        """Evaluates what of the pool is not evaluated yet; whether it came to the end before the time was up."""
        version, done = self.plan.version(round), self._done(round)
        waiting = [architecture for architecture in pool if architecture not in done]
        earlier = [e.seconds for e in self.archive.evaluations() if not e.failed]
        with self.progress.task(f"round {round}/{self.plan.rounds}  evaluating subnets", len(waiting)) as task:
            for architecture in waiting:
                if self.pace.over and self.archive.at_version(self.plan.version(max(0, round - 1))):
                    return False
                limit = seconds_allowed(self.limit, earlier)
                evaluation = attempt(
                    self.problem, architecture, self._errors, round=round, version=version, limit=limit
                )
                self.archive.add(evaluation)
                detail = {"round": round, "id": architecture.id, "failed": evaluation.failed}
                self.log("evaluate", evaluation.seconds, detail)
                if not evaluation.failed:
                    earlier.append(evaluation.seconds)
                    self.pace.measured("evaluation", sum(earlier[-50:]), len(earlier[-50:]))
                task.advance()
        if not self.archive.at_version(version):
            failures = self.archive.failures()
            raise TransferError(
                f"none of {len(pool)} subnets could be evaluated; the last one: {failures[-1].error}. "
                "If the cause has gone, resume tries all again; else start a new run with other settings."
            )
        if waiting:
            self._note(round)
        return True

    def _errors(self, architecture: Architecture) -> dict[str, float]:
        return self.evaluator.errors(self.supernet, architecture, self.problem.measured)

    def _note(self, round: int) -> None:
        record = round_record(self.problem, self.archive.evaluations(), self.archive.proposals(round), round)
        self.log("round", 0.0, record)

    def _done(self, round: int) -> set[Architecture]:
        """What a round need not evaluate any more: also its failures, unless all failed, which a retry may mend."""
        if not self.archive.at_version(self.plan.version(round)):
            return set()
        return {evaluation.architecture for evaluation in self.archive.evaluations() if evaluation.round == round}

    # --- time ------------------------------------------------------------------------------------------------------

    def _shorten(self, next_round: int) -> None:
        """Leaves out the rounds that there is no time for; the learning rate then falls to zero at the new end."""
        rounds = self.pace.rounds(self.plan, next_round)
        if rounds < self.plan.rounds:
            self.progress.say(f"time for {rounds} of {self.plan.rounds} rounds")
            self.plan = replace(self.plan, rounds=rounds)
            self.trainer.schedule = replace(self.trainer.schedule, steps=max(1, self.plan.total_steps))
        if math.isfinite(self.pace.until) and next_round <= self.plan.rounds:
            write_state(self._completed, self.supernet.state_dict())

    def _before(self, round: int) -> list[Evaluation]:
        """The evaluations of the last whole round, with its weights taken up again; what there is in the first one."""
        if round and not self.plan.frozen:
            weights = torch.load(self._completed, map_location=self.evaluator.device, weights_only=True)
            self.supernet.load_state_dict(weights)
        return self.archive.at_version(self.plan.version(max(0, round - 1)))

    @property
    def _completed(self) -> Path:
        """File for the weights of the last whole round, where the time may run out in the next one."""
        return self.checkpoint.with_stem("completed")

    # --- files -----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes weights, optimiser, and what the strategy trains, if anything."""
        state = {"supernet": self.supernet.state_dict(), "trainer": self.trainer.state_dict()}
        if isinstance(self.searcher, TrainedSearcher):
            state["searcher"] = self.searcher.state_dict()
        write_state(self.checkpoint, state)

    def restore(self) -> bool:
        """Takes up weights, optimiser and the strategy's state where they were saved last, if they were."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location=self.evaluator.device, weights_only=True)
        self.supernet.load_state_dict(state["supernet"])
        self.trainer.load_state_dict(state["trainer"])
        if isinstance(self.searcher, TrainedSearcher):
            self.searcher.load_state_dict(state["searcher"])
        return True


class _Steps:
    """`AdaptationSteps` of a round: saves now and then, so that long rounds lose little to an interruption."""

    def __init__(self, search: Search, last: int, evaluations: int, advance: Callable[[], None]) -> None:
        self.trainer = search.trainer
        self._search, self._last, self._evaluations, self._advance = search, last, evaluations, advance

    def steps(self) -> Iterator[int]:
        saved = time.monotonic()
        while (step := self.trainer.step_count) < self._last and not self._search.pace.training_over(self._evaluations):
            yield step
            self._advance()
            if time.monotonic() - saved > SAVE_SECONDS:
                self._search.save()
                self._search.log("save", 0.0, {"step": self.trainer.step_count})
                saved = time.monotonic()

    def rng(self, step: int) -> Generator:
        return np.random.default_rng([self._search.plan.seed, 2, step])

    def batch(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        return self._batch(self._search.stream, step, resolution)

    def held_out(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        if self._search.held_out is None:
            name = self._search.searcher.name
            raise TransferError(f"expected training images held out for '{name}', got none: give Search held_out=.")
        return self._batch(self._search.held_out, step, resolution)

    def _batch(self, stream: TrainStream, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        images, labels = stream.batch(step, resolution)
        device = self._search.evaluator.device
        return images.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)


def best(problem: SearchProblem, evaluations: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """The first `count` by rank of non-domination; of the rank that does not fit whole, a spread over the costs.

    Those that keep the problem's `max_error` come before all others. Of two or more, the most costly one is among
    them: while weights are new it is often dominated, later it may be the best, and it teaches the others.
    """
    keeping = problem.keeping(evaluations)
    if 0 < len(keeping) < len(evaluations):
        rest = [evaluation for evaluation in evaluations if evaluation.objectives[ERROR] > problem.max_error]
        free, first = replace(problem, max_error=1.0), best(problem, keeping, count)
        return [*first, *best(free, rest, count - len(first))]
    costs = [evaluation.objectives["macs"] for evaluation in evaluations]
    values = problem.values_of(evaluations)
    chosen = [int(i) for i in select_by_rank(values, costs, count)]
    if len(chosen) > 1 and (dearest := int(np.argmax(costs))) not in chosen:
        chosen = [*(int(i) for i in select_by_rank(values, costs, count - 1)), dearest]
    return [evaluations[i] for i in chosen]
