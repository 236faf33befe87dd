"""Fine-tuning one network: a subnet with the weights it inherits from the adapted supernet, or a control beside it."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from timm.layers import DropPath  # type: ignore[attr-defined]  # not marked as a re-export
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # not marked as a re-export
from torch import Tensor, autograd, nn
from torch.nn import functional as F

from nat.datasets.augment import Mixing
from nat.datasets.stream import TrainStream
from nat.distillation import Teacher
from nat.errors import InputError, TransferError
from nat.finetuning_recipe import FinetuneRecipe
from nat.supernet.calibration import raise_low_variances
from nat.supernet.subnet import InvertedResidual, Subnet
from nat.supernet.training import Schedule, WeightTrainer

REMEDY = "lower its learning rate (--set finetuning_rate=, or --learning-rate of nat finetune)."


@dataclass
class Best:
    """Keeps the best weights of a training by validation error, and says when it no longer pays to go on.

    Attributes:
        error_of: validation error of a network in evaluation mode, in [0, 1].
        every: steps between two measurements; the last step is measured in any case.
        patience: measurements without a better one after which the training ends; None for never.
        error: the least error so far; infinite before the first measurement.
        step: after which it was measured.
        history: (step, error) of each measurement.
    """

    error_of: Callable[[nn.Module], float]
    every: int
    patience: int | None = None
    error: float = math.inf
    step: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    _state: dict[str, Tensor] = field(default_factory=dict)
    _waited: int = 0

    def look(self, network: nn.Module, step: int) -> None:
        """Measures, and keeps the weights if they are better than all before."""
        error = self.error_of(network)
        self.history.append((step, error))
        self._waited += 1
        if error < self.error:
            self.error, self.step, self._waited = error, step, 0
            self._state = copy.deepcopy(network.state_dict())

    def due(self, step: int, steps: int) -> bool:
        """Whether to measure after a step of so many."""
        return step % self.every == 0 or step == steps

    @property
    def ended(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self._waited >= self.patience

    def restore(self, network: nn.Module) -> None:
        """Gives a network the best weights, if any were measured."""
        if self._state:
            network.load_state_dict(self._state)


def train_subnet(
    subnet: Subnet,
    stream: TrainStream,
    recipe: FinetuneRecipe,
    device: torch.device,
    advance: Callable[[], None] = lambda: None,
    best: Best | None = None,
    teacher: Teacher | None = None,
) -> Subnet:
    """Trains a subnet in place, at its own resolution; a function of the weights, the stream and the recipe alone.

    Args:
        subnet: best made with `fast=True`; left in evaluation mode.
        stream: training batches.
        recipe: constants.
        device: where it runs.
        advance: called after each step.
        best: chooses between the weights of several steps; None for the last ones.
        teacher: whose answers are learnt, on the same device; needed where the recipe has `distill`.

    Returns:
        The subnet.

    Raises:
        InputError: the recipe needs a teacher.
        TransferError: the loss is not finite.
    """
    trained = train_network(subnet, subnet.architecture.resolution, stream, recipe, device, advance, best, teacher)
    assert isinstance(trained, Subnet)
    return trained


def train_network(
    network: nn.Module,
    resolution: int,
    stream: TrainStream,
    recipe: FinetuneRecipe,
    device: torch.device,
    advance: Callable[[], None] = lambda: None,
    best: Best | None = None,
    teacher: Teacher | None = None,
) -> nn.Module:
    """Trains any classifier of images in place, at an input size; see `train_subnet`."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    update = _Update(network, resolution, stream, recipe, device, teacher)
    average = ModelEmaV3(network, decay=recipe.ema, use_warmup=True) if recipe.ema else None
    kept = network if average is None else average.module
    with _skipping(network, recipe, device):
        for step in range(recipe.steps):
            update(step)
            if average is not None:
                average.update(network, step + 1)
            advance()
            if best is not None and best.due(step + 1, recipe.steps):
                best.look(kept.eval(), step + 1)
                if best.ended:
                    break
    if best is not None:
        best.restore(kept)
    if average is not None:
        network.load_state_dict(average.module.state_dict())
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise TransferError(f"fine-tuning diverged at the last step: {REMEDY}")
    return raise_low_variances(network.eval())


class _Update:
    """One step of a fine-tuning, by its number: everything drawn at random follows from the seeds and the number."""

    def __init__(
        self,
        network: nn.Module,
        resolution: int,
        stream: TrainStream,
        recipe: FinetuneRecipe,
        device: torch.device,
        teacher: Teacher | None,
    ) -> None:
        if recipe.distill and teacher is None:
            raise InputError(f"expected a teacher for distill {recipe.distill}, got none.")
        self.resolution, self.stream, self.recipe, self.device = resolution, stream, recipe, device
        self.teacher = teacher if recipe.distill else None
        self.trainer = WeightTrainer(
            network,
            Schedule(recipe.learning_rate, recipe.steps, recipe.steps // 10),
            optimizer=recipe.optimizer,
            weight_decay=recipe.weight_decay,
            layer_decay=recipe.layer_decay,
            class_weights=torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None,
        )
        self.mixing: Mixing | None = None
        if recipe.mixup or recipe.cutmix:
            classes = getattr(network, "num_classes", None)  # as subnets and timm's networks have it
            assert isinstance(classes, int)
            self.mixing = Mixing(recipe.mixup, recipe.cutmix, classes, recipe.seed)

    def __call__(self, step: int) -> None:
        self.trainer.network.train()
        loss = self._loss(step)
        if not torch.isfinite(loss):
            raise TransferError(f"fine-tuning diverged at step {step}: {REMEDY}")
        autograd.backward(loss)
        self.trainer.update()

    def _loss(self, step: int) -> Tensor:
        """Cross-entropy with the labels and, by the share of `distill`, with the teacher's probabilities.

        The gradient of the latter is that of the Kullback-Leibler divergence (Hinton et al., 2015, at temperature 1).
        Class weights and label smoothing are of the labels alone.
        """
        images, labels = self.stream.batch(step, self.resolution)
        images, targets = images.to(self.device), labels.to(self.device)
        taught = None if self.teacher is None else self.teacher.answers(step)
        if self.mixing is not None:
            if taught is not None:  # mixed as the labels are: the numbers drawn are those of the step
                taught = self.mixing(images, taught, step)[1]
            images, targets = self.mixing(images, targets, step)
        logits = self.trainer.network(images.contiguous(memory_format=torch.channels_last))
        weight, smoothing = self.trainer.class_weights, self.recipe.label_smoothing
        loss = F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)
        share = self.recipe.distill
        return loss if taught is None else (1 - share) * loss + share * F.cross_entropy(logits, taught)


@contextmanager
def _skipping(network: nn.Module, recipe: FinetuneRecipe, device: torch.device) -> Iterator[None]:
    """Lets residual blocks be skipped at random as long as the context lasts; torch's generators are put back."""
    blocks = [module for module in network.modules() if isinstance(module, InvertedResidual) and module.residual]
    if not recipe.drop_path or not blocks:
        yield
        return
    for number, block in enumerate(blocks, start=1):
        block.drop_path = DropPath(recipe.drop_path * number / len(blocks))
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(recipe.seed)
            yield
    finally:
        for block in blocks:
            block.drop_path = nn.Identity()
