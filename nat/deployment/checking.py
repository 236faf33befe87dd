"""Comparing an exported file, run alone in a fresh process, with the network that it was made of."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nat.bundle import Bundle
from nat.datasets.images import ImageSet
from nat.deployment import fresh
from nat.errors import TransferError
from nat.supernet.evaluation import predict

TOLERANCE = 1e-4  # of float logits, of the greatest one where that is above 1
PASSES = 50
PREPARED = 32  # test files that the runner's own preprocessing is compared on
_OTHERS = ("nat", "timm", "torchvision", "onnx", "onnxscript", "torch", "onnxruntime")
Facts = dict[str, Any]


@dataclass(frozen=True)
class Expected:
    """What an export must do again.

    Attributes:
        images: uint8 (n, 3, r, r), as the network's preprocessing makes them.
        logits: of the network, (n, classes).
        labels: of the images (n,); None for noise.
        files: of some images, in the order of `images`.
        threads: of the CPU, for latency.
    """

    images: Tensor
    logits: Tensor
    labels: Tensor | None
    files: Sequence[Path]
    threads: int


def expected_of(bundle: Bundle, images: ImageSet | None, threads: int) -> Expected:
    """Answers of a bundle on a split, or on noise where there is none."""
    side = bundle.preprocess.crop
    if images is None:
        noise = torch.randint(0, 256, (64, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        return Expected(noise, predict(bundle.model, noise, bundle.preprocess.normalise), None, (), threads)
    files = [] if images.paths is None else images.paths[:PREPARED]
    prepared = images.original(bundle.preprocess)
    logits = predict(bundle.model, prepared, bundle.preprocess.normalise)
    return Expected(prepared, logits, images.labels, files, threads)


def compare(path: Path, runner: Path, expected: Expected, *, exact: bool) -> Facts:
    """What an exported file does in a process of its own, against what it must do.

    Args:
        path: .onnx or .pt2.
        runner: a copy of `nat.deployment.runner`.
        expected: what it must do again.
        exact: whether logits must be equal up to `TOLERANCE` and answers up to ties of the same size.

    Returns:
        A JSON object: size, top-1, differences, latency, versions.

    Raises:
        TransferError: the file does not run alone, or is not exact and should be.
    """
    with TemporaryDirectory() as folder:
        facts, logits, prepared = _run_alone(path, runner, expected, Path(folder))
    wanted = expected.logits.numpy()
    difference, largest = float(np.abs(logits - wanted).max()), float(np.abs(wanted).max())
    allowed = TOLERANCE * max(1.0, largest)
    differing = logits.argmax(1) != wanted.argmax(1)
    ranked = np.sort(wanted, axis=1)
    ties = ranked[:, -1] - ranked[:, -2 if wanted.shape[1] > 1 else -1] <= 2 * allowed
    if exact and (difference > allowed or bool((differing & ~ties).any())):
        raise TransferError(
            f"'{path.name}' does not do what the network does: logits differ by {difference:.2g}, of at most "
            f"{largest:.3g} (allowed {allowed:.2g}), answers on {int(differing.sum())} of {len(wanted)} images. "
            "Nothing was written."
        )
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "top1": None if expected.labels is None else top1(logits, expected.labels.numpy()),
        "max_logit_difference": difference,
        "largest_logit": largest,
        "differing_answers": int(differing.sum()),
        "latency": quartiles(facts["milliseconds"], expected.threads),
        "prepared_from_files": _prepared(prepared, expected),
        "versions": facts["versions"],
        "imported": [name for name in facts["imported"] if name in _OTHERS],
    }


def top1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Fraction of rows (n, classes) whose greatest entry is at the label."""
    return float((logits.argmax(1) == labels).mean())


def eager_latency(bundle: Bundle, threads: int) -> Facts:
    """Latency of the bundle's own network in this process, on one image."""
    image = torch.zeros(1, 3, bundle.preprocess.crop, bundle.preprocess.crop)
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    times = []
    with torch.inference_mode():
        for _ in range(fresh.WARM_UP + PASSES):
            started = clock()
            bundle.model(image)
            times.append(1e3 * (clock() - started))
    return quartiles(times[fresh.WARM_UP :], threads)


def quartiles(milliseconds: Sequence[float], threads: int) -> Facts:
    """Median and quartiles of times, with how they were taken."""
    low, middle, high = np.percentile(milliseconds, (25, 50, 75)).round(4).tolist()
    clock = "CPU time of the thread" if threads == 1 else "wall clock"
    facts = {"median_ms": middle, "q1_ms": low, "q3_ms": high, "passes": len(milliseconds)}
    return {**facts, "batch": 1, "threads": threads, "clock": clock}


def _run_alone(
    path: Path, runner: Path, expected: Expected, folder: Path
) -> tuple[Facts, NDArray[np.float32], NDArray[np.uint8]]:
    """Facts, logits and prepared images of `nat.deployment.fresh`."""
    runtime = "torch" if path.suffix == ".pt2" else "onnxruntime"
    np.save(folder / "images.npy", expected.images.contiguous().numpy())
    order = {
        "runner": str(runner.absolute()),
        "model": str(path.absolute()),
        "images": str(folder / "images.npy"),
        "folder": str(folder),
        "files": [str(file.absolute()) for file in expected.files],
        "forbidden": [name for name in _OTHERS if name != runtime],
        "runtime": runtime,
        "threads": expected.threads,
        "passes": PASSES,
    }
    (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
    words = [sys.executable, "-I", fresh.__file__, str(folder / "order.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TransferError(
            f"'{path.name}' does not run in a process with {runtime} alone: {last}. Nothing was written."
        )
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return facts, np.load(folder / "logits.npy"), np.load(folder / "prepared.npy")


def _prepared(prepared: NDArray[np.uint8], expected: Expected) -> Facts | None:
    """How far images that the runner prepares from files are from the toolkit's, in levels of 255; None without files.

    Pillow and PyTorch round a resized pixel apart now and then, by one level.
    """
    if not len(prepared):
        return None
    gaps = np.abs(prepared.astype(np.int16) - expected.images[: len(prepared)].numpy().astype(np.int16))
    return {"images": len(prepared), "max_difference": int(gaps.max()), "pixels_differing": float((gaps > 0).mean())}
