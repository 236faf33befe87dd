"""Bundles exported for other runtimes; each file is run alone and compared before anything appears."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nat.bundle import Bundle, load_bundle, whole_folder
from nat.datasets.splits import Splits
from nat.deployment import runner
from nat.deployment.checking import Expected, Facts, compare, eager_latency, expected_of, top1
from nat.deployment.formats import FILES, write_onnx, write_pt2
from nat.deployment.quantisation import calibration_images, write_int8
from nat.errors import CheckpointError, InputError, RunError
from nat.files import read_json, write_json
from nat.progress import Progress, Silence
from nat.run_folder import RunFolder, check_new
from nat.verification import check_classes, images_of

SCHEMA = 1
NO_IMAGES = "none"  # as --data: compare on noise


@dataclass(frozen=True)
class ExportOptions:
    """What is asked of an export.

    Attributes:
        formats: of `FILES`.
        data: name or folder of images; None for those that the bundle was measured on, "none" for none.
        calibration: training images for int8.
        threads: of the CPU, for latency.
    """

    formats: tuple[str, ...]
    data: str | None = None
    calibration: int = 256
    threads: int = 1


def export(path: Path, out: Path | None, options: ExportOptions, progress: Progress | None = None) -> list[Facts]:
    """Exports a bundle, or all subnets of a finished run's front.

    What an interrupted export of the same subnets with the same settings has finished is kept, and the rest is done.

    Args:
        path: folder of a bundle or of a run.
        out: folder for the exports, one folder a subnet where `path` is a run; None for "exports" in `path`.
        options: what is asked.
        progress: shows how far it is.

    Returns:
        export.json of each subnet, the cheapest first.

    Raises:
        InputError: the folder is neither, the images are missing or of other classes, or int8 has none.
        RunError: where an export should go there is something else, or one with other settings.
        TransferError: an exported file does not do what its network does.
    """
    if options.data == NO_IMAGES and "int8" in options.formats:
        raise InputError("int8 needs images to calibrate on: give --data, or another --format.")
    path, progress = path.expanduser(), progress or Silence()
    out = path / "exports" if out is None else out.expanduser()
    bundles = _bundles(path)
    places = [out] if bundles == [path] else [out / bundle.name for bundle in bundles]
    found = {place: _kept(place, _asked(bundle, options)) for place, bundle in zip(places, bundles, strict=True)}
    loaded = {place: load_bundle(bundle) for place, bundle in zip(places, bundles, strict=True) if not found[place]}
    if len(loaded) < len(places):
        progress.say(f"{len(places) - len(loaded)} of {len(places)} exported already; remove {out} to do it again")
    _export_all(loaded, found, options, progress)
    return [facts for facts in found.values() if facts]


def _export_all(
    loaded: Mapping[Path, Bundle], found: dict[Path, Facts | None], options: ExportOptions, progress: Progress
) -> None:
    """Exports bundles into their places and puts what there is to say of each into `found`."""
    if not loaded:
        return
    bundles = list(loaded.values())
    splits = None if options.data == NO_IMAGES else _splits(bundles[0], options.data, progress)
    if splits is not None:
        for bundle in bundles:
            check_classes(bundle, splits)
    with progress.task("exporting", len(loaded) * len(options.formats)) as task:
        for place, bundle in loaded.items():
            found[place] = _export_one(bundle, splits, place, options, task.advance)


def _asked(bundle: Path, options: ExportOptions) -> str:
    """SHA-256 of what decides an export: weights and settings. A digest, as an export may be given away and paths not.

    Raises:
        CheckpointError: the bundle has no weights.
    """
    try:
        weights = hashlib.sha256((bundle / "model.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read the weights in '{bundle}': {error.strerror or error}.") from error
    return hashlib.sha256(json.dumps([SCHEMA, weights, asdict(options)]).encode()).hexdigest()


def _kept(place: Path, asked: str) -> Facts | None:
    """export.json of a whole export of the very same; None where there is nothing yet.

    Raises:
        RunError: something else is there, or nothing can be.
    """
    if not (place / "export.json").is_file():
        check_new(place)
        return None
    facts = read_json(place / "export.json")
    if not isinstance(facts, dict) or facts.get("asked") != asked:
        raise RunError(
            f"expected --out to be new, or to hold an unfinished export of the same subnets with the same settings; "
            f"'{place}' holds another export. Name another --out, or remove it."
        )
    return facts


def _bundles(path: Path) -> list[Path]:
    """The bundle at a path, or the bundles of a run's front, the cheapest first."""
    if (path / "architecture.json").is_file():
        return [path]
    if not (path / "config.json").is_file():
        raise RunError(
            f"expected the folder of a subnet (with architecture.json) or of a run (with config.json) at '{path}'."
        )
    folder = RunFolder(path)
    folder.read_config()
    return [folder.subnets / net["id"] for net in folder.read_front()["front"]]


def _splits(bundle: Bundle, data: str | None, progress: Progress) -> Splits:
    try:
        return images_of(bundle, data, progress)
    except InputError as error:
        if data is not None:
            raise
        raise InputError(
            f"the images that the subnet was measured on cannot be read: {error} Say where they are with --data, or "
            "compare on noise with --data none (no int8 then)."
        ) from error


def _export_one(bundle: Bundle, splits: Splits | None, out: Path, options: ExportOptions, advance: Any) -> Facts:
    """Writes the folder of one subnet, whole or not at all."""
    expected = expected_of(bundle, None if splits is None else splits.test, options.threads)
    with whole_folder(out) as draft:
        shutil.copyfile(runner.__file__, draft / "predict.py")
        for name in ("labels.json", "preprocess.json"):
            shutil.copyfile(bundle.path / name, draft / name)
        facts = _about(bundle, expected, splits, options)
        for name in options.formats:
            facts["formats"][name] = _write(name, bundle, splits, draft, options)
            facts["formats"][name] |= compare(draft / FILES[name], draft / "predict.py", expected, exact=name != "int8")
            advance(note=f"{bundle.model.architecture.id} {name}")
        if "int8" in options.formats:
            _add_drop(facts)
        write_json(draft / "export.json", facts)
    return facts


def _write(name: str, bundle: Bundle, splits: Splits | None, folder: Path, options: ExportOptions) -> Facts:
    """Writes one file; what there is to say of how."""
    path, float_model = folder / FILES[name], folder / FILES["onnx"]
    if name == "pt2":
        write_pt2(bundle, path)
        return {}
    if name == "onnx":
        write_onnx(bundle, path)
        return {}
    assert splits is not None  # refused before any work
    images = calibration_images(bundle, splits.train, options.calibration)
    wanted = float_model.is_file()
    if not wanted:
        write_onnx(bundle, float_model)
    write_int8(bundle, float_model, path, images)
    if not wanted:
        float_model.unlink()
    return {"calibration_images": len(images)}


def _about(bundle: Bundle, expected: Expected, splits: Splits | None, options: ExportOptions) -> dict[str, Any]:
    labels = expected.labels
    eager = {
        "file": "model.safetensors",
        "bytes": (bundle.path / "model.safetensors").stat().st_size,
        "top1": None if labels is None else top1(expected.logits.numpy(), labels.numpy()),
        "latency": eager_latency(bundle, options.threads),
        "versions": {"torch": torch.__version__},
    }
    same = splits is not None and splits.fingerprint == bundle.metrics["data"]["fingerprint"]
    return {
        "schema": SCHEMA,
        "asked": _asked(bundle.path, options),
        "id": bundle.model.architecture.id,
        "macs": bundle.metrics["macs"],
        "params": bundle.metrics["params"],
        "resolution": bundle.preprocess.crop,
        "compared_on": {"images": len(expected.images), "kind": "noise" if splits is None else "test"},
        "bundle_test_top1": bundle.metrics["test"]["top1"] if same else None,
        "eager": eager,
        "formats": {},
    }


def _add_drop(facts: dict[str, Any]) -> None:
    """How much less of the test images int8 has right than the bundle's own network, in fractions of 1."""
    int8 = facts["formats"]["int8"]
    int8["top1_drop"] = facts["eager"]["top1"] - int8["top1"]
