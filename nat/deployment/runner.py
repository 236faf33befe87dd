"""Answers of an exported network on images, without the toolkit that made it: this one file and the exported one do.

Needs numpy, Pillow, and onnxruntime for .onnx or torch for .pt2. Labels and preprocessing are inside the exported file.

    python predict.py photo.jpg other.png --top 3

    classifier = load("model.onnx")
    classifier.top(["photo.jpg"], 5)   # [[("rose", 0.93), ("tulip", 0.05), ...]]
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
KEYS = ("nat.preprocess", "nat.labels")  # of what an exported file carries, as JSON
LONGEST_ASPECT = 4  # ends of longer images, which the centre crop cannot see, are cut off before resizing
BATCH = 32


class Classifier:
    """A network with what its images go through and what its outputs mean.

    Args:
        network: float32 images (n, 3, crop, crop) to logits (n, classes).
        preprocess: `resize`, `crop`, `mean`, `std` and `interpolation`, as in preprocess.json.
        labels: class names in the order of the outputs.
    """

    def __init__(self, network: Callable[[Floats], Floats], preprocess: dict[str, Any], labels: Sequence[str]) -> None:
        self.network, self.preprocess, self.labels = network, preprocess, list(labels)

    def prepare(self, path: str | Path) -> Bytes:
        """The centre of an image file at the network's size, uint8 (3, crop, crop)."""
        with Image.open(path) as image:
            pixels = np.asarray(self._shaped(to_rgb(image)))
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def normalise(self, images: Bytes) -> Floats:
        """Bytes (n, 3, h, w) as the network wants them: (x / 255 - mean) / std."""
        mean, std = (np.array(self.preprocess[key], np.float32) * np.float32(255) for key in ("mean", "std"))
        normalised: Floats = (images.astype(np.float32) - mean[:, None, None]) / std[:, None, None]
        return normalised

    def logits(self, images: Bytes) -> Floats:
        """Logits (n, classes) of prepared images (n, 3, crop, crop)."""
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return np.concatenate([self.network(self.normalise(batch)) for batch in batches])

    def top(self, paths: Sequence[str | Path], count: int = 5) -> list[list[tuple[str, float]]]:
        """For each image file the most probable classes with their probabilities, the likeliest first."""
        found = []
        for path in paths:
            logits = self.logits(self.prepare(path)[None])[0].astype(np.float64)
            odds = np.exp(logits - logits.max())
            best = np.argsort(-odds, kind="stable")[:count]
            found.append([(self.labels[index], float(odds[index] / odds.sum())) for index in best])
        return found

    def _shaped(self, image: Image.Image) -> Image.Image:
        resize, crop = int(self.preprocess["resize"]), int(self.preprocess["crop"])
        image = _trimmed(image)
        width, height = image.size
        short = min(width, height)
        if short != resize:
            ways = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
            size = (resize * width // short, resize * height // short)
            image = image.resize(size, ways[self.preprocess["interpolation"]])
        left, top = (round((side - crop) / 2) for side in image.size)
        return image.crop((left, top, left + crop, top + crop))


def load(path: str | Path, threads: int = 1) -> Classifier:
    """The network of an exported file.

    Args:
        path: .onnx or .pt2. Open only .pt2 files that you trust, as with any of PyTorch's archives.
        threads: of the CPU.

    Raises:
        ValueError: the file is missing or no export.
        ImportError: what runs it is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"expected an exported network at '{path}'; there is none.")
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"expected a file that ends with .onnx or .pt2, got '{path}'.")
    try:
        network, carried = (_load_onnx if path.suffix == ".onnx" else _load_pt2)(path, threads)
    except ImportError:
        raise
    except Exception as error:  # both runtimes raise nearly anything for a damaged file
        raise ValueError(f"cannot read '{path}' ({_first_line(error)}). Export it again.") from error
    if not all(carried.get(key) for key in KEYS):
        raise ValueError(f"'{path}' carries no labels and preprocessing. Export it with 'nat export'.")
    preprocess, labels = (json.loads(carried[key]) for key in KEYS)
    return Classifier(network, preprocess, labels)


def _load_onnx(path: Path, threads: int) -> tuple[Callable[[Floats], Floats], dict[str, str]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0], session.get_modelmeta().custom_metadata_map


def _load_pt2(path: Path, threads: int) -> tuple[Callable[[Floats], Floats], dict[str, str]]:
    import torch

    torch.set_num_threads(threads)
    carried = dict.fromkeys(KEYS, "")
    network = torch.export.load(str(path), extra_files=carried).module()

    @torch.inference_mode()
    def run(images: Floats) -> Floats:
        logits: Floats = network(torch.from_numpy(images)).numpy()
        return logits

    return run, carried


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened image upright and in 8-bit RGB: transparency laid over white, 16 bits scaled to 8."""
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # broken metadata is no reason to refuse a sound image
        image = image.copy()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        scale = 255 / 65535 if image.mode != "F" else 255.0 if values.max() <= 1 else 1.0
        image = Image.fromarray(np.rint(values * scale).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _trimmed(image: Image.Image) -> Image.Image:
    width, height = image.size
    cut = (max(width, height) - LONGEST_ASPECT * min(width, height)) // 2
    if cut < 1:
        return image
    return image.crop((cut, 0, width - cut, height) if width > height else (0, cut, width, height - cut))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def main() -> None:
    """`python predict.py IMAGE...`, with the model beside this file or that of --model."""
    parser = argparse.ArgumentParser(description="Classes of images, the likeliest first.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--model", help="an exported file; default: model.onnx or model.pt2 beside this file")
    parser.add_argument("--top", type=int, default=5, help="classes for each image")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    words = parser.parse_args()
    beside = [Path(__file__).with_name(name) for name in ("model.onnx", "model.int8.onnx", "model.pt2")]
    model = words.model or next((path for path in beside if path.is_file()), beside[0])
    try:
        found = load(model, words.threads).top(words.images, words.top)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    for image, classes in zip(words.images, found, strict=True):
        print(image, *(f"{probability:7.2%}  {label}" for label, probability in classes), sep="\n  ")


if __name__ == "__main__":
    main()
