"""Commands about runs: transfer, resume, front, pick, evaluate."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.console import (
    ConsoleProgress,
    latency_in_words,
    millions,
    percent,
    print_json,
    print_table,
    with_unit,
)
from nat.errors import InputError, RunError
from nat.options import TransferOptions, checked, read_amount, read_config

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


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
    model: Annotated[
        str | None, typer.Option(help="The timm model whose weights the file of --supernet holds, to grow one.")
    ] = None,
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
    max_macs: Annotated[str | None, typer.Option(help="Most multiply-adds of a subnet, such as 30M.")] = None,
    max_params: Annotated[str | None, typer.Option(help="Most parameters of a subnet, such as 2M.")] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Most bytes of activations at once, such as 500k or 2M.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds for one image, on this machine.")
    ] = None,
    min_top1: Annotated[
        float | None, typer.Option(help="Least top-1 accuracy on validation images in the search, such as 0.9.")
    ] = None,
    latency: Annotated[
        str | None, typer.Option(help="A latency table (`nat latency`) instead of measuring this machine.")
    ] = None,
    resolutions: Annotated[str | None, typer.Option(help="Input sizes to choose from, such as 64,96,128.")] = None,
    effort: Annotated[str | None, typer.Option(help="How much work: quick (the default), standard or paper.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One amount of the effort, such as rounds=6."),
    ] = None,
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
        Path | None, typer.Option(help="A file of its weights in timm's format, where they cannot be fetched.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same result. Default: 0.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: the machine's; for images below 64 px one.")
    ] = None,
    data_root: Annotated[str | None, typer.Option(help="Where named data sets lie.")] = None,
    store_size: Annotated[
        int | None, typer.Option(help="Larger images are shrunk to this short side in memory. Default: 256.")
    ] = None,
    skip_corrupt: Annotated[
        bool | None, typer.Option("--skip-corrupt", help="Skip images that cannot be read, even if over 2 %.")
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Whether mirrored images keep their class: not those of letters, digits, signs. Default: --flip, and "
            "--no-flip for the data set digits.",
        ),
    ] = None,
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
        Path | None, typer.Option(help="An earlier run on other images, whose best nets are evaluated first.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings from a TOML or JSON file, such as a run's config.json.")
    ] = None,
    json: Json = False,
) -> None:
    """The whole job: adapt a supernet to images, search, fine-tune the Pareto-optimal subnets, verify.

    Example: `nat transfer photos/flowers --max-macs 15M --out runs/flowers`
    """
    from nat import pipeline

    if out is None:
        raise InputError("expected --out with the folder of the run, for example --out runs/flowers.")
    overrides = overrides_of(set_ or []) | ({} if controls is None else {"controls": controls})
    given = {
        "data": data,
        "supernet": supernet,
        "model": model,
        "searcher": searcher,
        "objectives": objectives,
        "max_macs": max_macs,
        "max_params": max_params,
        "max_memory": max_memory,
        "max_latency_ms": max_latency_ms,
        "min_top1": min_top1,
        "latency": latency,
        "resolutions": resolutions,
        "effort": effort,
        "overrides": overrides or None,
        "seed": seed,
        "device": device,
        "threads": threads,
        "data_root": data_root,
        "store_size": store_size,
        "skip_corrupt": skip_corrupt,
        "flip": flip,
        "balance": balance,
        "adaptation": adaptation,
        "time": time,
        "evaluations": evaluations,
        "evaluation_limit": evaluation_limit,
        "warm_start": None if warm_start is None else str(warm_start),
        "control_model": control_model,
        "control_weights": None if control_weights is None else str(control_weights),
    }
    settings = read_config(config) if config else {}
    if overrides and isinstance(settings.get("overrides"), dict):
        given["overrides"] = {**settings["overrides"], **overrides}
    settings.update({name: value for name, value in given.items() if value is not None})
    if "data" not in settings:
        raise InputError("expected DATA: the name of a data set (digits) or a folder of class sub-folders.")
    progress = ConsoleProgress()
    try:
        report = pipeline.transfer(checked(TransferOptions, settings), out, progress)
    except KeyboardInterrupt:
        _say_stopped(progress, out)
        raise
    _show(report, out, json)


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
    _show(report, run, json)


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
    _show(report, run, json)
    if rounds and not json:
        _show_rounds(report.get("rounds", []))


def pick(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the subnet; must not exist.")],
    max_macs: Annotated[str | None, typer.Option(help="Most multiply-adds: 20M.")] = None,
    max_params: Annotated[str | None, typer.Option(help="Most parameters: 1M.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Most bytes of activations at once: 1M.")] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds for one image, by the run's latency table.")
    ] = None,
    min_top1: Annotated[
        float | None, typer.Option(help="Least top-1 accuracy on validation images in the search: 0.9.")
    ] = None,
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
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a subnet.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Other images, all of them or their test/: a name, folder or list. Default: its own."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="val, test or both, of its own images.")] = "both",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
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


def overrides_of(pairs: list[str]) -> dict[str, str]:
    """What NAME=VALUE words say, by name."""
    overrides = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"expected --set NAME=VALUE, for example --set rounds=5, got '{pair}'.")
        overrides[name.strip()] = value.strip()
    return overrides


def _say_stopped(progress: ConsoleProgress, out: Path) -> None:
    if (out / "config.json").is_file():
        progress.say(f"stopped; nothing is lost: go on with 'nat resume {out}'; the best so far: 'nat front {out}'")


def _show(report: dict[str, Any], out: Path, json: bool) -> None:
    """The front and the controls, cheapest first, and how they compare."""
    from nat.verdict import breaks

    if json:
        print_json(report)
        return
    if not report["front"]:
        raise RunError(f"the run in '{out}' has no front.")
    further = report.get("columns", [])
    rows = [_cells(net, net["id"], further) for net in report["front"]]
    limits = report.get("limits", {})
    for control in report["controls"]:
        mark = ", over the budget" if breaks(control, limits) else ""
        rows.append(_cells(control, control["name"].replace(" subnet", "") + mark, further))
    columns = [("subnet", "left"), ("MACs", "right"), ("params", "right"), ("input", "right")]
    columns += [(column["title"], "right") for column in further]
    columns += [("val in search", "right"), ("val", "right"), ("test", "right")]
    title = f"{report['dataset']}: {report['evaluations']} evaluations in {report['seconds']:.0f} s"
    print_table(title, columns, rows)
    for sentence in report["verdict"]:
        print(sentence)
    if latency := report.get("latency"):
        print(latency_in_words(latency))
    for reason in (failures := report.get("failures", {"count": 0, "reasons": []}))["reasons"]:
        print(f"{reason['count']} of {failures['count']} failed evaluations: {reason['error']}")
    if report.get("finished", True):
        print(f"picture: {out / 'front.png'}   subnets: {out / 'subnets'}")
        page = out / "report.html"
        print(f"report: {page if page.is_file() else f'nat report {out}'}")


PARTS = ("adapt", "evaluate", "fit", "evolve", "other")


def _show_rounds(rounds: list[dict[str, Any]]) -> None:
    """A line a round: what it found, how the new nets' errors had been predicted, and what it cost."""
    numbers = [str(record["round"]) for record in rounds]

    def show(title: str, columns: list[str], cells: list[list[str]]) -> None:
        rows = [(number, *found) for number, found in zip(numbers, cells, strict=True)]
        print_table(title, [(column, "right") for column in ("round", *columns)], rows)

    found = [
        [str(r["evaluations"]), str(r["failed"]), f"{r['hypervolume']:.4f}", f"{r['seconds']:.0f}"] for r in rounds
    ]
    show("what was found", ["evaluations", "failed", "hypervolume", "seconds"], found)
    keys = ("kendall_tau", "spearman", "bias", "within_50", "within_90", "rms_z")
    judged = [[str(r["compared"]), *("" if r[key] is None else f"{r[key]:.3f}" for key in keys)] for r in rounds]
    columns = ["new nets", "tau", "Spearman", "bias", "in 50 %", "in 90 %", "rms z"]
    show("predictions against what was measured afterwards", columns, judged)
    show("seconds", list(PARTS), [[f"{r['cost'][part]:.1f}" for part in PARTS] for r in rounds])


def _cells(net: dict[str, Any], name: str, further: list[dict[str, str]]) -> tuple[str, ...]:
    return (
        name,
        millions(net["macs"]),
        millions(net["params"]),
        f"{net['resolution']} px",
        *(with_unit(net.get(column["name"]), column["unit"]) for column in further),
        percent(net.get("val_top1")),
        percent(net["finetuned_val_top1"]),
        percent(net["test_top1"]),
    )
