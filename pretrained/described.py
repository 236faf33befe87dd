"""Files that describe an architecture, without weights; what they describe, written as ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nat.errors import InputError
from nat.files import check_free, new_files, write_json
from nat.pretrained.published import IMAGENET_CLASSES
from nat.supernet.costs import costs_of
from nat.supernet.encodings import Described, describe

TEXT_LIMIT = 1_000_000  # bytes; they have some thousands


def architecture_text(path: Path) -> str | None:
    """The text of a file that describes an architecture; None of one that is to hold weights.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    if path.is_dir():
        raise InputError(f"expected a file to import, got the folder '{path}'. Name a file in it.")
    try:
        with path.open("rb") as file:
            start = file.read(TEXT_LIMIT)
    except OSError as error:
        raise InputError(f"expected a file to import; cannot read '{path}': {error.strerror or error}.") from error
    try:
        text = start.decode().strip()
    except UnicodeDecodeError:
        return None
    return text if text.startswith(("{", "[")) or text.isdigit() else None


def described_file(path: Path, text: str) -> Described:
    """What a file says of a network, and what the other file of the same network beside it says in addition.

    NAT's `net.config` files mostly lack the input size, some `net.subnet` the width.

    Raises:
        InputError: the text is no architecture.
    """
    try:
        found = describe(text)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error
    if not found.assumed:
        return found
    net, beside = found.architecture, path.with_name("net.subnet" if found.kind == "net.config" else "net.config")
    other = _described_at(beside)
    if other is None or not _same(found, other):
        value = getattr(net, found.assumed)
        said = f"it says no {found.assumed}: {value} is assumed, as no {beside.name} of this network is beside it."
        return replace(found, remarks=(said, *found.remarks))
    if found.assumed == "width":
        net = replace(net, width=other.architecture.width)
    else:
        net = replace(net, resolution=other.architecture.resolution)
    said = f"it says no {found.assumed}: that of the {beside.name} beside it is taken."
    return replace(found, architecture=net, assumed="", remarks=(said, *found.remarks))


def describe_to_folder(file: Path, text: str, out: Path) -> dict[str, Any]:
    """Writes the architecture that a file describes as OUT/architecture.json.

    Args:
        file: that describes it.
        text: its content.
        out: folder; made if need be.

    Returns:
        `name`, `kind`, `file`, `space`, `num_classes`, `architecture`, `id`, `macs`, `params` and `remarks`.

    Raises:
        InputError: the text describes none, or the place cannot be used.
    """
    found = described_file(file, text)
    net, path, classes = found.architecture, out / "architecture.json", found.num_classes or IMAGENET_CLASSES
    macs, params = costs_of(net, classes)
    check_free(path)
    with new_files(path):
        write_json(path, net.to_json())
    facts: dict[str, Any] = {"name": file.name, "kind": found.kind, "file": str(path), "space": net.family}
    facts |= {"num_classes": classes, "architecture": net.to_json(), "id": net.id, "macs": macs, "params": params}
    return facts | {"remarks": list(found.remarks)}


def _same(one: Described, other: Described) -> bool:
    """Whether two texts describe one network, as far as they say."""
    unsaid = {name: getattr(one.architecture, name) for name in (one.assumed, other.assumed) if name}
    return replace(other.architecture, **unsaid) == one.architecture and one.assumed != other.assumed


def _described_at(path: Path) -> Described | None:
    try:
        return describe(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError):
        return None
