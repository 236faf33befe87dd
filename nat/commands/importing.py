"""The command that makes weights and architectures of others ours: checkpoints import."""

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.arguments import Device, Json
from nat.commands.console import ConsoleProgress, millions, percent, print_json, print_table
from nat.errors import InputError


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
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    json: Json = False,
) -> None:
    """Recognises a file, proves that all of it fits, and writes it as a supernet for --supernet.

    Once-for-all's supernets (MobileNetV3 of width 1.0 and 1.2, ProxylessNAS of 1.3; NSGANetV2's are the same) and
    single networks of ProxylessNAS, pickled or as safetensors; nothing in a pickle is run. Of a file that describes an
    architecture (net.config, net.subnet or net.encoding of NAT), architecture.json is written.

    Example: `nat checkpoints import ofa_mbv3_d234_e346_k357_w1.0 --out supernets`
    """
    import torch

    from nat.importing import ImportOptions, import_to_folder
    from nat.pretrained.described import architecture_text, describe_to_folder

    if threads:
        torch.set_num_threads(threads)
    if resolution and not data:
        raise InputError("expected --data with --resolution, which is the input size to measure at.")
    file, out = file.expanduser(), out.expanduser()
    text = architecture_text(file)
    if text is None:
        options = ImportOptions(file, name, data, resolution, device)
        facts, show = import_to_folder(options, out, ConsoleProgress()), _print_weights
    elif data:
        raise InputError(f"'{file}' describes an architecture, without weights: there is nothing to measure on --data.")
    elif name:
        raise InputError(f"'{file}' describes an architecture, written as architecture.json: leave --name out.")
    else:
        facts, show = describe_to_folder(file, text, out), _print_architecture
    (print_json if json else show)(facts)


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
