"""A subnet as a folder that can be deployed: weights, architecture, preprocessing, labels, metrics and a model card.

model = nat.load_subnet("runs/flowers/subnets/1a2b3c4d5e")
logits = model(images)
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nat.bootstrap import CORRECT
from nat.datasets.preprocess import Preprocess
from nat.errors import CheckpointError, InputError, RunError, reason_of
from nat.files import read_json, write_json, write_text
from nat.metrics import Metrics
from nat.model_card import model_card
from nat.predictions import Predictions
from nat.supernet.architecture import Architecture
from nat.supernet.costs import space_around
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import structure_of, with_structure
from nat.supernet.subnet import Subnet
from nat.timm_config import timm_config

Content = TypeVar("Content")

_LABELS = TypeAdapter(Annotated[tuple[str, ...], Field(min_length=1)])


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Measured(_Strict):
    images: int
    top1: float
    top5: float
    loss: float


class _Data(_Strict):
    source: str
    data_root: str | None
    seed: int
    store_size: int = 256
    skip_corrupt: bool
    flip: bool | None = None
    fingerprint: str


class _Metrics(_Strict):
    """What is read of metrics.json, which may hold more."""

    id: str
    macs: int
    params: int
    resolution: int
    finetuned: bool
    val: _Measured
    test: _Measured
    data: _Data
    threads: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class Bundle:
    """A subnet that was read from its folder.

    Attributes:
        path: the folder.
        model: the network, in evaluation mode.
        preprocess: what an image goes through before it.
        labels: class names in the order of the outputs.
        metrics: content of metrics.json.
    """

    path: Path
    model: Subnet
    preprocess: Preprocess
    labels: tuple[str, ...]
    metrics: Metrics


def save_bundle(
    path: Path,
    subnet: Subnet,
    preprocess: Preprocess,
    labels: tuple[str, ...],
    metrics: Mapping[str, Any],
    correct: Mapping[str, Tensor] | None = None,
    predictions: Predictions | None = None,
) -> None:
    """Writes a bundle; the folder appears whole.

    Args:
        path: of the folder; must not exist.
        subnet: the network.
        preprocess: of its resolution.
        labels: class names.
        metrics: what was measured, and on which data.
        correct: by split, on which images the network was right, shape (n,); for paired comparisons.
        predictions: its answers to the test images; for reports.
    """
    with whole_folder(path) as draft:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in subnet.state_dict().items()}
        save_file(state, draft / "model.safetensors")
        if correct is not None:
            save_file({split: right.contiguous() for split, right in correct.items()}, draft / CORRECT)
        if predictions is not None:
            predictions.save(draft)
        write_json(draft / "architecture.json", with_structure(subnet.architecture.to_json(), subnet.structure))
        write_json(draft / "preprocess.json", preprocess.to_json())
        write_json(draft / "labels.json", list(labels))
        write_json(draft / "metrics.json", dict(metrics))
        write_json(draft / "config.json", timm_config(subnet, preprocess, labels))
        write_text(draft / "README.md", model_card(subnet, preprocess, labels, metrics, _name(path)))


def copy_bundle(path: Path, out: Path) -> None:
    """Copies a bundle to a folder that must not exist; the copy appears whole, with a card that has its name."""
    bundle = load_bundle(path)
    with whole_folder(out) as draft:
        shutil.copytree(path, draft, dirs_exist_ok=True)
        card = model_card(bundle.model, bundle.preprocess, bundle.labels, bundle.metrics, _name(out))
        write_text(draft / "README.md", card)


def _name(path: Path) -> str:
    return path.absolute().name


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a draft folder beside and renames it to `path` at the end, or removes it after an error."""
    if path.exists():
        raise RunError(f"'{path}' is there already. Name another folder.")
    draft = path.with_name(f".{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.rename(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write '{path}': {error}. Free space or name another place.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_bundle(path: Path | str) -> Bundle:
    """Reads a bundle.

    Raises:
        CheckpointError: a file is missing or damaged, or the files do not belong together.
    """
    path = Path(path).expanduser()
    _check_there(path)
    architecture, space = _read(path / "architecture.json", _in_its_space)
    labels = _read(path / "labels.json", _LABELS.validate_python)
    preprocess = _read(path / "preprocess.json", Preprocess.from_json)
    metrics = _read(path / "metrics.json", _checked_metrics)
    model = Subnet(space, architecture, len(labels))
    try:
        model.load_state_dict(load_file(path / "model.safetensors"))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = reason_of(error)
        raise CheckpointError(
            f"'{path}/model.safetensors' is damaged or of another architecture ({reason})."
        ) from error
    return Bundle(path, model.eval(), preprocess, labels, metrics)


def _check_there(path: Path) -> None:
    try:
        there = (path / "architecture.json").is_file()
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}. Name a subnet's folder.") from error
    if not there:
        raise CheckpointError(f"expected a subnet's folder at '{path}' (with architecture.json and model.safetensors).")


def _read(path: Path, take: Callable[[Any], Content]) -> Content:
    """What `take` makes of a JSON file of a bundle."""
    try:
        return take(read_json(path))
    except (ValueError, TypeError, AttributeError) as error:  # the toolkit's and pydantic's are ValueErrors
        reason = _first(error) if isinstance(error, ValidationError) else error
        raise CheckpointError(
            f"'{path}' is not as a bundle has it: {reason}. Take the bundle again from its run, or from a copy."
        ) from error


def _in_its_space(data: Any) -> tuple[Architecture, MobileNetSpace]:
    architecture = Architecture.from_json(data)
    return architecture, space_around(architecture, structure=structure_of(data, architecture.family))


def _checked_metrics(data: Any) -> Metrics:
    _Metrics.model_validate(data)
    return dict(data)


def _first(error: ValidationError) -> str:
    details = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, details["loc"])), details["msg"]]))


def load_subnet(path: Path | str) -> Subnet:
    """The network of a bundle: a plain module in evaluation mode, images (n, 3, r, r) to logits (n, classes).

    Args:
        path: the folder, with preprocess.json saying what images must go through.

    Raises:
        CheckpointError: the folder is not a bundle, or damaged.
    """
    return load_bundle(path).model
