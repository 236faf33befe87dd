"""Fine-tuning one network: a subnet with the weights it inherits from the adapted supernet, or a control beside it."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from timm.layers import DropPath  # type: ignore[attr-defined]  # not marked as a re-export
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # not marked as a re-export
from torch import Tensor, autograd, nn
from torch.nn import functional as F

from nat.datasets.augment import MixUp
from nat.datasets.stream import TrainStream
from nat.errors import InputError, TransferError, unknown_name
from nat.supernet.subnet import InvertedResidual, Subnet
from nat.supernet.training import OPTIMIZERS, Schedule, WeightTrainer

REMEDY = "lower its learning rate (--set finetuning_rate=..., or --learning-rate of nat finetune)"


@dataclass(frozen=True)
class FinetuneRecipe:
    """Constants of a fine-tuning, the same for every net of a run.

    Attributes:
        steps: training steps.
        learning_rate: peak of the cosine schedule.
        weight_decay: of convolutions and linear layers.
        label_smoothing: of the targets.
        class_weights: of each class in the loss; none for equal ones.
        optimizer: by timm's name, one of `nat.supernet.training.OPTIMIZERS`.
        ema: decay of the average of weights that is kept instead of the last ones; 0 for none.
        mixup: alpha of mixup; 0 for none.
        randaugment: magnitude of RandAugment, which the stream of images applies; 0 for none.
        drop_path: probability that the last residual block is skipped for an image, rising evenly from 0 at the first
            (stochastic depth, Huang et al., ECCV 2016); 0 for none.
        seed: of mixup, RandAugment and skipped blocks.

    Raises:
        InputError: a number is out of range, or there is no such optimiser.
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    class_weights: tuple[float, ...] = ()
    optimizer: str = "adamw"
    ema: float = 0.0
    mixup: float = 0.0
    randaugment: int = 0
    drop_path: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no training can be made of."""
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimiser", self.optimizer, OPTIMIZERS)
        if not self.learning_rate > 0 or not math.isfinite(self.learning_rate):
            raise InputError(f"expected a learning rate above 0, got {self.learning_rate}.")
        for name in ("label_smoothing", "ema", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"expected {name.replace('_', ' ')} from 0 to below 1, got {getattr(self, name)}.")
        if self.mixup < 0 or not 0 <= self.randaugment <= 30:
            raise InputError(
                f"expected mixup from 0 and randaugment from 0 to 30, got {self.mixup} and {self.randaugment}."
            )

    def to_json(self) -> dict[str, Any]:
        """As metrics.json has it."""
        return asdict(self) | {"class_weights": list(self.class_weights)}

    def in_words(self) -> str:
        """One line: what is always there, then what is switched on."""
        said = f"{self.steps} steps of {self.optimizer}, learning rate {self.learning_rate:g}, weight decay "
        said += f"{self.weight_decay:g}, label smoothing {self.label_smoothing:g}"
        extras = {name: getattr(self, name) for name in ("ema", "mixup", "randaugment", "drop_path")}
        further = [f"{name.replace('_', ' ')} {value:g}" for name, value in extras.items() if value]
        return ", ".join([said, *further, *(["weighted classes"] if self.class_weights else [])])


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
) -> Subnet:
    """Trains a subnet in place, at its own resolution; a function of the weights, the stream and the recipe alone.

    Args:
        subnet: best made with `fast=True`; left in evaluation mode.
        stream: training batches.
        recipe: constants.
        device: where it runs.
        advance: called after each step.
        best: chooses between the weights of several steps; None for the last ones.

    Returns:
        The subnet.

    Raises:
        TransferError: the loss is not finite.
    """
    trained = train_network(subnet, subnet.architecture.resolution, stream, recipe, device, advance, best)
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
) -> nn.Module:
    """Trains any classifier of images in place, at an input size; see `train_subnet`."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    schedule = Schedule(recipe.learning_rate, recipe.steps, recipe.steps // 10)
    weights = torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None
    trainer = WeightTrainer(
        network, schedule, optimizer=recipe.optimizer, weight_decay=recipe.weight_decay, class_weights=weights
    )
    average = ModelEmaV3(network, decay=recipe.ema, use_warmup=True) if recipe.ema else None
    kept = network if average is None else average.module
    with _skipping(network, recipe, device):
        network.train()
        for step in range(recipe.steps):
            _train_step(trainer, stream, step, resolution, recipe, device)
            if average is not None:
                average.update(network, step + 1)
            advance()
            if best is not None and ((step + 1) % best.every == 0 or step + 1 == recipe.steps):
                best.look(kept.eval(), step + 1)
                network.train()
                if best.ended:
                    break
    if best is not None:
        best.restore(kept)
    if average is not None:
        network.load_state_dict(average.module.state_dict())
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise TransferError(
            "fine-tuning diverged at the last step: lower its learning rate (--set finetuning_rate=, --learning-rate)."
        )
    return network.eval()


def _train_step(
    trainer: WeightTrainer,
    stream: TrainStream,
    step: int,
    resolution: int,
    recipe: FinetuneRecipe,
    device: torch.device,
) -> None:
    """One update."""
    images, labels = stream.batch(step, resolution)
    images, targets = images.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)
    if recipe.mixup:
        classes = getattr(trainer.network, "num_classes", None)  # as subnets and timm's networks have it
        assert isinstance(classes, int)
        images, targets = MixUp(recipe.mixup, classes, recipe.seed)(images, targets, step)
    logits = trainer.network(images)
    loss = F.cross_entropy(logits, targets, weight=trainer.class_weights, label_smoothing=recipe.label_smoothing)
    if not torch.isfinite(loss):
        raise TransferError(
            f"fine-tuning diverged at step {step}: lower its learning rate (--set finetuning_rate=, --learning-rate)."
        )
    autograd.backward(loss)
    trainer.update()


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
