"""A pretraining's folder: checkpoints, the course of the training, and at its end the supernet with its card.

OUT/training.pt        all that is needed to go on; replaced by rename
OUT/recipe.json        what is trained: going on with other options is refused
OUT/history.jsonl      loss, throughput and accuracy of five subnets, a line a checkup
OUT/NAME.safetensors   the supernet, 16-bit, with NAME.json
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import distributed

from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.errors import InputError, RunError
from nat.evaluation import SubnetEvaluator
from nat.files import read_json, write_json, write_text
from nat.pretrained.card import IMAGENET_MEAN, IMAGENET_STD, Card
from nat.pretrained.store import save_supernet
from nat.pretraining import STATE, Checkup, Pretraining
from nat.progress import Progress, Task
from nat.supernet.sampling import ladder
from nat.supernet.supernet import Supernet

RECIPE, HISTORY = "recipe.json", "history.jsonl"
CHECKED = 5  # subnets of a checkup
CHECKUP_IMAGES = 1000
CHECKUPS = 40  # most in a training


@dataclass(frozen=True)
class Labels:
    """What the card is to say beside the recipe.

    Attributes:
        name: of the supernet and of its file.
        command: that trained it.
        teacher: name of the network whose answers were used, if any.
        start: name of the supernet that it started from, if any.
    """

    name: str = "supernet"
    command: str = ""
    teacher: str = ""
    start: str = ""


class TrainingRun:
    """A `Pretraining` in a folder.

    Args:
        training: not yet begun; it goes on from the folder's checkpoint if there is one.
        splits: its images.
        out: the folder, made if absent.
        labels: for the card.
        progress: shows how far it is.
        save_every: steps between checkpoints.

    Raises:
        RunError: the folder cannot be made, or holds a training with other options.
    """

    def __init__(
        self,
        training: Pretraining,
        splits: Splits,
        out: Path,
        labels: Labels,
        progress: Progress,
        *,
        save_every: int = 200,
    ) -> None:
        self.training, self.splits, self.out, self.labels = training, splits, out, labels
        self.progress, self.save_every = progress, save_every
        self.leads = training.group is None or distributed.get_rank(training.group) == 0
        per_epoch = training.stream.steps_per_epoch
        self.check_every = max(1, min(per_epoch, training.steps), training.steps // CHECKUPS)
        self.nets = ladder(training.space, CHECKED)
        self.evaluator = _evaluator(splits, training)
        self._open()

    @property
    def path(self) -> Path:
        """The file of the finished supernet."""
        return self.out / f"{self.labels.name}.safetensors"

    def run(self) -> Path:
        """Trains to the end and writes the supernet.

        Returns:
            Path of the safetensors file.
        """
        finished = self.training.step == self.training.steps and self.path.exists()
        with self.progress.task("training the supernet", self.training.steps) as task:
            task.advance(self.training.step)
            self._clock = time.monotonic(), self.training.step
            supernet = self.training.run(lambda checkup: self._after(checkup, task))
        if self.leads and not finished:
            save_supernet(supernet, self._card(supernet), self.path, half=True)
        return self.path

    # --- while it runs -------------------------------------------------------------------------------------------

    def _after(self, checkup: Checkup, task: Task) -> None:
        last = checkup.step == checkup.steps
        if self.leads:
            if checkup.step % self.check_every == 0 or last:
                self._check(checkup)
            if checkup.step % self.save_every == 0 or last:
                self.training.save(self.out)
            task.advance(note=f"{checkup.stage}: loss {checkup.loss:.2f}")

    def _check(self, checkup: Checkup) -> None:
        started, first = self._clock
        images = (checkup.step - first) * self.training.stream.batch_size
        speed = images / max(1e-9, time.monotonic() - started)
        accuracy = {net.id: 1 - self.evaluator.top1_error(self.training.result, net) for net in self.nets}
        line = {**asdict(checkup), "images_per_second": round(speed, 1), "val_top1": accuracy}
        kept = [old for old in read_history(self.out) if old["step"] < checkup.step]
        write_text(self.out / HISTORY, "".join(json.dumps(each) + "\n" for each in [*kept, line]))
        shown = " ".join(f"{value:.3f}" for value in accuracy.values())
        self.progress.say(
            f"step {checkup.step}/{checkup.steps} ({checkup.stage}): loss {checkup.loss:.3f}, {speed:.0f} images/s, "
            f"val top-1 from the smallest to the largest {shown}"
        )
        self._clock = time.monotonic(), checkup.step

    # --- the folder ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make '{self.out}': {error.strerror or error}. Name another --out.") from error
        mine = json.loads(json.dumps(self._identity()))
        if (self.out / STATE).exists():
            theirs = read_json(self.out / RECIPE)
            differing = sorted(key for key in mine if theirs.get(key) != mine[key])
            if differing:
                raise RunError(
                    f"'{self.out}' holds a training with other {', '.join(differing)}. Give the same options, or "
                    "another folder."
                )
            self.training.restore(self.out)
        elif self.leads:
            write_json(self.out / RECIPE, mine)
        if self.training.group is not None:
            distributed.barrier(self.training.group)

    def _identity(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.training.recipe),
            "space": self.training.space.to_json(),
            "images": self.splits.fingerprint,
            "teacher": self.labels.teacher,
            "start": self.labels.start,
        }

    def _card(self, supernet: Supernet) -> Card:
        space, splits = self.training.space, self.splits
        accuracy = {net.id: round(1 - self.evaluator.top1_error(supernet, net), 4) for net in self.nets}
        taught = f", taught by {self.labels.teacher}" if self.labels.teacher else ""
        start = self.labels.start or "random weights"
        return Card(
            name=self.labels.name,
            title=f"MobileNetV3 supernet, width {space.width:g}, for {splits.num_classes} classes",
            space=space,
            num_classes=splits.num_classes,
            trained_on=f"{splits.card.name}: {len(splits.train):,} images of {splits.num_classes} classes, from {start}"
            + taught,
            licence=f"weights Apache-2.0; images: {splits.card.licence}",
            command=self.labels.command,
            recipe=asdict(self.training.recipe),
            accuracy={f"val_top1 on {len(self.evaluator.validation)} images, smallest to largest": accuracy},
        )


def read_history(out: Path) -> list[dict[str, Any]]:
    """The lines of a training's history, oldest first; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    path = out / HISTORY
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise InputError(f"'{path}' is damaged ({error}): delete it.") from error


def _evaluator(splits: Splits, training: Pretraining) -> SubnetEvaluator:
    validation = splits.val
    if len(validation) > CHECKUP_IMAGES:  # those of a folder come sorted by class
        step = len(validation) / CHECKUP_IMAGES
        validation = validation.subset([int(number * step) for number in range(CHECKUP_IMAGES)])

    def preprocessing(resolution: int) -> Preprocess:
        return Preprocess.for_resolution(resolution, splits.card.crop_fraction, IMAGENET_MEAN, IMAGENET_STD)

    return SubnetEvaluator(splits.train, validation, preprocessing, device=training.device)
