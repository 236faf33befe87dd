"""The command that trains one subnet further: finetune."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.arguments import Device, Json
from nat.commands.console import ConsoleProgress, percent, print_json, print_table
from nat.errors import unknown_name


def finetune(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Folder of a subnet: RUN/subnets/ID, or what `nat pick` wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new bundle; must not exist.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Other images: a name or folder. Default: the bundle's own.")
    ] = None,
    amount: Annotated[str, typer.Option(help="How much: '20 epochs', '500 steps'.")] = "20 epochs",
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak of the cosine schedule.")] = 5e-4,
    optimizer: Annotated[str, typer.Option(help="By timm's name, such as adamw, nesterov, lamb.")] = "adamw",
    weight_decay: Annotated[float, typer.Option(min=0, help="Of convolutions and linear layers.")] = 0.02,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 64,
    label_smoothing: Annotated[float, typer.Option(min=0, max=0.9, help="Of the labels.")] = 0.1,
    min_crop_area: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1, help="Least share of a random crop. Default: 0.3, or as the data set's card says."
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip", help="Whether mirrored images keep their class. Default: as the subnet's did."
        ),
    ] = None,
    ema: Annotated[
        float, typer.Option(min=0, max=0.99999, help="Decay of the average of weights, as 0.999; 0: none.")
    ] = 0.0,
    mixup: Annotated[float, typer.Option(min=0, help="Alpha of mixup, as 0.2; 0: none.")] = 0.0,
    randaugment: Annotated[int, typer.Option(min=0, max=30, help="Magnitude of RandAugment, as 9; 0: none.")] = 0,
    drop_path: Annotated[
        float, typer.Option(min=0, max=0.9, help="Probability that the last block is skipped, as 0.1; 0: none.")
    ] = 0.0,
    cutmix: Annotated[
        float, typer.Option(min=0, help="Alpha of CutMix, as 1; 0: none. Beside mixup each step has one of them.")
    ] = 0.0,
    layer_decay: Annotated[
        float, typer.Option(min=0.01, max=1, help="Factor of the rate from layer to layer, back to front, as 0.85.")
    ] = 1.0,
    distill: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a teacher's answers in the loss, as 0.5; 0: none.")
    ] = 0.0,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Bundle, or run whose largest net teaches. Default: the run that BUNDLE lies in."),
    ] = None,
    balance: Annotated[str, typer.Option(help="Uneven classes: none, sampler, loss, auto.")] = "none",
    patience: Annotated[
        int | None, typer.Option(min=1, help="End after so many measurements without a better one.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result.")] = 0,
    device: Device = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: those of the machine, 1 below 64 px.")
    ] = None,
    data_root: Annotated[str | None, typer.Option(help="Where named data sets lie, beside --data.")] = None,
    json: Json = False,
) -> None:
    """Trains a subnet further on its own images or on others, and keeps what is best on validation images.

    With --data and the same classes the classifier stays; for other classes it is a fresh one. Test images are used
    once, at the end.

    Layer-wise rates (--layer-decay) let first layers keep what they know. A teacher (--distill) sees the same crops at
    its own input size: by default the largest net of the run's adapted supernet, or with --teacher any bundle of the
    same classes. What each recipe is worth is measured in benchmarks/README.md.

    Example: `nat finetune runs/flowers/subnets/1a2b3c4d5e --distill 0.5 --layer-decay 0.85 -o subnets/flowers-best`

    Example: `nat finetune subnets/flowers --amount "20 epochs" --ema 0.999 -o subnets/flowers-better`
    """
    from nat.datasets.balance import MODES
    from nat.finetuning_recipe import FinetuneRecipe
    from nat.retraining import RetrainingOptions
    from nat.retraining import finetune as work

    mode = next((mode for mode in MODES if mode == balance), None)
    if mode is None:
        raise unknown_name("balance", balance, MODES)
    recipe = FinetuneRecipe(
        1,
        learning_rate,
        weight_decay,
        label_smoothing,
        optimizer=optimizer,
        ema=ema,
        mixup=mixup,
        randaugment=randaugment,
        drop_path=drop_path,
        cutmix=cutmix,
        layer_decay=layer_decay,
        distill=distill,
        seed=seed,
    )
    options = RetrainingOptions(
        recipe, amount, data, data_root, batch_size, min_crop_area, mode, patience, device, threads, teacher, flip
    )
    found = work(bundle, out, options, ConsoleProgress(quiet=json))
    if json:
        print_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    """What it was worth: before and after on validation and test images."""
    columns = [("", "left"), ("val", "right"), ("test", "right"), ("balanced", "right"), ("loss", "right")]
    rows = list[tuple[str, ...]]()
    for name in ("before", "after"):
        if found[name] is None:
            rows.append((f"{name} (fresh classifier)", "", "", "", ""))
            continue
        val, test = found[name]["val"], found[name]["test"]
        accuracies = (percent(m.get(key)) for m, key in ((val, "top1"), (test, "top1"), (test, "balanced_accuracy")))
        rows.append((name, *accuracies, f"{test['loss']:.4f}"))
    print_table(found["out"], columns, rows)
    typer.echo(found["says"])
