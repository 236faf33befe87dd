"""How a supernet is trained: a recipe's constants, and the stages that they make.

`sandwich` is one stage: in each step the largest, the smallest and random subnets (Yu and Huang, ICCV 2019; BigNAS,
Yu et al., ECCV 2020). `shrinking` is progressive shrinking (once-for-all, Cai et al., ICLR 2020): the largest network,
then kernel sizes, depths and expand ratios become elastic one after the other, taught by the largest as it was.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from nat.errors import InputError, unknown_name
from nat.pretrained.card import IMAGENET_MEAN, IMAGENET_STD
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.training import OPTIMIZERS

Method = Literal["sandwich", "shrinking"]


@dataclass(frozen=True)
class Stage:
    """A part of a training with an optimiser and a schedule of its own.

    Attributes:
        name: for the log.
        space: the architectures that are drawn.
        start: its first step, counted through the whole training.
        steps: its length.
        learning_rate: peak of its cosine schedule.
        warmup: steps of its warm-up.
        anchors: the largest and the smallest take part in each step.
        drawn: random subnets of each step.
        taught: the largest network, as it was after the first stage, teaches.
        resort: channels are sorted by importance before it.
    """

    name: str
    space: MobileNetSpace
    start: int
    steps: int
    learning_rate: float
    warmup: int
    anchors: bool
    drawn: int
    taught: bool = False
    resort: bool = False

    def architectures(self, rng: np.random.Generator) -> list[Architecture]:
        """The subnets of one step, the greatest first."""
        drawn = self.space.decode(sample_uniform(self.space, self.drawn, rng)) if self.drawn else []
        return [self.space.largest(), self.space.smallest(), *drawn] if self.anchors else drawn


@dataclass(frozen=True)
class PretrainRecipe:
    """Constants of a training.

    Attributes:
        method: `sandwich` or `shrinking`.
        epochs: passes over the training images, all stages together.
        batch_size: images a step, over all processes.
        learning_rate: peak of the cosine schedule; of the first stage with `shrinking`.
        optimizer: by timm's name, one of `nat.supernet.training.OPTIMIZERS`.
        weight_decay: of convolutions and linear layers.
        warmup_steps: of the schedule.
        label_smoothing: of the targets.
        random_subnets: of each step of `sandwich`, beside the largest and the smallest.
        resolutions: image sizes, one drawn a step.
        min_crop_area: least area of a crop as a share of the image; None for the data set's own.
        randaugment: magnitude of RandAugment; 0 for none.
        mixup: alpha of mixup; 0 for none.
        ema: decay of the average of weights that is kept; 0 for none.
        teacher_weight: share of a teacher's stored answers in the targets.
        mean: of each colour channel, in [0, 1], that images are normalised with.
        std: likewise.
        seed: of weights, images and architectures.
    """

    method: Method = "sandwich"
    epochs: float = 10
    batch_size: int = 128
    learning_rate: float = 2e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.05
    warmup_steps: int = 200
    label_smoothing: float = 0.0
    random_subnets: int = 1
    resolutions: tuple[int, ...] = (48, 56, 64)
    min_crop_area: float | None = None
    randaugment: int = 0
    mixup: float = 0.0
    ema: float = 0.999
    teacher_weight: float = 0.7
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no training can be made of."""
        if not self.resolutions or min(self.resolutions) < 8:
            raise InputError(f"expected at least one resolution, of 8 pixels or more, got {list(self.resolutions)}.")
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimiser", self.optimizer, OPTIMIZERS)

    @classmethod
    def sandwich(cls, batch_size: int = 128) -> "PretrainRecipe":
        """One stage with AdamW. The rate is for batches of 128, and grows with the root of the batch."""
        return cls(batch_size=batch_size, learning_rate=2e-3 * math.sqrt(batch_size / 128))

    @classmethod
    def shrinking(cls, batch_size: int = 128) -> "PretrainRecipe":
        """Once-for-all's constants: SGD with Nesterov's momentum 0.9, decay 3e-5, label smoothing 0.1.

        The rate is 2.6 for 2,048 images a step, in proportion to the batch. Its 605 epochs are shared out by `epochs`.
        """
        return cls(
            method="shrinking",
            batch_size=batch_size,
            learning_rate=2.6 * batch_size / 2048,
            optimizer="nesterov",
            weight_decay=3e-5,
            label_smoothing=0.1,
            ema=0.0,
        )

    def resolution(self, step: int, steps: int, rng: np.random.Generator) -> int:
        """The image size of a step.

        `sandwich` begins with the smallest two and has all after 60 % of the training; `shrinking` has all throughout,
        as its teacher must know them.
        """
        count = len(self.resolutions)
        if self.method == "shrinking":
            return int(rng.choice(self.resolutions))
        reach = min(1.0, step / (0.6 * steps))
        available = min(count, 2 + math.floor(reach * (count - 2) + 1e-9)) if count > 2 else count
        return int(rng.choice(self.resolutions[:available]))

    def stages(self, space: MobileNetSpace, steps_per_epoch: int) -> list[Stage]:
        """The stages of a training of that space, in order.

        Raises:
            InputError: there are fewer steps than stages.
        """
        steps = max(1, round(self.epochs * steps_per_epoch))
        if self.method == "sandwich":
            warmup = min(self.warmup_steps, steps // 4)
            return [Stage("sandwich", space, 0, steps, self.learning_rate, warmup, True, self.random_subnets)]
        return _shrinking(self, space, steps)


# once-for-all's phases (its published training script; nat.md 2.3): name, epochs, rate relative to the first's,
# subnets a step
_PHASES = (
    ("largest", 180, 1.0, 1),
    ("kernel sizes", 125, 0.96 / 2.6, 1),
    ("depths, first", 25, 0.08 / 2.6, 2),
    ("depths", 125, 0.24 / 2.6, 2),
    ("expand ratios, first", 25, 0.08 / 2.6, 4),
    ("expand ratios", 125, 0.24 / 2.6, 4),
)


def _shrinking(recipe: PretrainRecipe, space: MobileNetSpace, steps: int) -> list[Stage]:
    spaces = _growing_spaces(space)
    phases = [(phase, spaces[i]) for i, phase in enumerate(_PHASES) if i == 0 or spaces[i] != spaces[i - 1]]
    if steps < len(phases):
        raise InputError(f"expected at least {len(phases)} steps, one for each stage, got {steps}: raise epochs.")
    epochs = np.cumsum([0, *(phase[1] for phase, _ in phases)])
    borders = np.rint(epochs / epochs[-1] * (steps - len(phases))).astype(int) + np.arange(len(phases) + 1)
    stages = []
    for number, ((name, _, rate, drawn), choices) in enumerate(phases):
        start, length = int(borders[number]), int(borders[number + 1] - borders[number])
        warmup = min(recipe.warmup_steps, length // 4)
        resort = name.startswith("expand")
        peak = recipe.learning_rate * rate
        stages.append(Stage(name, choices, start, length, peak, warmup, False, drawn, number > 0, resort))
    return stages


def _growing_spaces(space: MobileNetSpace) -> list[MobileNetSpace]:
    """The space of each phase: choices are added from the greatest down, those of a depth and an expand ratio twice."""
    full = replace(space, kernels=space.kernels[-1:], depths=space.depths[-1:], expands=space.expands[-1:])
    kernels = replace(full, kernels=space.kernels)
    depths = [replace(kernels, depths=space.depths[-2:]), replace(kernels, depths=space.depths)]
    expands = [replace(depths[1], expands=space.expands[-2:]), replace(depths[1], expands=space.expands)]
    return [full, kernels, *depths, *expands]
