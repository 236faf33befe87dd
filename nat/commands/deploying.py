"""Commands that take subnets out of the toolkit: export, predict, push, pull."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.arguments import Bundle, Json
from nat.commands.console import ConsoleProgress, percent, print_json, print_table
from nat.files import as_text

Repo = Annotated[str, typer.Argument(metavar="USER/NAME", help="A model repository on the hub.")]


def export(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a subnet, or of a run: all of its front.")],
    formats: Annotated[str, typer.Option("--format", help="Some of onnx, pt2, int8.")] = "onnx,pt2,int8",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="New folder; default: 'exports' in DIR. Of a run, one a subnet.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Images to compare and calibrate on; default: the subnet's. 'none': noise.")
    ] = None,
    calibration: Annotated[int, typer.Option(min=1, help="Training images that int8 is calibrated on.")] = 256,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads that latency is measured with.")] = 1,
    json: Json = False,
) -> None:
    """Writes a subnet as ONNX, as PyTorch's .pt2 and in 8-bit integers, runs each file alone and compares.

    Example: `nat export runs/flowers/subnets/1a2b3c4d5e --format onnx,int8`
    """
    from nat.deployment import exporting
    from nat.deployment.formats import read_formats

    options = exporting.ExportOptions(read_formats(formats), data, calibration, threads)
    found = exporting.export(path, out, options, ConsoleProgress(quiet=json))
    if json:
        print_json(found)
        return
    _show(found, (path / "exports") if out is None else out)


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Folder of a subnet or an export, or an exported file.")
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="Classes of each image.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    json: Json = False,
) -> None:
    """The most probable classes of images, with their probabilities.

    Example: `nat predict runs/flowers/subnets/1a2b3c4d5e photos/*.jpg --top 3`
    """
    from nat.deployment.predicting import predict_files

    found = predict_files(model, images, top, threads)
    if json:
        print_json({str(image): [list(pair) for pair in ranked] for image, ranked in zip(images, found, strict=True)})
        return
    for image, ranked in zip(images, found, strict=True):
        typer.echo(as_text(str(image)))
        for label, probability in ranked:
            typer.echo(f"  {probability:7.2%}  {label}")


def push(
    bundle: Bundle,
    repo: Repo,
    private: Annotated[bool, typer.Option("--private", help="Only you can see a new repository.")] = False,
    licence: Annotated[str, typer.Option("--license", help="For the model card: apache-2.0, other.")] = "unknown",
    json: Json = False,
) -> None:
    """Uploads a subnet to the Hugging Face hub, with a model card.

    Example: `nat push runs/flowers/subnets/1a2b3c4d5e me/flowers --license other`
    """
    from nat.deployment import hub

    address = hub.push(bundle, repo, private=private, licence=licence)
    if json:
        print_json({"repository": repo, "address": address})
        return
    print(address)


def pull(
    repo: Repo,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the subnet; must not exist.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; default: the newest.")] = None,
    json: Json = False,
) -> None:
    """Downloads a subnet from the Hugging Face hub and verifies it; no pickles are fetched.

    Example: `nat pull me/flowers subnets/flowers`
    """
    from nat.deployment import hub

    found = hub.pull(repo, out, revision)
    if json:
        print_json({"repository": repo, "folder": str(out), "metrics": found.metrics})
        return
    print(f"{found.metrics['id']}: test top-1 {percent(found.metrics['test']['top1'])}, verified\n{out}")


def _show(found: list[dict[str, Any]], out: Path) -> None:
    """A line for every file, with what it was compared on."""
    columns = [("subnet", "left"), ("file", "left"), ("size", "right"), ("top-1", "right"), ("logits off by", "right")]
    rows = []
    for facts in found:
        eager, name = facts["eager"], facts["id"]
        rows.append((name, "eager", _size(eager), percent(eager["top1"]), "", _time(eager)))
        for form in facts["formats"].values():
            off = f"{form['max_logit_difference']:.1e} of {form['largest_logit']:.1f}"
            rows.append(("", form["file"], _size(form), percent(form["top1"]), off, _time(form)))
    compared, latency = found[0]["compared_on"], found[0]["eager"]["latency"]
    kind = "test images" if compared["kind"] == "test" else "images of noise"
    threads = f"{latency['threads']} thread{'s' * (latency['threads'] > 1)}, {latency['clock']}"
    print_table(f"on {compared['images']:,} {kind}", [*columns, ("ms, median (quartiles)", "right")], rows)
    print(f"ms: one image, {latency['passes']} passes, {threads}. Every file was run in a process without the toolkit.")
    for facts in found:
        if "int8" in facts["formats"]:
            int8 = facts["formats"]["int8"]
            points = 100 * int8["top1_drop"]
            how = f"{points:.2f} points less" if points >= 0 else f"{-points:.2f} points more"
            print(f"{facts['id']} int8: {how} top-1, calibrated on {int8['calibration_images']} training images.")
    print(out)


def _size(form: dict[str, Any]) -> str:
    return f"{form['bytes'] / 1e6:.2f} MB"


def _time(form: dict[str, Any]) -> str:
    latency = form["latency"]
    return f"{latency['median_ms']:.2f} ({latency['q1_ms']:.2f} to {latency['q3_ms']:.2f})"
