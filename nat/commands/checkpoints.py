"""Commands on supernets that there are: checkpoints list, info, pull, verify."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nat.commands.arguments import DataRoot, Device, Json
from nat.commands.console import ConsoleProgress, bytes_counted, facts_as_rows, millions, print_json, print_table

if TYPE_CHECKING:
    from nat.pretrained.card import Card
    from nat.pretrained.catalogue import Entry
    from nat.supernet.supernet import Supernet


def list_checkpoints(json: Json = False) -> None:
    """Supernets that can be named.

    Example: `nat checkpoints list`
    """
    from nat.pretrained.catalogue import list_checkpoints as cards

    found = cards()
    if json:
        print_json([entry.to_json() for entry in found])
        return
    rows = [(entry.name, entry.title, entry.state.value) for entry in found]
    print_table("supernets", [("name", "left"), ("what", "left"), ("weights", "left")], rows)
    print(
        "from timm: fetched and made elastic where it is named, as are their other published weights (timm:NAME.TAG); "
        "files: nat checkpoints grow.\nto be pulled: nat checkpoints pull NAME."
    )


def checkpoint_info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a file.")], json: Json = False
) -> None:
    """All that is known of a supernet: its space, its cheapest and dearest subnet, how it was trained, what it reaches.

    Example: `nat checkpoints info tiny-small`
    """
    from nat.pretrained.catalogue import State, find_checkpoint, is_path

    entry = None if is_path(name) else find_checkpoint(name)
    facts = entry.to_json() if entry else {}
    if entry is None or entry.state is not State.TO_BE_PULLED:
        facts = _facts_of(*_loaded(name, entry)) | facts
    if json:
        print_json(facts)
        return
    print_table(facts["name"], [("", "left"), ("", "left")], facts_as_rows(facts))


def _loaded(name: str, entry: "Entry | None") -> tuple["Supernet", "Card"]:
    """The supernet; one that would be grown out of a download has random weights here, and the same space."""
    from nat.pretrained.catalogue import State, load_supernet
    from nat.pretrained.growing import untrained_supernet

    if entry is not None and entry.state is State.GROWN:
        return untrained_supernet(entry.facts["model"])
    return load_supernet(name)


def _facts_of(supernet: "Supernet", card: "Card") -> dict[str, Any]:
    from nat.supernet.costs import CostTable

    costs = CostTable(card.space, card.num_classes)
    ends = {"smallest": costs.of(card.space.smallest()), "largest": costs.of(card.space.largest())}
    parameters = sum(parameter.numel() for parameter in supernet.parameters())
    facts = card.to_json() | {"parameters": parameters, "subnets": card.space.size()}
    return facts | {end: {"macs": macs, "params": params} for end, (macs, params) in ends.items()}


def pull_checkpoint(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A published one, see `nat checkpoints list`.")],
    json: Json = False,
) -> None:
    """Fetches a published supernet, once: it is verified and kept in the folder NAT_HOME, by default ~/.cache/nat.

    Stopped? The same command goes on.

    Example: `nat checkpoints pull ofa_mbv3_d234_e346_k357_w1.0`
    """
    from nat.pretrained.cache import pull
    from nat.pretrained.catalogue import find_published

    file, progress = find_published(name), ConsoleProgress()
    with bytes_counted(progress, f"{name}, bytes") as report:
        fetched = pull(file, report=report, say=progress.say)
    if json:
        print_json({"name": name, "file": str(file.path), "git_blob_id": file.blob_id, "fetched": fetched})
        return
    how = "fetched and verified" if fetched else "was there, verified"
    print(f"supernet: {file.path} ({how})   use it with: nat transfer DATA --supernet {name}")


def verify_checkpoint(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a file.")],
    data: Annotated[str, typer.Option(help="Images of the supernet's classes: a name or a folder.")],
    json: Json = False,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Test accuracy of a supernet's smallest, middle and largest subnet, batch norm recalibrated on training images.

    Example: `nat checkpoints verify tiny-small --data photos/tiny-imagenet --json`
    """
    import torch

    from nat.datasets.loading import load_dataset
    from nat.preparation import counted, torch_device
    from nat.pretrained.catalogue import load_supernet
    from nat.verification import verify_supernet

    if threads:
        torch.set_num_threads(threads)
    supernet, card = load_supernet(name)
    progress = ConsoleProgress()
    where = torch_device(device)
    with counted(progress, "reading images") as report:
        splits = load_dataset(data, root=data_root, progress=report)
    found = verify_supernet(supernet.to(where), card, splits, where, progress)
    if json:
        print_json(found)
        return
    columns = [("subnet", "left"), ("multiply-adds", "right"), ("parameters", "right"), ("input", "right")]
    rows = [
        (where, millions(m["macs"]), millions(m["params"]), f"{m['resolution']} px", f"{100 * m['top1']:.2f} %")
        for where, m in found.items()
    ]
    print_table(f"{card.name} on {len(splits.test):,} test images", [*columns, ("top-1", "right")], rows)
