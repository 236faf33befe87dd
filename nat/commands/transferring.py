"""The commands that do a transfer: transfer, resume."""

from pathlib import Path
from typing import Annotated

import typer

from nat.commands.arguments import (
    DataRoot,
    Flip,
    GrownModel,
    Json,
    MaxMacs,
    MaxMemory,
    MaxParams,
    MinTop1,
    Overrides,
    Resolutions,
    Run,
    SkipCorrupt,
    given,
    overrides_of,
)
from nat.commands.console import ConsoleProgress
from nat.commands.front_tables import show_front
from nat.errors import InputError
from nat.options import TransferOptions
from nat.settings import checked, read_config


def transfer(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of class sub-folders, a .csv or .tsv of paths and labels, hf:NAME, or a name "
            "(see `nat datasets list`).",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run, new or empty.")] = None,
    supernet: Annotated[
        str | None,
        typer.Option(
            help="A name (see `nat checkpoints list`), a file, or timm:MODEL to grow one. Default: tiny-small."
        ),
    ] = None,
    model: GrownModel = None,
    searcher: Annotated[
        str | None,
        typer.Option(help="nat (the default), nsga2, pnas, random, regevo, reinforce, darts, nasp or gdas."),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            help="What is traded, 2 to 12: top1, macro_f1, balanced, worst_recall, calibration, macs, params, "
            "resolution, memory, latency, module:function. Default: top1,macs."
        ),
    ] = None,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_memory: MaxMemory = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds for one image, on this machine.")
    ] = None,
    min_top1: MinTop1 = None,
    latency: Annotated[
        str | None, typer.Option(help="A latency table (`nat latency`) instead of measuring this machine.")
    ] = None,
    resolutions: Resolutions = None,
    effort: Annotated[str | None, typer.Option(help="How much work: quick (the default), standard or paper.")] = None,
    set_: Overrides = None,
    controls: Annotated[
        str | None,
        typer.Option(
            help="Fine-tuned beside the front: none, ends (largest and smallest), all (random and timm's, too; the "
            "default)."
        ),
    ] = None,
    control_model: Annotated[
        str | None,
        typer.Option(help="A control of your choice: a pretrained network of timm, such as mobilenetv3_small_100."),
    ] = None,
    control_weights: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A file of its weights in timm's format, where they cannot be fetched."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same result. Default: 0.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: the machine's; for images below 64 px one.")
    ] = None,
    data_root: DataRoot = None,
    store_size: Annotated[
        int | None, typer.Option(help="Larger images are shrunk to this short side in memory. Default: 256.")
    ] = None,
    skip_corrupt: SkipCorrupt = None,
    flip: Flip = None,
    balance: Annotated[
        str | None,
        typer.Option(help="Uneven classes: none, sampler (drawn alike), loss (weighed alike), auto (drawn halfway)."),
    ] = None,
    adaptation: Annotated[
        str | None,
        typer.Option(help="rounds, or frozen: trained once, nothing evaluated twice (MSuNAS)."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Most time for the whole run, over all sessions, such as 30m or 2h.")
    ] = None,
    evaluations: Annotated[int | None, typer.Option(help="Most evaluations, those with newer weights counted.")] = None,
    evaluation_limit: Annotated[
        str | None, typer.Option(help="Most time for one evaluation: auto, off, 90s; what takes longer has failed.")
    ] = None,
    warm_start: Annotated[
        Path | None,
        typer.Option(help="An earlier run on other images, whose best nets are evaluated first."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings from a TOML or JSON file, such as a run's config.json.")
    ] = None,
    json: Json = False,
) -> None:
    """The whole job: adapt a supernet to images, search, fine-tune the Pareto-optimal subnets, verify.

    Example: `nat transfer photos/flowers --max-macs 15M --out runs/flowers`
    """
    asked = given(locals())
    from nat import pipeline

    if out is None:
        raise InputError("expected --out with the folder of the run, for example --out runs/flowers.")
    overrides = overrides_of(set_ or []) | ({} if controls is None else {"controls": controls})
    settings = read_config(config) if config else {}
    if overrides and isinstance(settings.get("overrides"), dict):
        overrides = {**settings["overrides"], **overrides}
    settings |= asked | ({"overrides": overrides} if overrides else {})
    if "data" not in settings:
        raise InputError("expected DATA: the name of a data set (digits) or a folder of class sub-folders.")
    progress = ConsoleProgress()
    try:
        report = pipeline.transfer(checked(TransferOptions, settings), out, progress)
    except KeyboardInterrupt:
        _say_stopped(progress, out)
        raise
    show_front(report, out, json)


def resume(run: Run, json: Json = False) -> None:
    """Goes on with a run after any interruption, to the same result.

    Example: `nat resume runs/flowers`
    """
    from nat import pipeline

    progress = ConsoleProgress()
    try:
        report = pipeline.resume(run, progress)
    except KeyboardInterrupt:
        _say_stopped(progress, run)
        raise
    show_front(report, run, json)


def _say_stopped(progress: ConsoleProgress, out: Path) -> None:
    if (out / "config.json").is_file():
        progress.say(f"stopped; nothing is lost: go on with 'nat resume {out}'; the best so far: 'nat front {out}'")
