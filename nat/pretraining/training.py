"""Training a supernet from images, in a folder; exactly resumable.

Every step is a function of the seed and its number alone (images, resolution, architectures), so a training that goes
on from its last checkpoint does what the uninterrupted one would have done.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # not marked as a re-export
from torch import Tensor, distributed
from torch.nn import functional as F

from nat.datasets.augment import Mixing, RandomOperations
from nat.datasets.device_stream import training_stream
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.errors import InputError, RunError, reason_of
from nat.pretrained.store import write_state
from nat.pretraining.recipes import PretrainRecipe, Stage
from nat.supernet.distributed import Group, share_weights
from nat.supernet.importance import sort_channels
from nat.supernet.layers import train_together
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step

STATE = "training.pt"


@dataclass(frozen=True)
class Checkup:
    """What `Pretraining.run` tells after each step.

    Attributes:
        step: steps done.
        steps: steps of the whole training.
        stage: its name.
        loss: cross-entropy of the step's first subnet; with the largest network as teacher, the sum of both losses.
    """

    step: int
    steps: int
    stage: str
    loss: float


Report = Callable[[Checkup], None]


class Pretraining:
    """A training, which can be left and taken up at any step.

    Args:
        splits: the images.
        space: what the supernet is to serve, at the recipe's resolutions.
        recipe: constants.
        start: weights to start from instead of random ones; of the same layers.
        device: where it runs.
        group: processes that train together; this one takes its share of each batch.

    Attributes:
        supernet: the weights.
        steps: of the whole training.
        step: steps done.
        answers: a teacher's logits for the training images, shape (n, classes), or None; may be set before `run`.
    """

    def __init__(
        self,
        splits: Splits,
        space: MobileNetSpace,
        recipe: PretrainRecipe,
        *,
        start: Supernet | None = None,
        device: torch.device | str = "cpu",
        group: Group | None = None,
    ) -> None:
        self.space, self.recipe, self.group = space.with_resolutions(recipe.resolutions), recipe, group
        self.device = torch.device(device)
        self.num_classes = splits.num_classes
        self.stream = _stream(splits, recipe, self.device)
        self.rows = _share(self.stream.batch_size, group)
        self.stages = recipe.stages(self.space, self.stream.steps_per_epoch)
        self.steps = self.stages[-1].start + self.stages[-1].steps
        self.step = 0
        self.answers: Tensor | None = None
        self.supernet = self._fresh(start)
        self.average = ModelEmaV3(self.supernet, decay=recipe.ema, use_warmup=True) if recipe.ema else None
        self.teacher: Subnet | None = None
        self.mixup = Mixing(recipe.mixup, 0.0, splits.num_classes, recipe.seed) if recipe.mixup else None
        if group is not None:
            train_together(self.supernet, group)
        self.trainer = self._begin(self.stages[0])

    @property
    def result(self) -> Supernet:
        """The supernet to use: the average of weights, if one is kept."""
        if self.average is None:
            return self.supernet
        averaged = self.average.module
        assert isinstance(averaged, Supernet)
        return averaged

    def run(self, report: Report = lambda checkup: None) -> Supernet:
        """Trains to the end; `report` is called after each step.

        Returns:
            The supernet to use.

        Raises:
            TransferError: the loss or a gradient is not finite any more; the weights are those of the step before.
        """
        while self.step < self.steps:
            stage = self._stage(self.step)
            if stage.start == self.step and self.step:
                self.trainer = self._begin(stage)
            loss = self._train(stage)
            self.step += 1
            if self.average is not None:
                self.average.update(self.supernet, self.step)
            report(Checkup(self.step, self.steps, stage.name, loss))
        return self.result

    # --- a step --------------------------------------------------------------------------------------------------

    def _train(self, stage: Stage) -> float:
        """One step of a stage; the loss of its first subnet, averaged over the processes."""
        rng = np.random.default_rng([self.recipe.seed, self.step])
        resolution = self.recipe.resolution(self.step, self.steps, rng)
        architectures = stage.architectures(rng)
        images, labels = self.stream.batch(self.step, resolution, self.rows)
        images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        targets: Tensor = self._targets(labels.to(self.device))
        if self.mixup is not None:
            images, targets = self.mixup(images, targets, self.step)
        smoothing = self.recipe.label_smoothing
        if stage.taught:
            targets, smoothing = self._taught(images, targets, smoothing), 0.0
        in_place = stage.anchors and self.answers is None
        loss = sandwich_step(self.trainer, images, targets, architectures, label_smoothing=smoothing, in_place=in_place)
        return loss if self.group is None else _mean(loss, self.group, self.device)

    def _targets(self, labels: Tensor) -> Tensor:
        """Class numbers; with stored answers the weights of the classes."""
        if self.answers is None:
            return labels
        chosen = torch.from_numpy(self.stream.indices(self.step)[self.rows])
        taught = self.answers[chosen].to(self.device, torch.float32).softmax(1)
        return F.one_hot(labels, self.num_classes).float().lerp(taught, self.recipe.teacher_weight)

    def _taught(self, images: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Targets and the teacher's answers added up: once-for-all adds the two losses, each with a weight of one."""
        assert self.teacher is not None
        weights = targets if targets.ndim == 2 else F.one_hot(targets, self.num_classes).float()
        weights = weights * (1 - smoothing) + smoothing / self.num_classes
        with torch.no_grad(), self.trainer.autocast():
            answers: Tensor = self.teacher(images)
            return weights + answers.float().softmax(1)

    # --- stages --------------------------------------------------------------------------------------------------

    def _stage(self, step: int) -> Stage:
        return next(stage for stage in reversed(self.stages) if stage.start <= step)

    def _begin(self, stage: Stage) -> WeightTrainer:
        """Makes the weights ready for a stage, and its optimiser."""
        if stage.taught and self.teacher is None:
            self.teacher = self._teacher()
        if stage.resort:
            sort_channels(self.supernet, self._stage(stage.start - 1).space.expands)
            if self.average is not None:  # whose channels have the old order
                self.average.set(self.supernet)  # type: ignore[no-untyped-call]
        schedule = Schedule(stage.learning_rate, stage.steps, stage.warmup)
        return WeightTrainer(
            self.supernet,
            schedule,
            optimizer=self.recipe.optimizer,
            weight_decay=self.recipe.weight_decay,
            group=self.group,
            bfloat16=True,
        )

    def _teacher(self) -> Subnet:
        """The largest network as it is now; in training mode, as once-for-all has it: batch norm by the batch."""
        teacher = self.supernet.extract(self.space.largest(), fast=True).train().requires_grad_(False)
        if self.group is not None:
            train_together(teacher, self.group)
        return teacher.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _fresh(self, start: Supernet | None) -> Supernet:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        supernet = Supernet(self.space, self.num_classes, generator=generator)
        if start is not None:
            _copy_weights(start, supernet)
        supernet.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.group is not None:  # each process may have made it ready with roundings of its own
            share_weights(supernet, self.group)
        return supernet

    # --- state ---------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Writes everything needed to go on exactly, whole or not at all."""
        state = {
            "supernet": self.supernet.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "trainer": self.trainer.state_dict(),
            "step": self.step,
            "steps": self.steps,
        }
        write_state(folder / STATE, state)

    def restore(self, folder: Path) -> None:
        """Goes on where `save` was called.

        Raises:
            RunError: the folder holds no training, a damaged one, or one of another length, space or recipe.
        """
        state = self._read(folder)
        try:
            self._take(state)
        except (KeyError, RuntimeError, ValueError) as error:  # torch tells of other shapes by RuntimeError
            reason = reason_of(error)
            raise RunError(f"'{folder}' holds another training ({reason}): name another folder.") from error
        if not all(tensor.isfinite().all() for tensor in self.supernet.parameters()):
            raise RunError(f"'{folder / STATE}' holds values that are not finite: delete it to start again.")

    def _take(self, state: dict[str, Any]) -> None:
        if state["steps"] != self.steps:
            raise ValueError(f"of {state['steps']} steps, this one has {self.steps}")
        self.step = int(state["step"])
        self.supernet.load_state_dict(state["supernet"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        if state["teacher"] is not None:
            self.teacher = self._teacher()
            self.teacher.load_state_dict(state["teacher"])
        if 0 < self.step < self.steps:
            self.trainer = self._begin_again(self._stage(self.step - 1))
        self.trainer.load_state_dict(state["trainer"])

    def _begin_again(self, stage: Stage) -> WeightTrainer:
        """The optimiser of a stage that has begun already: its channels are sorted."""
        return self._begin(replace(stage, resort=False))

    def _read(self, folder: Path) -> dict[str, Any]:
        path = folder / STATE
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch lets damaged files fail as they may
            reason = reason_of(error)
            raise RunError(f"'{path}' cannot be read ({reason}): delete it to start again.") from error
        return state


def _stream(splits: Splits, recipe: PretrainRecipe, device: torch.device) -> TrainStream:
    batching = Batching.suited(splits.card, recipe.batch_size, recipe.seed, recipe.mean, recipe.std)
    if recipe.min_crop_area:
        batching = replace(batching, min_crop_area=recipe.min_crop_area)
    augment = RandomOperations(recipe.randaugment, recipe.seed) if recipe.randaugment else None
    return training_stream(splits.train, batching, augment, device=device)


def _share(batch_size: int, group: Group | None) -> slice:
    """The rows of each batch that this process takes."""
    if group is None:
        return slice(None)
    rank, size = distributed.get_rank(group), distributed.get_world_size(group)
    if batch_size % size:
        raise InputError(f"expected a batch size that {size} processes can share, got {batch_size}.")
    return slice(rank * batch_size // size, (rank + 1) * batch_size // size)


def _mean(value: float, group: Group, device: torch.device) -> float:
    total = torch.tensor(value, device=device)
    distributed.all_reduce(total, group=group)
    return float(total) / distributed.get_world_size(group)


def check_same_layers(source: MobileNetSpace, target: MobileNetSpace) -> None:
    """Raises `InputError` unless weights of one space are weights of the other, at whatever resolutions."""
    if source.with_resolutions(target.resolutions) != target:
        raise InputError(
            f"expected a supernet of the space that is trained ({target}), got one of {source}: leave --space out to "
            "take the supernet's own."
        )


def _copy_weights(source: Supernet, target: Supernet) -> None:
    """Copies all weights; a classifier of another number of classes stays fresh."""
    check_same_layers(source.space, target.space)
    tensors = source.state_dict()
    if source.num_classes != target.num_classes:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    target.load_state_dict(tensors, strict=False)
