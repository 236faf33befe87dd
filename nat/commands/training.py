"""Commands that train supernets: pretrain."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nat.commands.arguments import DataRoot, Device, Flip
from nat.commands.console import ConsoleProgress
from nat.errors import InputError, unknown_name

if TYPE_CHECKING:
    from nat.pretraining.recipes import PretrainRecipe
    from nat.pretraining.teacher import TeacherOptions


def pretrain(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A name or a folder of class sub-folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the training; taken up if it holds one.")],
    space: Annotated[
        str | None, typer.Option(help="small, nat-w1.0, nat-w1.2 or proxyless-w1.3. Default: small.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="sandwich, or shrinking: once-for-all's progressive shrinking.")
    ] = "sandwich",
    epochs: Annotated[float, typer.Option(min=0.001, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step, over all processes.")] = 128,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak of the cosine schedule.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="By timm's name, such as adamw, nesterov, lamb.")] = None,
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
    source: Annotated[
        str | None,
        typer.Option("--from", "--resume-from", help="A supernet to start from: a name, a file or timm:MODEL."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The timm model that the file of --from is of.")] = None,
    save_seconds: Annotated[float, typer.Option(min=0, help="Time between checkpoints.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, images and architectures.")] = 0,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    name: Annotated[str, typer.Option(help="Name on the card.")] = "supernet",
    data_root: DataRoot = None,
    flip: Flip = None,
) -> None:
    """Trains a supernet from random weights, or goes on from one. Run it again to go on where it was stopped.

    Under `torchrun --nproc-per-node N -m nat pretrain ...` the processes train together, each on its part of a batch.

    Example: `nat pretrain photos/all --space small --epochs 20 --out supernets/photos`
    """
    import torch

    from nat.pretraining.job import PretrainOptions
    from nat.pretraining.job import pretrain as train

    if threads:
        torch.set_num_threads(threads)
    asked = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "resolutions": resolutions,
        "label_smoothing": label_smoothing,
        "min_crop_area": min_crop_area,
        "randaugment": randaugment,
        "mixup": mixup,
        "ema": ema,
        "seed": seed,
    }
    options = PretrainOptions(
        data=data,
        recipe=_recipe(recipe, batch_size, asked),
        gentle=learning_rate is None,
        space=space,
        source=source,
        model=model,
        teacher=_teacher(teacher, teacher_weights, teacher_size),
        name=name,
        command=_told(sys.argv[1:]),
        device=device,
        data_root=data_root,
        flip=flip,
        save_seconds=save_seconds,
    )
    path = train(options, out, ConsoleProgress())
    if path is not None:
        print(f"supernet: {path}   use it with: nat transfer DATA --supernet {path}")


def _recipe(method: str, batch_size: int, asked: dict[str, Any]) -> "PretrainRecipe":
    """A method's constants with those that were asked for in their place."""
    from nat.pretraining.recipes import PretrainRecipe
    from nat.quantities import read_sizes

    methods = {"sandwich": PretrainRecipe.sandwich, "shrinking": PretrainRecipe.shrinking}
    if method not in methods:
        raise unknown_name("recipe", method, methods)
    asked = {**asked, "resolutions": tuple(sorted(set(read_sizes(asked["resolutions"]))))}
    return replace(methods[method](batch_size), **{key: value for key, value in asked.items() if value is not None})


def _teacher(model: str | None, weights: Path | None, size: int) -> "TeacherOptions | None":
    from nat.pretraining.teacher import TeacherOptions

    if model is None:
        if weights is not None:
            raise InputError("expected --teacher MODEL beside --teacher-weights: the timm model that they are of.")
        return None
    return TeacherOptions(model, weights, size)


def _told(words: list[str]) -> str:
    """The command for the card: paths are the user's own, but for their last part."""
    return shlex.join(["nat", *(Path(word).name if "/" in word or "\\" in word else word for word in words)])
