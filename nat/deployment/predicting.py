"""Classes of image files by a bundle or an exported network."""

from collections.abc import Sequence
from pathlib import Path

import torch

from nat.bundle import load_bundle
from nat.datasets.decode import read_image
from nat.deployment.formats import FILES
from nat.deployment.runner import Bytes, Classifier, Floats, load
from nat.errors import InputError

Ranked = list[tuple[str, float]]


def predict_files(model: Path, images: Sequence[Path], count: int, threads: int = 1) -> list[Ranked]:
    """The most probable classes of each image with their probabilities, the likeliest first.

    Args:
        model: folder of a bundle or of an export, or an exported file.
        images: files.
        count: classes of each, at most as many as there are.
        threads: of the CPU.

    Raises:
        InputError: the model or an image cannot be read, or what runs it is not installed.
    """
    model = model.expanduser()
    for image in images:
        if not image.is_file():
            raise InputError(f"expected an image file, got {'the folder ' * image.is_dir()}'{image}'.")
    torch.set_num_threads(threads)
    classifier = _of_bundle(model) if (model / "architecture.json").is_file() else _exported(model, threads)
    try:
        return classifier.top([str(image) for image in images], count)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read an image: {error}.") from error


def _of_bundle(path: Path) -> Classifier:
    bundle = load_bundle(path)

    @torch.inference_mode()
    def network(images: Floats) -> Floats:
        logits: Floats = bundle.model(torch.from_numpy(images)).numpy()
        return logits

    class Own(Classifier):
        """Reads images as the toolkit does."""

        def prepare(self, path: str | Path) -> Bytes:
            pixels: Bytes = bundle.preprocess.shape(read_image(path)).contiguous().numpy()
            return pixels

    return Own(network, bundle.preprocess.to_json(), bundle.labels)


def _exported(path: Path, threads: int) -> Classifier:
    """The classifier of an exported file, or of the first there is in an export's folder."""
    if path.is_dir():
        found = [path / name for name in FILES.values() if (path / name).is_file()]
        if not found:
            raise InputError(
                f"expected a subnet's folder (with architecture.json), an export's (with {', '.join(FILES.values())}) "
                f"or an exported file, got '{path}'."
            )
        path = found[0]
    try:
        return load(path, threads)
    except ImportError as error:
        raise InputError(
            f"'{path}' needs what cannot be imported ({error}). Install the extra: "
            "pip install 'neural-architecture-transfer[onnx]'."
        ) from error
    except ValueError as error:
        raise InputError(str(error)) from error
