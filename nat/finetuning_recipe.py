"""The constants of a fine-tuning, checked, as text and as JSON."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nat.errors import InputError, unknown_name
from nat.supernet.training import OPTIMIZERS

RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "label_smoothing": (lambda value: 0 <= value < 1, "from 0 to below 1"),
    "ema": (lambda value: 0 <= value < 1, "from 0 to below 1"),
    "drop_path": (lambda value: 0 <= value < 1, "from 0 to below 1"),
    "mixup": (lambda value: 0 <= value < math.inf, "from 0"),
    "cutmix": (lambda value: 0 <= value < math.inf, "from 0"),
    "randaugment": (lambda value: 0 <= value <= 30, "from 0 to 30"),
    "layer_decay": (lambda value: 0 < value <= 1, "above 0 and to 1"),
    "distill": (lambda value: 0 <= value <= 1, "from 0 to 1"),
}
OFF: Mapping[str, float] = {"layer_decay": 1.0}  # what switches an extra off, where it is not 0


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
        cutmix: alpha of CutMix; 0 for none. With both, each step has one of them.
        randaugment: magnitude of RandAugment, which the stream of images applies; 0 for none.
        drop_path: probability that the last residual block is skipped for an image, rising evenly from 0 at the first
            (stochastic depth, Huang et al., ECCV 2016); 0 for none.
        layer_decay: factor of the learning rate from each group of layers to the one before it, see
            `nat.supernet.training.WeightTrainer`; 1 for the same rate everywhere.
        distill: share of a teacher's answers in the loss, the labels having the rest; 0 for none.
        seed: of mixup, CutMix, RandAugment and skipped blocks.

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
    cutmix: float = 0.0
    layer_decay: float = 1.0
    distill: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no training can be made of."""
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimiser", self.optimizer, OPTIMIZERS)
        if not self.learning_rate > 0 or not math.isfinite(self.learning_rate):
            raise InputError(f"expected a learning rate above 0, got {self.learning_rate}.")
        for name, (fits, words) in RANGES.items():
            if not fits(getattr(self, name)):
                raise InputError(f"expected {name.replace('_', ' ')} {words}, got {getattr(self, name)}.")

    def to_json(self) -> dict[str, Any]:
        """As metrics.json has it."""
        return asdict(self) | {"class_weights": list(self.class_weights)}

    def in_words(self) -> str:
        """One line: what is always there, then what is switched on."""
        said = f"{self.steps} steps of {self.optimizer}, learning rate {self.learning_rate:g}, weight decay "
        said += f"{self.weight_decay:g}, label smoothing {self.label_smoothing:g}"
        further = [
            f"{name.replace('_', ' ')} {getattr(self, name):g}"
            for name in ("ema", "mixup", "cutmix", "randaugment", "drop_path", "layer_decay", "distill")
            if getattr(self, name) != OFF.get(name, 0)
        ]
        return ", ".join([said, *further, *(["weighted classes"] if self.class_weights else [])])
