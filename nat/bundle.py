"""A subnet as a folder that can be deployed: weights, architecture, preprocessing, labels, metrics and a model card.

model = nat.load_subnet("runs/flowers/subnets/1a2b3c4d5e")
logits = model(images)
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nat.bootstrap import CORRECT
from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.errors import CheckpointError, InputError, RunError
from nat.files import as_text, read_json, write_json, write_text
from nat.predictions import Predictions
from nat.supernet.architecture import Architecture
from nat.supernet.costs import costs_of, space_around
from nat.supernet.evaluation import (
    balanced_accuracy,
    calibration_error,
    macro_f1,
    predict,
    recalls,
    top1_accuracy,
)
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import structure_of, with_structure
from nat.supernet.subnet import Subnet
from nat.timm_config import timm_config

Content = TypeVar("Content")
Metrics = dict[str, Any]

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
        write_text(draft / "README.md", model_card(subnet, preprocess, labels, metrics))


def copy_bundle(path: Path, out: Path) -> None:
    """Copies a bundle to a folder that must not exist; the copy appears whole."""
    with whole_folder(out) as draft:
        shutil.copytree(path, draft, dirs_exist_ok=True)


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
        reason = str(error).splitlines()[0][:120]
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


def measure(model: Subnet, preprocess: Preprocess, images: ImageSet, device: torch.device | str = "cpu") -> Metrics:
    """Top-1, macro F1, top-5 and mean cross-entropy on a split; see `answers`."""
    return metrics_of(answers(model, preprocess, images, device), images.labels)


def answers(model: nn.Module, preprocess: Preprocess, images: ImageSet, device: torch.device | str = "cpu") -> Tensor:
    """Logits on a split, shape (n, classes), each image going from its file through `preprocess` alone.

    Args:
        model: in evaluation mode.
        preprocess: the bundle's.
        images: a split.
        device: where it runs.
    """
    return predict(model.to(device), images.original(preprocess), preprocess.normalise)


def metrics_of(logits: Tensor, labels: Tensor) -> Metrics:
    """What is told of logits (n, classes) for labels (n,).

    Top-1 and top-5 accuracy, balanced accuracy, macro F1, mean cross-entropy, expected calibration error, and the
    recall of each class, None for one without images.
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return {
        "images": len(labels),
        "top1": top1_accuracy(logits, labels),
        "balanced_accuracy": balanced_accuracy(logits, labels),
        "macro_f1": macro_f1(logits, labels),
        "top5": float((ranked == labels[:, None]).any(dim=1).double().mean()),
        "loss": float(F.cross_entropy(logits.double(), labels)),
        "calibration_error": calibration_error(logits, labels),
        "recalls": [None if math.isnan(recall) else recall for recall in recalls(logits, labels).tolist()],
    }


def model_card(subnet: Subnet, preprocess: Preprocess, labels: tuple[str, ...], metrics: Mapping[str, Any]) -> str:
    """README.md of a bundle."""
    a = subnet.architecture
    macs, params = costs_of(a, len(labels), subnet.structure)
    data, test, val = metrics["data"], metrics["test"], metrics["val"]
    return f"""# Subnet {a.id}

A MobileNetV3-style image classifier, found and {"fine-tuned" if metrics["finetuned"] else "extracted"} by the NAT
toolkit.

| | |
|---|---|
| classes | {len(labels)} |
| input | {a.resolution} x {a.resolution} RGB |
| multiply-adds | {macs:,} |
| parameters | {params:,} |
| data | {_cell(data["name"])} (fingerprint {data["fingerprint"][:12]}) |
| validation top-1 | {val["top1"]:.4f} ({val["images"]} images) |
| test top-1 | {test["top1"]:.4f} ({test["images"]} images) |
| supernet | {_cell(metrics["supernet"])} |

Depths {list(a.depths)}, kernels {list(a.kernels)}, expand ratios {list(a.expands)}, width {a.width}.

```python
import nat, torch
bundle = nat.load_bundle("{a.id}")
image = torch.zeros(3, 300, 400, dtype=torch.uint8)  # any RGB image as (3, height, width)
batch = bundle.preprocess.normalise(bundle.preprocess.shape(image)[None])
print(bundle.labels[bundle.model(batch).argmax()])
```

Preprocessing: shorter side to {preprocess.resize}, centre crop {preprocess.crop}, then (x / 255 - mean) / std; see
    preprocess.json.
"""


def _cell(name: str) -> str:
    """A name of anybody's in a cell of a Markdown table: no end of the cell or the row, and no HTML."""
    for character, code in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;")):
        name = name.replace(character, code)
    return as_text(" ".join(name.split()))
