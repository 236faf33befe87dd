"""Supernets on disk: a safetensors file and its card, NAME.safetensors and NAME.json; published pickles are read, too.

Pickles are only read with `weights_only=True`: a file that wants to run code is refused, not run.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nat.errors import CheckpointError, InputError, reason_of
from nat.files import check_free, new_files, read_json, whole_file, write_json
from nat.pretrained.card import Card
from nat.pretrained.fitting import Fit, fitted, named_in_errors
from nat.pretrained.published import plain_name, published_card, unwrap
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


def destination(out: Path, name: str) -> Path:
    """Where a supernet of a name goes: OUT/NAME.safetensors.

    Raises:
        InputError: the name is no plain file name, or there is such a file or its card.
    """
    if not re.fullmatch(r"\w[\w.+@-]*", name):
        raise InputError(f"expected a --name of letters, digits and any of . _ + @ -, got '{name}'.")
    path = out / f"{name}.safetensors"
    check_free(path)
    check_free(path.with_suffix(".json"))
    return path


def save_new_supernet(supernet: Supernet, card: Card, path: Path) -> None:
    """Writes weights and card to a place that `destination` gave, in a folder made for them, or nothing at all.

    Raises:
        InputError: the disk is full, or the place cannot be written.
    """
    with new_files(path, path.with_suffix(".json")):
        save_supernet(supernet, card, path)


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
    with named_in_errors(path):
        return assembled(state, card)[0], card


def assembled(state: Mapping[str, Tensor], card: Card) -> tuple[Supernet, Fit]:
    """The supernet of a card with the tensors of a file, and how these compare with those expected.

    Raises:
        CheckpointError: there are other tensors, or values that are not finite.
    """
    with torch.device("meta"):  # compared first: a card of huge widths costs no memory
        supernet = Supernet(card.space, card.num_classes)
    tensors, fit = fitted(state, supernet.state_dict())
    supernet.load_state_dict(tensors, assign=True)
    return supernet, fit


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
        reason = reason_of(error)
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
    with named_in_errors(path):
        return published_card(plain_name(path), state)
