"""Bundles exported for other runtimes; each file is run alone and compared before anything appears."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nat.bundle import Bundle, load_bundle, whole_folder
from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.deployment import runner
from nat.deployment.checking import Expected, Facts, compare, eager_latency, expected_of, top1
from nat.deployment.formats import FILES, write_onnx, write_pt2
from nat.deployment.quantisation import calibration_images, write_int8
from nat.errors import InputError, RunError
from nat.files import write_json
from nat.preparation import counted
from nat.progress import Progress
from nat.run_folder import RunFolder, check_new

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


def export(path: Path, out: Path | None, options: ExportOptions, progress: Progress) -> list[Facts]:
    """Exports a bundle, or all subnets of a finished run's front.

    Args:
        path: folder of a bundle or of a run.
        out: folder for the exports, one folder a subnet where `path` is a run; None for "exports" in `path`.
        options: what is asked.
        progress: shows how far it is.

    Returns:
        export.json of each subnet, the cheapest first.

    Raises:
        InputError: the folder is neither, the images are missing or of other classes, or int8 has none.
        TransferError: an exported file does not do what its network does.
    """
    if options.data == NO_IMAGES and "int8" in options.formats:
        raise InputError("int8 needs images to calibrate on: give --data, or another --format.")
    path = path.expanduser()
    out = path / "exports" if out is None else out.expanduser()
    bundles = _bundles(path)
    places = [out] if bundles == [path] else [out / bundle.name for bundle in bundles]
    for place in places:
        check_new(place)  # before any work
    loaded = [load_bundle(bundle) for bundle in bundles]
    splits = None if options.data == NO_IMAGES else _splits(loaded[0], options.data, progress)
    for bundle in loaded:
        _check_classes(bundle, splits)
    found = []
    with progress.task("exporting", len(loaded) * len(options.formats)) as task:
        for bundle, place in zip(loaded, places, strict=True):
            found.append(_export_one(bundle, splits, place, options, task.advance))
    return found


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
    claim = bundle.metrics["data"]
    try:
        with counted(progress, "reading images") as report:
            return load_dataset(
                claim["source"] if data is None else data,
                root=Path(claim["data_root"]) if claim["data_root"] else None,
                seed=claim["seed"],
                skip_corrupt=claim["skip_corrupt"],
                progress=report,
            )
    except InputError as error:
        if data is not None:
            raise
        raise InputError(
            f"the images that the subnet was measured on cannot be read: {error} Say where they are with --data, or "
            "compare on noise with --data none (no int8 then)."
        ) from error


def _check_classes(bundle: Bundle, splits: Splits | None) -> None:
    if splits is not None and splits.classes != bundle.labels:
        raise InputError(
            f"expected images of the subnet's {len(bundle.labels)} classes ({', '.join(bundle.labels[:3])}, ...), got "
            f"{splits.num_classes} ({', '.join(splits.classes[:3])}, ...)."
        )


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
