"""What a report needs images for: pictures of some, and the answers of bundles of older versions, which keep none."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from nat.bundle import load_bundle
from nat.datasets.splits import Splits
from nat.errors import InputError, NatError
from nat.metrics import answers
from nat.predictions import Predictions
from nat.preparation import MACHINE_THREADS, read_splits
from nat.progress import Progress
from nat.report.thumbnails import keep, kept, thumbnails
from nat.run_folder import RunFolder

TOLERANCE = 1e-6


class Images:
    """The images of a run, read when they are first needed, if they are still there.

    Args:
        folder: of the run.
        progress: shows how far it is.
        splits: the images, where they have been read already.
        allowed: whether they may be read.

    Attributes:
        notes: what could not be had, and why, in sentences.
    """

    def __init__(self, folder: RunFolder, progress: Progress, splits: Splits | None, *, allowed: bool) -> None:
        self.notes: list[str] = []
        self._folder, self._progress, self._splits, self._allowed = folder, progress, splits, allowed
        self._fingerprint = str(folder.read_config()["data"].get("fingerprint"))

    def answers_of(self, bundles: Mapping[str, Path], classes: int) -> dict[str, Predictions]:
        """What the nets of bundles, by id, answer to test images: as kept in the bundles, else measured and kept."""
        found = {id: Predictions.read(bundle, classes) for id, bundle in bundles.items()}
        missing = [id for id, predictions in found.items() if predictions is None]
        if missing and (splits := self._read("answers of each net to each image")):
            with self._progress.task("measuring nets on test images", len(missing)) as task:
                for id in missing:
                    found[id] = self._measured(bundles[id], splits)
                    task.advance()
        return {id: predictions for id, predictions in found.items() if predictions is not None}

    def _measured(self, bundle: Path, splits: Splits) -> Predictions | None:
        """The answers of a bundle of an older version, kept beside it where it can be written."""
        try:
            loaded = load_bundle(bundle)
            if loaded.labels != splits.classes:
                raise InputError(f"'{bundle}' has other classes than the images.")
            torch.set_num_threads(loaded.metrics.get("threads") or MACHINE_THREADS)  # sums are rounded alike
            logits = answers(loaded.model, loaded.preprocess, splits.test)
        except NatError as error:
            self.notes.append(str(error))
            return None
        predictions = Predictions.of(logits, splits.test.labels)
        if abs(predictions.top1 - loaded.metrics["test"]["top1"]) > TOLERANCE:
            self.notes.append(
                f"{bundle.name} was measured again and is right on {predictions.top1:.4f} of the test images, where "
                f"its metrics.json says {loaded.metrics['test']['top1']:.4f}: classes and mistakes are those of now."
            )
        else:
            self._keep(lambda: predictions.save(bundle))
        return predictions

    def pictures(self, positions: Sequence[int]) -> dict[str, str]:
        """Pictures of test images by position, as text: those that the run keeps, else made and kept."""
        found = kept(self._folder, self._fingerprint)
        if set(map(str, positions)) - set(found) and (splits := self._read("pictures of test images")):
            found = thumbnails(splits.test, positions)
            pictures = dict(found)
            self._keep(lambda: keep(self._folder, self._fingerprint, pictures))
        return {str(position): found[str(position)] for position in positions if str(position) in found}

    def _keep(self, write: Callable[[], None]) -> None:
        with suppress(InputError):  # a run that cannot be written can still be looked at
            write()

    def _read(self, what: str) -> Splits | None:
        """The images, or None, having noted why."""
        if self._splits is not None:
            return self._splits
        if not self._allowed:
            return None
        try:
            splits = read_splits(self._folder.read_options(), self._progress)
        except NatError as error:
            self._give_up(f"There are no {what}: {error}")
            return None
        if splits.fingerprint != self._fingerprint:
            self._give_up(f"There are no {what}: the images are not those that the run was made with.")
            return None
        self._splits = splits
        return splits

    def _give_up(self, why: str) -> None:
        self._allowed = False
        self.notes.append(why)
