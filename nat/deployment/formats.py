"""Writing a network for another runtime: ONNX, and PyTorch's own archive of an exported program (.pt2).

Batch norms are folded into the convolutions before them, so that a graph has convolutions, activations and little else.
Labels and preprocessing travel inside the file.
"""

import json
import warnings
from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from nat.bundle import Bundle
from nat.deployment.runner import KEYS
from nat.errors import InputError, unknown_name
from nat.supernet.evaluation import folded

FILES: Mapping[str, str] = {"onnx": "model.onnx", "pt2": "model.pt2", "int8": "model.int8.onnx"}
_EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx", "huggingface_hub": "hub"}
_NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "int8": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}


def read_formats(text: str) -> tuple[str, ...]:
    """The formats of "onnx,pt2,int8", each once, in the order of `FILES`.

    Raises:
        InputError: a format is unknown, there is none, or what it needs is not installed.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in FILES:
            raise unknown_name("format", word, FILES)
        for library in _NEEDS[word]:
            needed(library)
    if not words:
        raise InputError(f"expected --format with some of {', '.join(FILES)}, got '{text}'.")
    return tuple(name for name in FILES if name in words)


def needed(library: str) -> ModuleType:
    """A library of one of the toolkit's extras.

    Raises:
        InputError: it is not installed, or broken; says which extra to install.
    """
    try:
        return import_module(library)
    except ImportError as error:
        extra = _EXTRAS[library]
        raise InputError(
            f"this needs {library}, which cannot be imported ({error}). Install the extra: "
            f"pip install 'neural-architecture-transfer[{extra}]'."
        ) from error


def carried(bundle: Bundle) -> dict[str, str]:
    """What an exported file says of itself, by the keys that the runner looks for."""
    preprocess, labels = json.dumps(bundle.preprocess.to_json()), json.dumps(list(bundle.labels))
    return {KEYS[0]: preprocess, KEYS[1]: labels, "nat.id": bundle.model.architecture.id}


def write_pt2(bundle: Bundle, path: Path) -> None:
    """Writes a program of `torch.export` with a dynamic batch, its labels and preprocessing as extra files."""
    program = _exported(bundle)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of files of this machine
    program.example_inputs = None
    torch.export.save(program, path, extra_files=carried(bundle))


def write_onnx(bundle: Bundle, path: Path) -> None:
    """Writes ONNX by torch's dynamo exporter with a dynamic batch: input "images", output "logits"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(_exported(bundle), output_names=["logits"], dynamo=True, verbose=False)
    assert program is not None
    model = program.model
    for node in model.graph:  # where each came from, with files of this machine
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.metadata_props.update(carried(bundle))
    program.save(str(path))


def _exported(bundle: Bundle) -> torch.export.ExportedProgram:
    """The network with folded batch norms as a graph of plain operations, for any number of images."""
    network = folded(deepcopy(bundle.model).cpu().eval())
    side = bundle.preprocess.crop
    batch = torch.export.Dim("batch")
    return torch.export.export(network, (torch.zeros(2, 3, side, side),), dynamic_shapes=({0: batch},))
