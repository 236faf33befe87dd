"""A pretraining's folder: checkpoints, the course of the training, and at its end the supernet with its card.

OUT/training.pt        all that is needed to go on; replaced by rename
OUT/recipe.json        what is trained: going on with other options is refused
OUT/history.jsonl      loss, throughput and accuracy of five subnets, a line a checkup
OUT/answers.safetensors   a teacher's answers, if there is one
OUT/NAME.safetensors   the supernet, 16-bit, with NAME.json
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import Tensor, distributed

from nat.datasets.splits import Splits
from nat.errors import InputError, RunError
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.files import read_json, write_json, write_text
from nat.pretrained.card import Card
from nat.pretrained.store import save_supernet
from nat.pretraining.training import STATE, Checkup, Pretraining
from nat.progress import Progress, Task
from nat.run_folder import RunFolder
from nat.supernet.sampling import ladder
from nat.supernet.supernet import Supernet

RECIPE, HISTORY = "recipe.json", "history.jsonl"
RESERVED = {"recipe", "history", "training", "answers", "config"}
CHECKED = 5  # subnets of a checkup
CHECKUP_IMAGES = 1000
CHECKUPS = 40  # most in a training, of up to one an epoch
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Labels:
    """What the card is to say beside the recipe.

    Attributes:
        name: of the supernet and of its file.
        command: that trained it.
        teacher: which network's answers are learnt, if any, to the last detail.
        start: card of the supernet that it starts from, if any.
    """

    name: str = "supernet"
    command: str = ""
    teacher: str = ""
    start: Card | None = None

    def __post_init__(self) -> None:
        """Refuses names that cannot be a file's in the folder."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) or self.name in RESERVED:
            raise InputError(
                f"expected a name of letters, digits, dots and dashes, other than {', '.join(sorted(RESERVED))}; "
                f"got '{self.name}'."
            )


class TrainingRun:
    """A `Pretraining` in a folder.

    Args:
        training: not yet begun; it goes on from the folder's checkpoint if there is one.
        splits: its images.
        out: the folder, made if absent.
        labels: for the card.
        progress: shows how far it is.
        save_seconds: time between checkpoints.
    """

    def __init__(
        self,
        training: Pretraining,
        splits: Splits,
        out: Path,
        labels: Labels,
        progress: Progress,
        *,
        save_seconds: float = SAVE_SECONDS,
    ) -> None:
        self.training, self.splits, self.out, self.labels = training, splits, out, labels
        self.progress, self.save_seconds = progress, save_seconds
        self.leads = training.group is None or distributed.get_rank(training.group) == 0
        per_epoch = training.stream.steps_per_epoch
        self.check_every = max(1, min(per_epoch, training.steps), training.steps // CHECKUPS)
        self.nets = ladder(training.space, CHECKED)
        self.card = self._card()
        self.evaluator = self._evaluator()

    @property
    def path(self) -> Path:
        """The file of the finished supernet."""
        return self.out / f"{self.labels.name}.safetensors"

    def run(self, ask: Callable[[], Tensor | None] = lambda: None) -> Path:
        """Trains to the end and writes the supernet, or goes on with what the folder holds.

        Args:
            ask: gives a teacher's answers; called when the folder is ready, first in the process that leads.

        Returns:
            Path of the safetensors file.

        Raises:
            RunError: the folder cannot be used, or holds a training with other options.
        """
        with self._opened():
            self.training.answers = self._asked(ask)
            finished = self.training.step == self.training.steps and self.path.with_suffix(".json").exists()
            with self.progress.task("training the supernet", self.training.steps) as task:
                task.advance(self.training.step)
                self._clock, self._saved = (time.monotonic(), self.training.step), time.monotonic()
                supernet = self.training.run(lambda checkup: self._after(checkup, task))
            if self.leads and not finished:
                self._write(supernet)
        return self.path

    # --- while it runs -------------------------------------------------------------------------------------------

    def _after(self, checkup: Checkup, task: Task) -> None:
        last = checkup.step == checkup.steps
        if not self.leads:
            return
        if checkup.step % self.check_every == 0 or last:
            self._check(checkup)
        if last or time.monotonic() - self._saved >= self.save_seconds:
            self.training.save(self.out)
            self._saved = time.monotonic()
        task.advance(note=f"{checkup.stage}: loss {checkup.loss:.2f}")

    def _check(self, checkup: Checkup) -> None:
        started, first = self._clock
        seconds = (time.monotonic() - started) / (checkup.step - first)
        speed = self.training.stream.batch_size / max(1e-9, seconds)
        accuracy = self._accuracies(self.training.result)
        line = {**asdict(checkup), "images_per_second": round(speed, 1), "val_top1": accuracy}
        kept = [old for old in read_history(self.out) if old["step"] < checkup.step]
        write_text(self.out / HISTORY, "".join(json.dumps(each) + "\n" for each in [*kept, line]))
        shown = " ".join(f"{value:.3f}" for value in accuracy.values())
        left = timedelta(seconds=round(seconds * (checkup.steps - checkup.step)))
        self.progress.say(
            f"step {checkup.step}/{checkup.steps} ({checkup.stage}): loss {checkup.loss:.3f}, {speed:.0f} images/s, "
            f"{left} left; val top-1 from the smallest to the largest {shown}"
        )
        self._clock = time.monotonic(), checkup.step

    def _accuracies(self, supernet: Supernet) -> dict[str, float]:
        return {net.id: round(1 - self.evaluator.top1_error(supernet, net), 4) for net in self.nets}

    def _asked(self, ask: Callable[[], Tensor | None]) -> Tensor | None:
        """The answers; the leading process computes them, the others read what it stored."""
        group = self.training.group
        if group is None:
            return ask()
        answers = ask() if self.leads else None
        distributed.barrier(group)
        return answers if self.leads else ask()

    # --- the folder ----------------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """The folder, made, locked, and its training taken up."""
        folder = RunFolder(self.out)
        with ExitStack() as stack:
            if self.leads:
                stack.enter_context(folder.locked())
                folder.sweep()
                self._prepare()
            if self.training.group is not None:
                distributed.barrier(self.training.group)
            if (self.out / STATE).exists():
                self.training.restore(self.out)
            yield

    def _prepare(self) -> None:
        if (self.out / "config.json").exists():
            raise RunError(f"'{self.out}' holds a run of nat transfer: name another --out.")
        mine = json.loads(json.dumps(self._identity()))
        if (self.out / STATE).exists():
            theirs = read_json(self.out / RECIPE)
            differing = sorted(key for key in mine if theirs.get(key) != mine[key])
            if differing:
                raise RunError(
                    f"'{self.out}' holds a training with other {', '.join(differing)}. Give the same options, or "
                    "another folder."
                )
            return
        for stale in (self.path, self.path.with_suffix(".json"), self.out / HISTORY):
            stale.unlink(missing_ok=True)
        write_json(self.out / RECIPE, mine)

    def _identity(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.training.recipe),
            "space": self.training.space.to_json(),
            "images": self.splits.fingerprint,
            "flip": self.splits.card.flip,
            "teacher": self.labels.teacher,
            "start": self.labels.start.name if self.labels.start else "",
        }

    def _write(self, supernet: Supernet) -> None:
        images = f"{len(self.evaluator.validation)} validation images"
        accuracy = {f"top-1 on {images}, from the smallest to the largest subnet": self._accuracies(supernet)}
        save_supernet(supernet, self._card(accuracy), self.path, half=True)

    def _card(self, accuracy: dict[str, Any] | None = None) -> Card:
        splits, space, start = self.splits, self.training.space, self.labels.start
        before = f"{start.trained_on}; then " if start else ""
        taught = f", taught by {self.labels.teacher}" if self.labels.teacher else ""
        return Card(
            name=self.labels.name,
            title=f"{space.structure.name} supernet, width {space.width:g}, for {splits.num_classes} classes",
            space=space,
            num_classes=splits.num_classes,
            mean=self.training.recipe.mean,
            std=self.training.recipe.std,
            trained_on=f"{before}{splits.card.name}: {len(splits.train):,} images of {splits.num_classes} classes, "
            f"from {start.name if start else 'random weights'}{taught}",
            licence=f"images: {splits.card.licence}" + (f"; {start.name}: {start.licence}" if start else ""),
            command=self.labels.command,
            recipe=asdict(self.training.recipe),
            accuracy=accuracy or {},
        )

    def _evaluator(self) -> SubnetEvaluator:
        validation = self.splits.val
        if len(validation) > CHECKUP_IMAGES:  # those of a folder come sorted by class
            step = len(validation) / CHECKUP_IMAGES
            validation = validation.subset([int(number * step) for number in range(CHECKUP_IMAGES)])
        preprocessing = preprocessing_of(self.splits.card.crop_fraction, self.card)
        return SubnetEvaluator(self.splits.train, validation, preprocessing, device=self.training.device)


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
