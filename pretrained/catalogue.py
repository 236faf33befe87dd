"""The supernets that can be named: with the package, grown out of timm's networks, published to be pulled, random."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nat.errors import CheckpointError, InputError, unknown_name
from nat.pretrained.cache import PublishedFile, verified
from nat.pretrained.card import TIMM, Card
from nat.pretrained.store import load_supernet_file, read_card
from nat.supernet.space import named_spaces
from nat.supernet.supernet import Supernet

WEIGHTS = Path(__file__).parent / "weights"
SCRATCH = "scratch"
DEFAULT_SPACE = "small"

_OFA = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets/"
_OFA_LICENCE = (
    "none stated with the file; the code of once-for-all is MIT; ImageNet is for non-commercial research and education"
)
_OFA_FILES = (
    ("ofa_mbv3_d234_e346_k357_w1.0", "MobileNetV3, width 1.0", "55d835981d8acd1053657a951b18887a724ddcbf"),
    ("ofa_mbv3_d234_e346_k357_w1.2", "MobileNetV3, width 1.2", "d75a3613bae216091f61fc4b7df77d49cc82ed32"),
    ("ofa_proxyless_d234_e346_k357_w1.3", "ProxylessNAS, width 1.3", "c97035a7a6fe611508f3bb35ffac0ef77262f5e0"),
)
PUBLISHED = tuple(
    PublishedFile(name, f"once-for-all {title}", _OFA + name, blob_id, "ImageNet-1k", _OFA_LICENCE)
    for name, title, blob_id in _OFA_FILES
)

# Networks of timm with published weights, with a title; others of these families can be named as well.
GROWABLE = (
    ("mobilenetv3_large_100", "MobileNetV3-Large"),
    ("tf_mobilenetv3_large_100", "MobileNetV3-Large"),
    ("tf_mobilenetv3_large_075", "MobileNetV3-Large, width 0.75"),
    ("tf_mobilenetv3_large_minimal_100", "MobileNetV3-Large minimalistic"),
    ("mobilenetv2_050", "MobileNetV2, width 0.5"),
    ("mobilenetv2_100", "MobileNetV2"),
    ("mobilenetv2_110d", "MobileNetV2, width 1.1, deeper"),
    ("mobilenetv2_120d", "MobileNetV2, width 1.2, deeper"),
    ("mobilenetv2_140", "MobileNetV2, width 1.4"),
)

Loaded = tuple[Supernet, Card]


class State(StrEnum):
    """Where the weights of a name come from."""

    WITH_PACKAGE = "with the package"
    RANDOM = "random"
    TO_BE_PULLED = "to be pulled"
    PULLED = "pulled"
    GROWN = "from timm"


@dataclass(frozen=True)
class Entry:
    """A name of the catalogue. A new kind of supernet is a function that makes entries.

    Attributes:
        name: what commands take.
        title: one line for a table.
        state: where the weights come from.
        facts: what is known without loading it, as JSON.
        load: gives the supernet and its card; its argument is the seed of what is random.
        card: None where only the file says it all.
        file: what to pull; None where there is nothing to pull.
    """

    name: str
    title: str
    state: State
    facts: Mapping[str, Any]
    load: Callable[[int], Loaded]
    card: Card | None = None
    file: PublishedFile | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known without loading it, and the state."""
        return {"name": self.name, "state": str(self.state), **self.facts}


def list_checkpoints() -> list[Entry]:
    """All supernets that come with the package, can be grown, or are published, and random weights in named spaces."""
    shipped = [_shipped(read_card(path)) for path in sorted(WEIGHTS.glob("*.json"))]
    others = [_growable(*named) for named in GROWABLE] + [_published(file) for file in PUBLISHED]
    return shipped + others + [_random(scratch_card(name)) for name in named_spaces()]


def _shipped(card: Card) -> Entry:
    return _with_card(card, State.WITH_PACKAGE, partial(_load_shipped, card))


def _load_shipped(card: Card, _: int) -> Loaded:
    return load_supernet_file(WEIGHTS / f"{card.name}.safetensors")


def _random(card: Card) -> Entry:
    return _with_card(card, State.RANDOM, partial(_make_random, card))


def _make_random(card: Card, seed: int) -> Loaded:
    generator = torch.Generator().manual_seed(seed)
    return Supernet(card.space, 1000, generator=generator), replace(card, num_classes=1000)


def _with_card(card: Card, state: State, load: Callable[[int], Loaded]) -> Entry:
    return Entry(card.name, card.title, state, card.to_json(), load, card)


def _growable(model: str, title: str) -> Entry:
    name = f"{TIMM}{model}"
    facts = {"title": title, "trained_on": "ImageNet-1k", "licence": "see timm's model card", "model": model}
    return Entry(name, title, State.GROWN, facts, partial(_load_grown, name, None))


def _load_grown(source: str, model: str | None, seed: int) -> Loaded:
    from nat.pretrained.growing import grown_supernet, source_of  # timm takes seconds to import

    return grown_supernet(*source_of(source, model), seed=seed)


def _published(file: PublishedFile) -> Entry:
    state = State.PULLED if file.is_here else State.TO_BE_PULLED
    facts = {
        "title": file.title,
        "trained_on": file.trained_on,
        "licence": file.licence,
        "url": file.url,
        "git_blob_id": file.blob_id,
        "file": str(file.path),
    }
    if state is State.TO_BE_PULLED:
        facts["to_pull"] = f"nat checkpoints pull {file.name}"
    return Entry(file.name, file.title, state, facts, partial(_load_published, file), file=file)


def _load_published(file: PublishedFile, _: int) -> Loaded:
    supernet, card = load_supernet_file(verified(file))
    said = replace(card, name=file.name, title=file.title, trained_on=file.trained_on, licence=file.licence)
    return supernet, said


def scratch_card(space: str) -> Card:
    """The card of random weights in a named space; `scratch` alone means the small one."""
    spaces = named_spaces()
    if space not in spaces:
        raise unknown_name("space", space, spaces)
    name = SCRATCH if space == DEFAULT_SPACE else f"{SCRATCH}:{space}"
    return Card(name, f"random weights in the space '{space}'", spaces[space], num_classes=0, licence="none")


def find_checkpoint(name: str) -> Entry:
    """The entry of a name of the catalogue.

    Raises:
        InputError: there is no such name; the nearest one is proposed.
    """
    entries = {entry.name: entry for entry in list_checkpoints()}
    if name.startswith(TIMM) and name not in entries:
        from nat.pretrained.timm_models import check_family  # timm takes seconds to import

        model = name.removeprefix(TIMM)
        check_family(model)
        return _growable(model, model)
    if name not in entries:
        raise unknown_name("supernet", name, entries)
    return entries[name]


def find_published(name: str) -> PublishedFile:
    """The file to pull for a name of the catalogue.

    Raises:
        InputError: there is no such name, or nothing to pull for it.
    """
    entry = find_checkpoint(name)
    if entry.file is None:
        raise InputError(
            f"there is nothing to pull: the weights of '{name}' are {entry.state}. Use it as it is: --supernet {name}."
        )
    return entry.file


def load_supernet(source: str | Path, *, seed: int = 0, model: str | None = None) -> tuple[Supernet, Card]:
    """A supernet by name, from a file, or grown out of a trained network of timm.

    Args:
        source: a name of the catalogue, the path of a safetensors file with its card or of a published pickle, or
            `timm:MODEL`. A name wins over a file of that name: write "./NAME" for the file.
        seed: of the weights, where they are random.
        model: what timm calls the network whose weights the file holds.

    Returns:
        The supernet, on the CPU and in evaluation mode, and what is known of its weights.

    Raises:
        CheckpointError: the file is missing or unusable.
        InputError: the name is unknown.
    """
    name = str(source)
    if model is not None or name.startswith(TIMM):
        return _load_grown(name, model, seed)
    if is_path(name):
        return load_supernet_file(Path(name).expanduser())
    return find_checkpoint(name).load(seed)


def is_path(name: str) -> bool:
    """Whether a word means a file, by its look or because there is one and no such name.

    Raises:
        CheckpointError: it is a folder.
    """
    if Path(name).is_dir() and ("/" in name or "\\" in name):
        raise CheckpointError(f"expected a supernet file, got the folder '{name}'. Name the .safetensors file in it.")
    return (
        "/" in name
        or "\\" in name
        or Path(name).suffix in {".safetensors", ".pth", ".pt", ".ckpt"}
        or (Path(name).is_file() and name not in {entry.name for entry in list_checkpoints()})
    )
