"""Budgets of time: trying out how long the parts of a run take on this machine, and keeping the plan that follows."""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nat.datasets.stream import TrainStream
from nat.evaluation import SubnetEvaluator
from nat.files import read_json, write_json
from nat.finetuning import train_subnet
from nat.finetuning_recipe import FinetuneRecipe
from nat.plan import Plan, Speeds, TimedPlan, within_time
from nat.problem import SearchProblem
from nat.progress import Progress, Silence
from nat.searchers.sandwich import PASSES
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import sample_stratified
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step
from nat.workers import Workers

TUNING_STEPS = 3


@dataclass(frozen=True)
class Trial:
    """Some of each part of a run, done for their time only.

    Attributes:
        problem: space and costs.
        supernet: on its device; left as it is.
        stream: training batches.
        evaluator: measures architectures.
        images: validation and test images that a fine-tuned subnet is measured on.
        workers: how many subnets are fine-tuned at once.
        passes: networks that run in a training step of the strategy; the sandwich's are timed.
    """

    problem: SearchProblem
    supernet: Supernet
    stream: TrainStream
    evaluator: SubnetEvaluator
    images: int
    workers: Workers
    passes: float = PASSES

    def speeds(self) -> Speeds:
        """Seconds of each part."""
        rng, space = np.random.default_rng(0), self.supernet.space
        allowed = space.decode(sample_stratified(self.problem.costs, 4, rng, self.problem.limits))  # by rising cost
        ends = [allowed[0], allowed[-1]]
        evaluate = partial(self.evaluator.top1_error, self.supernet)
        for net in ends:  # once for nothing: images are resized, memory is taken
            evaluate(net)
        evaluation = float(np.mean([_seconds(partial(evaluate, net)) for net in ends]))
        smallest, largest = (self._tuning_step(net) for net in (space.smallest(), space.largest()))  # the controls
        used = len(self.evaluator.calibration) + len(self.evaluator.validation)
        return Speeds(
            self._training_step([*reversed(ends), *allowed[1:-1]]),
            evaluation,
            smallest,
            largest,
            evaluation * self.images / used,
        )

    def _training_step(self, nets: Sequence[Architecture]) -> float:
        """Mean over the input sizes of a step with some subnets, on a copy of the supernet."""
        space, trainer = self.supernet.space, WeightTrainer(copy.deepcopy(self.supernet), Schedule(1e-6, 100))
        device = self.evaluator.device

        def step(resolution: int) -> None:
            images, labels = self.stream.batch(0, resolution)
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            sandwich_step(trainer, images, labels.to(device), nets)

        step(space.resolutions[0])
        return self.passes / PASSES * float(np.mean([_seconds(partial(step, size)) for size in space.resolutions]))

    def _tuning_step(self, net: Architecture) -> float:
        """One step of fine-tuning a subnet: of as many as there are at once, the share of each in the time."""
        count, device = self.workers.count, self.evaluator.device
        subnets = [self.supernet.extract(net, fast=True) for _ in range(count)]

        def train(subnet: Subnet, steps: int, _: Progress) -> Subnet:
            return train_subnet(subnet, self.stream, FinetuneRecipe(steps, 1e-6), device)

        def train_all(steps: int) -> None:
            self.workers.run([partial(train, subnet, steps) for subnet in subnets], Silence(), "", steps * count)

        train_all(1)
        return _seconds(partial(train_all, TUNING_STEPS)) / (TUNING_STEPS * count)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


class TimeBudget:
    """What a run does with its time: decided twice, before the search and before the fine-tuning, and kept in a file.

    Args:
        seconds: of the whole run, over all sessions.
        clock: seconds of the run so far.
        path: of plan.json.
        trial: measures how long things take.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], path: Path, trial: Trial) -> None:
        self.seconds, self.clock, self.path, self.trial = seconds, clock, path, trial

    def plan(self, plan: Plan, tuning: int, nets: int) -> TimedPlan:
        """The amounts of search and fine-tuning; see `within_time`."""
        if self.path.is_file():
            return TimedPlan.from_json(read_json(self.path))
        timed = within_time(plan, tuning, nets, self.trial.speeds(), self.clock(), self.seconds)
        write_json(self.path, timed.to_json())
        return timed

    def settle(self, nets: Iterable[Architecture], most: int) -> int:
        """Steps of fine-tuning of each of these subnets that the time left allows, the same for all, at most `most`."""
        timed = TimedPlan.from_json(read_json(self.path))
        if not timed.final:
            costs, space = self.trial.problem.costs, self.trial.problem.space
            low, high = (costs.of(end)[0] for end in (space.smallest(), space.largest()))
            shares = [(costs.of(net)[0] - low) / max(1, high - low) for net in nets]
            speeds = self.trial.speeds()
            timed = timed.settled(shares, speeds, most, self.seconds - self.clock())
            write_json(self.path, timed.to_json())
        return timed.finetuning
