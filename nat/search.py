"""The one loop of every strategy: propose, adapt, evaluate, keep; stoppable at any moment.

Round 0 evaluates an initial sample. Each later round joins proposals with the best so far to a pool, adapts the shared
weights, and evaluates the whole pool with the new weights (NAT, Lu et al., TPAMI 2021: values of older weights never
mix with new ones). Everything random is a function of the seed and the round or step, and what was evaluated in
earlier rounds: so a search that was killed does, when resumed, what it would have done.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from nat.archive import Archive, Evaluation
from nat.datasets.stream import TrainStream
from nat.errors import NatError, TransferError
from nat.evaluation import SubnetEvaluator
from nat.objectives import ERROR
from nat.pareto import select_by_rank
from nat.pretrained.store import write_state
from nat.problem import SearchProblem
from nat.progress import Progress, Silence
from nat.searchers.base import Searcher
from nat.supernet.architecture import Architecture
from nat.supernet.supernet import Supernet
from nat.supernet.training import WeightTrainer

Log = Callable[[str, float, dict[str, object]], None]
SAVE_SECONDS = 30.0


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
    """

    initial: int
    rounds: int
    per_round: int
    archive: int
    first_steps: int
    round_steps: int
    seed: int

    @property
    def total_steps(self) -> int:
        """Training steps of the whole search."""
        return self.last_step(self.rounds)

    def last_step(self, round: int) -> int:
        """Number of training steps at the end of a round."""
        return self.first_steps + round * self.round_steps


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
    ) -> None:
        self.problem, self.searcher, self.plan = problem, searcher, plan
        self.trainer, self.stream, self.evaluator = trainer, stream, evaluator
        self.archive, self.checkpoint, self.log = archive, checkpoint, log
        self.progress = progress or Silence()
        assert isinstance(trainer.network, Supernet)
        self.supernet = trainer.network

    def run(self) -> list[Evaluation]:
        """Runs, or goes on, to the end.

        Returns:
            The evaluations with the final weights.

        Raises:
            TransferError: no architecture could be evaluated.
        """
        first = next(k for k in range(self.plan.rounds + 1) if self.trainer.step_count <= self.plan.last_step(k))
        for round in range(first, self.plan.rounds + 1):
            pool = self._pool(round)
            self._adapt(round, pool)
            self._evaluate(round, pool)
        return self.archive.at_version(self.plan.rounds)

    def _pool(self, round: int) -> list[Architecture]:
        """Proposals of the round, then the best of the last round's pool."""
        started = time.perf_counter()
        rng = np.random.default_rng([self.plan.seed, 1, round])
        count = self.plan.per_round if round else self.plan.initial
        current = self.archive.at_version(round - 1)
        proposed = self.searcher.propose(self.problem, current, count, rng)
        kept = best(self.problem, current, self.plan.archive)
        self.log("propose", time.perf_counter() - started, {"round": round, "proposed": len(proposed)})
        return [*proposed, *(evaluation.architecture for evaluation in kept)]

    def _adapt(self, round: int, pool: Sequence[Architecture]) -> None:
        last = self.plan.last_step(round)
        granted = last - self.trainer.step_count
        if granted <= 0:
            return
        started = time.perf_counter()
        title = f"round {round}/{self.plan.rounds}  adapting the supernet"
        with self.progress.task(title, granted) as task:
            steps = _Steps(self, last, lambda: task.advance())
            self.searcher.adapt(steps, self.problem, self.problem.space.encode(pool))
        self.trainer.step_count = last  # a strategy may leave steps unused
        self.save()
        self.log("adapt", time.perf_counter() - started, {"round": round, "steps": granted})

    def _evaluate(self, round: int, pool: Sequence[Architecture]) -> None:
        done = self._done(round)
        waiting = [architecture for architecture in pool if architecture not in done]
        with self.progress.task(f"round {round}/{self.plan.rounds}  evaluating subnets", len(waiting)) as task:
            for architecture in waiting:
                evaluation = self._measure(architecture, round)
                self.archive.add(evaluation)
                detail = {"round": round, "id": architecture.id, "failed": evaluation.failed}
                self.log("evaluate", evaluation.seconds, detail)
                task.advance()
        if not self.archive.at_version(round):
            failures = self.archive.failures()
            raise TransferError(
                f"none of {len(pool)} subnets could be evaluated; the last one: {failures[-1].error}. "
                "If the cause has gone, resume tries all again; else start a new run with other settings."
            )

    def _done(self, round: int) -> set[Architecture]:
        """What a round need not evaluate any more: also its failures, unless all failed, which a retry may mend."""
        if not self.archive.at_version(round):
            return set()
        return {evaluation.architecture for evaluation in self.archive.evaluations() if evaluation.round == round}

    def _measure(self, architecture: Architecture, round: int) -> Evaluation:
        """Evaluates one architecture; whatever goes wrong with it is recorded, and the search goes on."""
        started = time.perf_counter()
        objectives, error = dict[str, float](), None
        try:
            errors = self.evaluator.errors(self.supernet, architecture, self.problem.measured)
            if not all(map(math.isfinite, errors.values())):
                raise TransferError("the error is not a finite number")
            objectives = errors | self.problem.known_of(architecture)
        except (NatError, RuntimeError, ValueError, MemoryError) as problem:
            error = f"{type(problem).__name__}: {problem}"[:500]
        return Evaluation(
            architecture=architecture,
            objectives=objectives,
            round=round,
            weights_version=round,
            seconds=time.perf_counter() - started,
            error=error,
        )

    def save(self) -> None:
        """Writes weights and optimiser."""
        state = {"supernet": self.supernet.state_dict(), "trainer": self.trainer.state_dict()}
        write_state(self.checkpoint, state)

    def restore(self) -> bool:
        """Takes up weights and optimiser where they were saved last, if they were."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location=self.evaluator.device, weights_only=True)
        self.supernet.load_state_dict(state["supernet"])
        self.trainer.load_state_dict(state["trainer"])
        return True


class _Steps:
    """`AdaptationSteps` of a round: saves now and then, so that long rounds lose little to an interruption."""

    def __init__(self, search: Search, last: int, advance: Callable[[], None]) -> None:
        self.trainer = search.trainer
        self._search, self._last, self._advance = search, last, advance

    def steps(self) -> Iterator[int]:
        saved = time.monotonic()
        while (step := self.trainer.step_count) < self._last:
            yield step
            self._advance()
            if time.monotonic() - saved > SAVE_SECONDS:
                self._search.save()
                saved = time.monotonic()

    def rng(self, step: int) -> Generator:
        return np.random.default_rng([self._search.plan.seed, 2, step])

    def batch(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        images, labels = self._search.stream.batch(step, resolution)
        device = self._search.evaluator.device
        return images.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)


def best(problem: SearchProblem, evaluations: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """The first `count` by rank of non-domination; of the rank that does not fit whole, a spread over the costs.

    Those that keep the problem's `max_error` come before all others.
    """
    keeping = problem.keeping(evaluations)
    if 0 < len(keeping) < len(evaluations):
        rest = [evaluation for evaluation in evaluations if evaluation.objectives[ERROR] > problem.max_error]
        free, first = replace(problem, max_error=1.0), best(problem, keeping, count)
        return [*first, *best(free, rest, count - len(first))]
    costs = [evaluation.objectives["macs"] for evaluation in evaluations]
    return [evaluations[i] for i in select_by_rank(problem.values_of(evaluations), costs, count)]
