"""Training a supernet from images: one stage, sandwich rule, in-place distillation; exactly resumable.

Every step is a function of the seed and its number alone (images, resolution, architectures), so a run that goes on
from its last checkpoint does what the uninterrupted one would have done.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from nat.datasets.splits import Splits
from nat.datasets.stream import TrainStream
from nat.errors import RunError, TransferError
from nat.files import whole_file
from nat.pretrained.card import IMAGENET_MEAN, IMAGENET_STD, Card
from nat.pretrained.store import save_supernet
from nat.progress import Progress
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetV3Space
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step

STATE = "training.pt"
Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class PretrainRecipe:
    """Constants of a training.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: peak of AdamW's cosine schedule.
        weight_decay: of convolutions and linear layers.
        warmup_steps: of the schedule.
        label_smoothing: of the largest subnet's targets.
        random_subnets: of each step, beside the largest and the smallest.
        resolutions: image sizes, one drawn a step; the greater ones join as the training goes on.
        save_every: steps between checkpoints.
        seed: of weights, images and architectures.
    """

    epochs: float = 10
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    label_smoothing: float = 0.0
    random_subnets: int = 1
    resolutions: tuple[int, ...] = (40, 48, 56)
    save_every: int = 500
    seed: int = 0

    def resolution(self, step: int, steps: int, rng: np.random.Generator) -> int:
        """The image size of a step: from the smallest two at the start, from all of them after 60 % of the training."""
        count = len(self.resolutions)
        reach = min(1.0, step / (0.6 * steps))
        available = min(count, 2 + math.floor(reach * (count - 2) + 1e-9)) if count > 2 else count
        return int(rng.choice(self.resolutions[:available]))


class Pretraining:
    """A training in a folder, which holds its state and can be left and taken up at any step.

    Args:
        splits: the images.
        space: what the supernet is to serve.
        recipe: constants.
        out: folder of the training.
    """

    def __init__(self, splits: Splits, space: MobileNetV3Space, recipe: PretrainRecipe, out: Path) -> None:
        self.space, self.recipe, self.out = space, recipe, out
        card = splits.card
        self.stream = TrainStream(
            splits.train,
            recipe.batch_size,
            recipe.seed,
            flip=card.flip,
            min_crop_area=card.min_crop_area,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )
        self.steps = max(1, round(recipe.epochs * self.stream.steps_per_epoch))
        generator = torch.Generator().manual_seed(recipe.seed)
        self.supernet = Supernet(space, splits.num_classes, generator=generator).to(memory_format=torch.channels_last)
        schedule = Schedule(recipe.learning_rate, self.steps, min(recipe.warmup_steps, self.steps // 4))
        self.trainer = WeightTrainer(self.supernet, schedule, weight_decay=recipe.weight_decay)
        if (out / STATE).exists():
            self._restore()

    def run(self, report: Report | None = None) -> Supernet:
        """Trains to the end; `report` is called after each step with its number, the number of steps and the loss.

        Raises:
            TransferError: the loss is not finite any more.
        """
        while self.trainer.step_count < self.steps:
            step = self.trainer.step_count
            loss = self._step(step)
            if not math.isfinite(loss):
                raise TransferError(f"training diverged at step {step}: lower the learning rate and start again.")
            if (step + 1) % self.recipe.save_every == 0 or step + 1 == self.steps:
                self._save()
            if report:
                report(step + 1, self.steps, loss)
        return self.supernet

    def _step(self, step: int) -> float:
        rng = np.random.default_rng([self.recipe.seed, step])
        resolution = self.recipe.resolution(step, self.steps, rng)
        images, labels = self.stream.batch(step, resolution)
        drawn = self.space.decode(sample_uniform(self.space, self.recipe.random_subnets, rng))
        architectures = [self.space.largest(), self.space.smallest(), *drawn]
        images = images.contiguous(memory_format=torch.channels_last)
        return sandwich_step(self.trainer, images, labels, architectures, label_smoothing=self.recipe.label_smoothing)

    def _save(self) -> None:
        state = {"supernet": self.supernet.state_dict(), "trainer": self.trainer.state_dict(), "steps": self.steps}
        with whole_file(self.out / STATE) as draft:
            torch.save(state, draft)

    def _restore(self) -> None:
        state = torch.load(self.out / STATE, weights_only=True)
        if state["steps"] != self.steps:
            raise RunError(
                f"'{self.out}' holds a training of {state['steps']} steps, this one has {self.steps}. "
                "Give the same options, or another folder."
            )
        self.supernet.load_state_dict(state["supernet"])
        self.trainer.load_state_dict(state["trainer"])


def pretrain_supernet(
    splits: Splits, space: MobileNetV3Space, recipe: PretrainRecipe, out: Path, name: str, progress: Progress
) -> Path:
    """Trains to the end in a folder, goes on there if it holds a training, and writes the supernet with its card.

    Args:
        splits: the images.
        space: what the supernet is to serve; its resolutions are replaced by the recipe's.
        recipe: constants.
        out: folder, made if absent.
        name: on the card, and of the file.
        progress: shows how far it is.

    Returns:
        Path of the safetensors file.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make '{out}': {error.strerror or error}. Name another --out.") from error
    training = Pretraining(splits, space.with_resolutions(recipe.resolutions), recipe, out)
    with progress.task("training the supernet", training.steps) as task:
        task.advance(training.trainer.step_count)
        training.run(lambda step, steps, loss: task.advance(note=f"loss {loss:.3f}"))
    card = Card(
        name=name,
        title=f"MobileNetV3 supernet, width {space.width}, for {splits.num_classes} classes",
        space=training.space,
        num_classes=splits.num_classes,
        trained_on=f"{splits.card.name}: {len(splits.train):,} images, {splits.num_classes} classes",
        licence=f"weights Apache-2.0; images: {splits.card.licence}",
        recipe=asdict(recipe),
    )
    path = out / f"{name}.safetensors"
    save_supernet(training.supernet, card, path, half=True)
    return path
