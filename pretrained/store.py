"""Supernets on disk: a safetensors file and its card, NAME.safetensors and NAME.json; published pickles are read, too.

Pickles are only read with `weights_only=True`: a file that wants to run code is refused, not run.
"""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nat.errors import CheckpointError, InputError
from nat.files import read_json, whole_file, write_json
from nat.pretrained.card import Card
from nat.pretrained.published import current_names, published_space, unwrap
from nat.supernet.supernet import Supernet


def save_supernet(supernet: Supernet, card: Card, path: Path, *, half: bool = False) -> None:
    """Writes the weights to `path` (ending in .safetensors) and the card beside them, each whole.

    Args:
        supernet: the weights.
        card: what they are.
        path: of the safetensors file.
        half: store 16-bit floats.
    """
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in supernet.state_dict().items()
    }
    write_tensors(path, tensors)
    write_json(path.with_suffix(".json"), card.to_json())


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file, whole or not at all.

    Raises:
        InputError: the disk is full, or the place cannot be written.
    """
    with whole_file(path) as draft:
        try:
            save_file(tensors, draft, metadata)
        except SafetensorError as error:  # what a full disk raises
            raise InputError(f"cannot write '{path}': {error}. Free space or name another place.") from error


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes the state of a training, whole or not at all.

    Raises:
        InputError: the disk is full, or the place cannot be written.
    """
    with whole_file(path) as draft:
        try:
            torch.save(dict(state), draft)
        except RuntimeError as error:  # what torch may make of a full disk
            raise InputError(f"cannot write '{path}': {error}. Free space or name another place.") from error


def load_supernet_file(path: Path) -> tuple[Supernet, Card]:
    """Reads a supernet: our safetensors with its card, or a published once-for-all file.

    Raises:
        CheckpointError: the file is missing, damaged, not a supernet, unsafe, or does not fit its card.
    """
    if not path.is_file():
        raise CheckpointError(f"expected a supernet file at '{path}'; there is none. See 'nat checkpoints list'.")
    state = read_tensors(path)
    card = _card_of(path, state)
    with torch.device("meta"):  # compared first: a card of huge widths costs no memory
        supernet = Supernet(card.space, card.num_classes)
    _fill(supernet, state, path)
    return supernet, card


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a pickled state dict, on the CPU.

    Raises:
        CheckpointError: the file is damaged, of another kind, or a pickle that holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # torch's remarks on pickle protocols and old formats
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"'{path}' is not a plain file of tensors: it is damaged, or a pickle that wants to run code, which is "
            "refused. Convert it to safetensors where you trust it."
        ) from error
    except Exception as error:  # torch lets damaged pickles fail as they may: IndexError, AssertionError, struct.error
        reason = (str(error) or type(error).__name__).splitlines()[0][:100]
        raise CheckpointError(
            f"'{path}' is truncated, damaged or not a checkpoint ({reason}). Get it again."
        ) from error
    return unwrap(content)


def read_card(path: Path) -> Card:
    """The card in a JSON file.

    Raises:
        CheckpointError: the file cannot be read, is not JSON, or not a card.
    """
    try:
        return Card.from_json(read_json(path))
    except InputError as error:
        raise CheckpointError(f"'{path}': {error}") from error


def _card_of(path: Path, state: Mapping[str, Tensor]) -> Card:
    card = path.with_suffix(".json")
    if card.is_file():
        return read_card(card)
    if path.suffix == ".safetensors":
        raise CheckpointError(
            f"expected the card '{card.name}' beside '{path}'; it says which space the weights are for."
        )
    space, num_classes = published_space(state)
    return Card(
        path.stem, f"once-for-all MobileNetV3, width {space.width}", space, num_classes, trained_on="ImageNet-1k"
    )


def _fill(supernet: Supernet, state: Mapping[str, Tensor], path: Path) -> None:
    """Gives a supernet on the meta device the tensors of a file."""
    expected = supernet.state_dict()
    state = current_names(state, expected)
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = [name for name in expected if name not in state and name not in counters]
    surplus = [name for name in state if name not in expected]
    wrong = [name for name, tensor in state.items() if name in expected and not _fits(tensor, expected[name])]
    if missing or surplus or wrong:
        raise CheckpointError(f"'{path}' does not hold this supernet: " + _differences(missing, surplus, wrong) + ".")
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"'{path}' holds values that are not finite, in {_some(broken)}. Get it again.")
    tensors = {name: torch.zeros_like(expected[name], device="cpu") for name in counters}
    for name, tensor in state.items():
        tensors[name] = tensor.detach().to(expected[name].dtype, copy=True, memory_format=torch.contiguous_format)
    supernet.load_state_dict(tensors, assign=True)


def _fits(tensor: Tensor, expected: Tensor) -> bool:
    plain = tensor.layout == torch.strided and tensor.is_floating_point() == expected.is_floating_point()
    return plain and tensor.shape == expected.shape


def _differences(missing: list[str], surplus: list[str], wrong: list[str]) -> str:
    named = (("missing", missing), ("unknown", surplus), ("of other shapes or types", wrong))
    return "; ".join(f"{len(names)} tensors {what} ({_some(names)})" for what, names in named if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
