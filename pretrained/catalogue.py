"""The supernets that can be named: those that come with the package, and random weights."""

from dataclasses import replace
from pathlib import Path

import torch

from nat.errors import CheckpointError, unknown_name
from nat.pretrained.card import Card
from nat.pretrained.store import load_supernet_file, read_card
from nat.supernet.space import named_spaces
from nat.supernet.supernet import Supernet

WEIGHTS = Path(__file__).parent / "weights"
SCRATCH = "scratch"
DEFAULT_SPACE = "small"


def list_checkpoints() -> list[Card]:
    """Cards of all supernets that come with the package, and of random weights in each named space."""
    shipped = [read_card(path) for path in sorted(WEIGHTS.glob("*.json"))]
    return shipped + [scratch_card(name) for name in named_spaces()]


def scratch_card(space: str) -> Card:
    """The card of random weights in a named space; `scratch` alone means the small one."""
    spaces = named_spaces()
    if space not in spaces:
        raise unknown_name("space", space, spaces)
    name = SCRATCH if space == DEFAULT_SPACE else f"{SCRATCH}:{space}"
    return Card(name, f"random weights in the space '{space}'", spaces[space], num_classes=0, licence="none")


def find_checkpoint(name: str) -> Card:
    """The card of a name of the catalogue.

    Raises:
        InputError: there is no such name; the nearest one is proposed.
    """
    cards = {card.name: card for card in list_checkpoints()}
    if name not in cards:
        raise unknown_name("supernet", name, cards)
    return cards[name]


def load_supernet(source: str | Path, *, seed: int = 0) -> tuple[Supernet, Card]:
    """A supernet by name or from a file.

    Args:
        source: a name of the catalogue, or the path of a safetensors file with its card or of a published pickle.
        seed: of the weights, where they are random.

    Raises:
        CheckpointError: the file is missing or unusable.
        InputError: the name is unknown.
    """
    name = str(source)
    if _looks_like_path(name):
        return load_supernet_file(Path(name).expanduser())
    card = find_checkpoint(name)
    if card.num_classes:
        return load_supernet_file(WEIGHTS / f"{name}.safetensors")
    generator = torch.Generator().manual_seed(seed)
    return Supernet(card.space, 1000, generator=generator), replace(card, num_classes=1000)


def _looks_like_path(name: str) -> bool:
    if Path(name).is_dir() and ("/" in name or "\\" in name):
        raise CheckpointError(f"expected a supernet file, got the folder '{name}'. Name the .safetensors file in it.")
    return (
        "/" in name
        or "\\" in name
        or Path(name).suffix in {".safetensors", ".pth", ".pt", ".ckpt"}
        or Path(name).is_file()
    )
