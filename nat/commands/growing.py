"""The command that makes a supernet of a trained network: checkpoints grow."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nat.commands.arguments import Json
from nat.commands.console import ConsoleProgress, millions, percent, print_json, print_table


def grow_checkpoint(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A model of timm, or a file with --model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for NAME.safetensors and its card.")],
    model: Annotated[str | None, typer.Option(help="The timm model that the file is of.")] = None,
    space: Annotated[
        Literal["shrink", "nat"], typer.Option(help="shrink: the source is the largest subnet; nat: NAT's choices.")
    ] = "shrink",
    name: Annotated[str | None, typer.Option(help="Of the supernet.")] = None,
    data: Annotated[str | None, typer.Option(help="Images of the source's classes, to measure on.")] = None,
    resolution: Annotated[int, typer.Option(min=8, help="Input size to measure at, in pixels.")] = 224,
    seed: Annotated[int, typer.Option(min=0, help="Of what is added.")] = 0,
    json: Json = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Makes an elastic supernet of a trained network of timm, without changing its function.

    Example: `nat checkpoints grow mobilenetv3_large_100 --out supernets`
    """
    import torch

    from nat.growing import GrowthOptions, grow_to_folder

    if threads:
        torch.set_num_threads(threads)
    options = GrowthOptions(source, model, space, name, seed)
    found = grow_to_folder(options, out.expanduser(), data, resolution, ConsoleProgress())
    if json:
        print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    columns = [("subnet", "left"), ("multiply-adds", "right"), ("logits differ by", "right"), ("top-1", "right")]
    rows = [("the network itself", "", "", percent(found["source_top1"]))] if "source_top1" in found else []
    for place, check in found["checks"].items():
        difference = f"{check['max_logit_difference']:.1e} of {found['largest_logit']:.1f}"
        rows.append((place, millions(check["macs"]), difference, percent(check.get("top1"))))
    print_table(f"{found['name']} at {found['resolution']} px", columns, rows)
    ends = " to ".join(millions(found[end]["macs"]) for end in ("smallest", "largest"))
    typer.echo(f"{found['subnets']:.2g} subnets of {ends} multiply-adds; use it with --supernet {found['file']}")
