"""Commands that train supernets: pretrain."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.console import ConsoleProgress
from nat.errors import unknown_name


def pretrain(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A name or a folder of class sub-folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the training; taken up if it holds one.")],
    space: Annotated[str | None, typer.Option(help="small, nat-w1.0 or nat-w1.2. Default: small.")] = None,
    recipe: Annotated[
        str, typer.Option(help="sandwich, or shrinking: once-for-all's progressive shrinking.")
    ] = "sandwich",
    epochs: Annotated[float, typer.Option(min=0.001, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step, over all processes.")] = 128,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak of the cosine schedule.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Of timm, such as adamw, nesterov, lamb.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="Of convolutions and linear layers.")] = None,
    resolutions: Annotated[str, typer.Option(help="Input sizes, one drawn a step.")] = "48,56,64",
    label_smoothing: Annotated[float | None, typer.Option(min=0, max=0.9, help="Of the labels.")] = None,
    min_crop_area: Annotated[float | None, typer.Option(min=0.01, max=1, help="Least share of a random crop.")] = None,
    randaugment: Annotated[int, typer.Option(min=0, max=30, help="Magnitude of RandAugment; 0: none.")] = 0,
    mixup: Annotated[float, typer.Option(min=0, help="Alpha of mixup; 0: none.")] = 0.0,
    ema: Annotated[float | None, typer.Option(min=0, max=0.99999, help="Decay of the average of weights.")] = None,
    teacher: Annotated[str | None, typer.Option(help="A timm model whose answers are learnt, too.")] = None,
    teacher_weights: Annotated[Path | None, typer.Option(help="Its weights. Default: timm downloads them.")] = None,
    teacher_size: Annotated[int, typer.Option(min=16, help="Pixels at which it sees the images.")] = 128,
    resume_from: Annotated[str | None, typer.Option(help="A supernet to start from: a name or a file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, images and architectures.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N. Default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    name: Annotated[str, typer.Option(help="Name on the card.")] = "supernet",
    data_root: Annotated[Path | None, typer.Option(help="Where named data sets lie.")] = None,
) -> None:
    """Trains a supernet from random weights, or goes on from one. Run it again to go on where it was stopped.

    Under `torchrun --nproc-per-node N -m nat pretrain ...` the processes train together, each on its part of a batch.

    Example: `nat pretrain photos/all --space small --epochs 20 --out supernets/photos`
    """
    import torch

    from nat.datasets.loading import load_dataset
    from nat.options import read_sizes
    from nat.preparation import counted
    from nat.pretrained.catalogue import load_supernet
    from nat.pretraining import Pretraining
    from nat.recipes import PretrainRecipe
    from nat.supernet.distributed import place
    from nat.supernet.space import named_spaces
    from nat.teacher import TeacherOptions, answers_for
    from nat.training_run import Labels, TrainingRun

    if threads:
        torch.set_num_threads(threads)
    methods = {"sandwich": PretrainRecipe.sandwich, "shrinking": PretrainRecipe.shrinking}
    if recipe not in methods:
        raise unknown_name("recipe", recipe, methods)
    asked: dict[str, Any] = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "resolutions": tuple(sorted(set(read_sizes(resolutions)))),
        "label_smoothing": label_smoothing,
        "min_crop_area": min_crop_area,
        "randaugment": randaugment,
        "mixup": mixup,
        "ema": ema,
        "seed": seed,
    }
    constants = replace(methods[recipe](batch_size), **{key: v for key, v in asked.items() if v is not None})
    start = load_supernet(resume_from)[0] if resume_from else None
    spaces = named_spaces()
    if space is not None and space not in spaces:
        raise unknown_name("space", space, spaces)
    chosen = start.space if start is not None and space is None else spaces[space or "small"]
    with place(device) as here:
        progress = ConsoleProgress(quiet=not here.leads)
        with counted(progress, "reading images") as count:
            size = max(constants.resolutions) * 5 // 4
            splits = load_dataset(data, root=data_root, store_size=size, progress=count)
        answers = None
        if teacher:
            options = TeacherOptions(teacher, teacher_weights, teacher_size)
            out.mkdir(parents=True, exist_ok=True)
            answers = answers_for(splits, options, out, here.device, progress)
        training = Pretraining(
            splits, chosen, constants, answers=answers, start=start, device=here.device, group=here.group
        )
        labels = Labels(name, shlex.join(["nat", *sys.argv[1:]]), teacher or "", resume_from or "")
        path = TrainingRun(training, splits, out, labels, progress).run()
    if here.leads:
        print(f"supernet: {path}   use it with: nat transfer DATA --supernet {path}")
