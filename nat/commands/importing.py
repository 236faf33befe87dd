"""The command that makes weights and architectures of others ours: checkpoints import."""

from collections.abc import Iterator
from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nat.commands.console import ConsoleProgress, millions, percent, print_json, print_table
from nat.errors import InputError

if TYPE_CHECKING:
    from nat.pretrained.importing import Imported


def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights of a supernet or network, or an architecture.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for NAME.safetensors and its card.")],
    name: Annotated[str | None, typer.Option(help="Of the supernet. Default: the file's.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Images to measure on: a folder of class sub-folders, in the weights' order.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=16, max=1024, help="Input size to measure at. Default: the largest of the space.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Recognises a file, proves that all of it fits, and writes it as a supernet for --supernet.

    Once-for-all's supernets (MobileNetV3 of width 1.0 and 1.2, ProxylessNAS of 1.3; NSGANetV2's are the same) and
    single networks of ProxylessNAS, pickled or as safetensors; nothing in a pickle is run. Of a file that describes an
    architecture (net.config, net.subnet or net.encoding of NAT), architecture.json is written.

    Example: `nat checkpoints import ofa_mbv3_d234_e346_k357_w1.0 --out supernets`
    """
    import torch

    from nat.pretrained.described import architecture_text

    if threads:
        torch.set_num_threads(threads)
    if resolution and not data:
        raise InputError("expected --data with --resolution, which is the input size to measure at.")
    file, out = file.expanduser(), out.expanduser()
    text = architecture_text(file)
    if text is None:
        _import_weights(file, out, name, data, resolution, device, json)
    elif data:
        raise InputError(f"'{file}' describes an architecture, without weights: there is nothing to measure on --data.")
    elif name:
        raise InputError(f"'{file}' describes an architecture, written as architecture.json: leave --name out.")
    else:
        _import_architecture(file, text, out, json)


def _import_weights(
    file: Path, out: Path, name: str | None, data: Path | None, resolution: int | None, device: str, json: bool
) -> None:
    from nat.pretrained.importing import import_weights
    from nat.pretrained.published import plain_name
    from nat.pretrained.store import destination, save_new_supernet

    path = destination(out, name or plain_name(file))
    imported = import_weights(file, path.stem)
    if data is not None:
        card = replace(imported.card, accuracy=_measured(imported, data, resolution, device))
        imported = replace(imported, card=card)
    save_new_supernet(imported.supernet, imported.card, path)
    facts = imported.facts() | {"file": str(path), "title": imported.card.title}
    if data is not None:
        facts |= {key: imported.card.accuracy["largest"][key] for key in ("top1", "resolution")}
    if json:
        print_json(facts)
        return
    _print_weights(facts)


def _measured(imported: "Imported", data: Path, resolution: int | None, device: str) -> dict[str, Any]:
    """Accuracy of the largest subnet with the weights as they are, as a card says it."""
    from nat.datasets.loading import load_images
    from nat.preparation import counted, torch_device
    from nat.supernet.encodings import at_resolution
    from nat.verification import top1_as_is

    card, progress, where = imported.card, ConsoleProgress(), torch_device(device)
    largest = card.space.largest()
    largest = at_resolution(largest, resolution or largest.resolution)
    with counted(progress, "reading images") as report:
        images, classes = load_images(data, progress=report)
    if len(classes) != card.num_classes:
        raise InputError(
            f"expected --data with the {card.num_classes} classes of the weights, got {len(classes)} in '{data}' "
            f"({', '.join(classes[:3])}, ...)."
        )
    with progress.task("measuring the largest subnet", 1) as task:
        top1 = top1_as_is(imported.supernet, card, largest, images, where)
        task.advance()
    measured_on = f"{len(images):,} images of '{data.resolve().name}', with the weights and statistics as they are"
    return {"measured_on": measured_on, "largest": {"top1": round(top1, 6), "resolution": largest.resolution}}


def _print_weights(facts: dict[str, Any]) -> None:
    rows = [("what", facts["title"]), ("classes", str(facts["num_classes"]))]
    rows += _tensor_rows(facts["tensors"])
    for end in ("smallest", "largest"):
        costs, size = facts[end], facts[end]["resolution"]
        words = f"{millions(costs['macs'])} multiply-adds at {size} px, {millions(costs['params'])} parameters"
        rows.append((f"{end} subnet", words))
    if "top1" in facts:
        rows.append(("largest subnet's top-1", f"{percent(facts['top1'])} at {facts['resolution']} px"))
    print_table(facts["name"], [("", "left"), ("", "left")], rows)
    print(f"supernet: {facts['file']}   use it with: nat transfer DATA --supernet {facts['file']}")


def _tensor_rows(tensors: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A count for each kind, with the first names of what does not match."""
    yield "tensors matched", str(tensors["matched"])
    for kind in ("missing", "unexpected", "reshaped"):
        count, names = tensors[kind], tensors["names"].get(kind, [])
        yield f"tensors {kind}", f"{count} ({', '.join(names)}{', ...' * (count > len(names))})" if names else "0"


def _import_architecture(file: Path, text: str, out: Path, json: bool) -> None:
    from nat.files import check_free, new_files, write_json
    from nat.pretrained.described import described_file
    from nat.pretrained.published import IMAGENET_CLASSES
    from nat.supernet.costs import costs_of

    found = described_file(file, text)
    net, path, classes = found.architecture, out / "architecture.json", found.num_classes or IMAGENET_CLASSES
    macs, params = costs_of(net, classes)
    check_free(path)
    with new_files(path):
        write_json(path, net.to_json())
    facts: dict[str, Any] = {"name": file.name, "kind": found.kind, "file": str(path), "space": net.family}
    facts |= {"num_classes": classes, "architecture": net.to_json(), "id": net.id, "macs": macs, "params": params}
    facts["remarks"] = list(found.remarks)
    if json:
        print_json(facts)
        return
    _print_architecture(facts)


def _print_architecture(facts: dict[str, Any]) -> None:
    rows = [
        ("what", f"{facts['kind']}: an architecture, without weights"),
        ("architecture", dumps(facts["architecture"])),
        ("multiply-adds", f"{facts['macs']:,} at {facts['architecture']['r']} px"),
        ("parameters", f"{facts['params']:,} with {facts['num_classes']} classes"),
        *(("note", remark) for remark in facts["remarks"]),
    ]
    print_table(facts["name"], [("", "left"), ("", "left")], rows)
    print(f"architecture: {facts['file']}   count it again with: nat macs {facts['file']}")
