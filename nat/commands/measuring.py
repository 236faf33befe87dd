"""The command that measures a latency table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.arguments import Device, Json
from nat.commands.console import ConsoleProgress, latency_in_words, print_json
from nat.errors import InputError
from nat.quantities import read_sizes


def latency(
    supernet: Annotated[str, typer.Argument(metavar="SUPERNET", help="A name (see `nat checkpoints list`) or a file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for `nat transfer --latency`.")] = None,
    resolutions: Annotated[str | None, typer.Option(help="Input sizes: 64,96,128; default: the supernet's.")] = None,
    device: Device = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: as a transfer takes.", min=1)] = None,
    json: Json = False,
) -> None:
    """Measures how long each part of a supernet's subnets takes on this machine, and how far sums are from whole ones.

    Example: `nat latency tiny-small --resolutions 48,64 --out latency.json`
    """
    import torch

    from nat.files import write_json
    from nat.preparation import counted, suitable_threads, torch_device
    from nat.pretrained.catalogue import load_supernet
    from nat.supernet.latency import SpaceLatency
    from nat.supernet.timing import measure_table

    if out is not None and out.expanduser().exists():
        raise InputError(f"expected --out to be a new file; '{out}' is there already. Name another.")
    chosen = torch_device(device)
    _, card = load_supernet(supernet, seed=0)
    space = card.space.with_resolutions(read_sizes(resolutions)) if resolutions else card.space
    torch.set_num_threads(threads or suitable_threads(space.resolutions[-1]))
    with counted(ConsoleProgress(quiet=json), "measuring latency") as report:
        table = measure_table(space, card.num_classes, chosen, report)
    found = SpaceLatency(space, table)
    fastest, slowest = found.ms(found.extremes()).tolist()
    facts: dict[str, Any] = {
        **table.machine,
        **table.error,
        "parts": len(table.ms),
        "fastest_ms": fastest,
        "slowest_ms": slowest,
    }
    if out is not None:
        write_json(out.expanduser(), table.to_json())
    if json:
        print_json(facts)
        return
    print(f"{len(table.ms)} parts; subnets take {fastest:.2f} to {slowest:.2f} ms.")
    print(latency_in_words(facts))
    if out is not None:
        print(out)
