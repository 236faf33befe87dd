"""8-bit integers by onnxruntime's static quantisation: weights by channel, activations by calibration images.

Two choices keep the accuracy (measured: docs/export.md). Weights take 7 of their 8 bits: on processors without VNNI,
two products of 8 bits overflow the 16-bit sum that they go through. And the first convolution, which costs little and
whose error goes through everything behind it, stays in floats. Squeeze-and-excite, h-swish and classifier need no
exception.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from nat.bundle import Bundle
from nat.datasets.images import ImageSet
from nat.deployment.formats import carried, needed
from nat.errors import InputError
from nat.supernet.evaluation import batched

BATCH = 32


def calibration_images(bundle: Bundle, train: ImageSet, count: int, seed: int = 0) -> Tensor:
    """Training images drawn without repetition, as the network's preprocessing makes them, uint8 (count, 3, r, r).

    Args:
        bundle: the network.
        train: the training split.
        count: how many; all if there are fewer.
        seed: of the draw.

    Raises:
        InputError: there are none.
    """
    if not len(train):
        raise InputError("int8 needs training images to calibrate on; the data has none. Name others with --data.")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return train.subset(order[:count]).original(bundle.preprocess)


def write_int8(bundle: Bundle, float_model: Path, path: Path, images: Tensor) -> None:
    """Writes the quantised form of an ONNX file, in the QDQ format (standard operations with scales between them).

    Args:
        bundle: that the file was made of.
        float_model: what `write_onnx` wrote.
        path: of the file.
        images: for calibration, uint8 (n, 3, r, r).
    """
    onnx, quantization = needed("onnx"), needed("onnxruntime.quantization")
    with TemporaryDirectory() as folder, _quiet():
        ready = Path(folder) / "ready.onnx"
        quantization.quant_pre_process(str(float_model), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(path),
            Batches(bundle, images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=[node.name for node in onnx.load(str(ready)).graph.node if "images" in node.input],
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, carried(bundle))
    onnx.save(model, str(path))


class Batches:
    """Calibration images as onnxruntime asks for them: it looks for `get_next` and nothing else."""

    def __init__(self, bundle: Bundle, images: Tensor) -> None:
        self._left = batched(images, BATCH)
        self._normalise = bundle.preprocess.normalise

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the name of the graph's input; None behind the last."""
        batch = next(self._left, None)
        return None if batch is None else {"images": self._normalise(batch).numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the libraries' advice about graphs, which no user can act on, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
