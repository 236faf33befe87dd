"""Commands about runs and the subnets in them: front, pick, evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from nat.commands.arguments import Bundle, Device, Json, MaxMacs, MaxMemory, MaxParams, MinTop1, Run
from nat.commands.console import ConsoleProgress, millions, percent, print_json, print_table
from nat.commands.front_tables import show_front, show_rounds
from nat.errors import InputError
from nat.quantities import read_amount


def front(
    run: Run,
    rounds: Annotated[
        bool, typer.Option("--rounds", help="What every round found, how well it was predicted, and what it cost.")
    ] = False,
    json: Json = False,
) -> None:
    """The Pareto-optimal subnets of a run as a table; of one that is not finished, the best so far.

    Example: `nat front runs/flowers`
    """
    from nat.reports import front_so_far
    from nat.run_folder import RunFolder

    folder = RunFolder(run)
    folder.read_config()  # says what is wrong with the folder, if anything is
    report = folder.read_front() if folder.front.is_file() else front_so_far(folder)
    show_front(report, run, json)
    if rounds and not json:
        show_rounds(report.get("rounds", []))


def pick(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the subnet; must not exist.")],
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_memory: MaxMemory = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds for one image, by the run's latency table.")
    ] = None,
    min_top1: MinTop1 = None,
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune", help="Fine-tune the subnet if the run has not; else it keeps the supernet's weights."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """The most accurate subnet of a finished run for a budget, as a bundle; nothing is searched again.

    Example: `nat pick runs/flowers --max-macs 20M --finetune -o subnets/flowers`
    """
    from nat import picking
    from nat.supernet.sampling import Limits

    macs, params, memory = (None if text is None else read_amount(text) for text in (max_macs, max_params, max_memory))
    limits = Limits(macs, params, memory, max_latency_ms)
    metrics = picking.pick(run, out, limits, min_top1, finetune=finetune, progress=ConsoleProgress())
    if json:
        print_json(metrics)
        return
    kind = "fine-tuned" if metrics["finetuned"] else "with the supernet's weights, not fine-tuned (see --finetune)"
    print(
        f"{metrics['id']}: {millions(metrics['macs'])} multiply-adds, {millions(metrics['params'])} parameters, "
        f"test top-1 {percent(metrics['test']['top1'])}, {kind}\n{out}"
    )


def evaluate(
    bundle: Bundle,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Other images, all of them or their test/: a name, folder or list. Default: its own."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="val, test or both, of its own images.")] = "both",
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measures a subnet again and compares with its metrics.json; exit code 1 if they differ on the same images.

    With --data it is measured on all of other images (on test/ of a folder that has one), which may lack some classes.

    Example: `nat evaluate runs/flowers/subnets/1a2b3c4d5e`

    Example: `nat evaluate flowers-8M --data photos/new-flowers`
    """
    from nat import verification

    if split not in ("val", "test", "both"):
        raise InputError(f"expected --split val, test or both, got '{split}'.")
    splits = ("val", "test") if split == "both" else (split,)
    result = verification.verify(bundle, data, splits, device, ConsoleProgress(quiet=json))
    if json:
        print_json(result)
    else:
        shares = ("top1", "balanced_accuracy", "top5")
        rows = [
            (name, str(found["images"]), *map(percent, (found[key] for key in shares)), f"{found['loss']:.6f}")
            for name, found in ((name, result[name]) for name in ("val", "test", "all") if name in result)
        ]
        columns = [("split", "left"), ("images", "right"), ("top-1", "right"), ("balanced", "right")]
        columns += [("top-5", "right"), ("loss", "right")]
        print_table(f"{bundle}", columns, rows)
        print(result["says"])
    if result["reproduced"] is False:
        raise typer.Exit(1)
