"""Commands that train supernets: pretrain."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nat.commands.arguments import DataRoot, Device
from nat.commands.console import ConsoleProgress
from nat.errors import InputError, unknown_name

if TYPE_CHECKING:
    from nat.recipes import PretrainRecipe
    from nat.supernet.space import MobileNetSpace
    from nat.supernet.supernet import Supernet
    from nat.teacher import TeacherOptions


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
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Whether mirrored images keep their class.")
    ] = None,
) -> None:
    """Trains a supernet from random weights, or goes on from one. Run it again to go on where it was stopped.

    Under `torchrun --nproc-per-node N -m nat pretrain ...` the processes train together, each on its part of a batch.

    Example: `nat pretrain photos/all --space small --epochs 20 --out supernets/photos`
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    constants = _recipe(
        recipe,
        batch_size,
        {
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
        },
    )
    if model and not source:
        raise InputError("expected --from FILE beside --model: the weights that the timm model is of.")
    taught_by = _teacher(teacher, teacher_weights, teacher_size)
    path = _train(
        data,
        data_root,
        flip,
        out,
        space,
        source,
        model,
        constants,
        learning_rate,
        taught_by,
        name,
        device,
        save_seconds,
    )
    if path is not None:
        print(f"supernet: {path}   use it with: nat transfer DATA --supernet {path}")


def _recipe(method: str, batch_size: int, asked: dict[str, Any]) -> "PretrainRecipe":
    """A method's constants with those that were asked for in their place."""
    from nat.quantities import read_sizes
    from nat.recipes import PretrainRecipe

    methods = {"sandwich": PretrainRecipe.sandwich, "shrinking": PretrainRecipe.shrinking}
    if method not in methods:
        raise unknown_name("recipe", method, methods)
    asked = {**asked, "resolutions": tuple(sorted(set(read_sizes(asked["resolutions"]))))}
    return replace(methods[method](batch_size), **{key: value for key, value in asked.items() if value is not None})


def _teacher(model: str | None, weights: Path | None, size: int) -> "TeacherOptions | None":
    from nat.teacher import TeacherOptions

    if model is None:
        if weights is not None:
            raise InputError("expected --teacher MODEL beside --teacher-weights: the timm model that they are of.")
        return None
    options = TeacherOptions(model, weights, size)
    options.check()
    return options


def _train(
    data: str,
    data_root: Path | None,
    flip: bool | None,
    out: Path,
    space: str | None,
    source: str | None,
    model: str | None,
    recipe: "PretrainRecipe",
    rate: float | None,
    teacher: "TeacherOptions | None",
    name: str,
    device: str,
    save_seconds: float,
) -> Path | None:
    """Trains in the folder; the path of the supernet in the process that reports, else None."""
    from nat.datasets.loading import load_dataset
    from nat.efforts import GENTLE
    from nat.preparation import counted, torch_device
    from nat.pretrained.catalogue import load_supernet
    from nat.pretraining import STATE, Pretraining
    from nat.starting import has_general_features, ready
    from nat.supernet.distributed import place
    from nat.teacher import answers_for
    from nat.training_run import Labels, TrainingRun

    begun, card = load_supernet(source, model=model, seed=recipe.seed) if source else (None, None)
    chosen = _space(space, begun)
    if card is not None:
        recipe = replace(recipe, mean=card.mean, std=card.std)
        if rate is None and has_general_features(card):
            recipe = replace(recipe, learning_rate=GENTLE * recipe.learning_rate)
    labels = Labels(name, _told(sys.argv[1:]), teacher.identity if teacher else "", card)
    with place(torch_device(device)) as here:
        progress = ConsoleProgress(quiet=not here.leads)
        size = max(max(recipe.resolutions) * 5 // 4, teacher.size if teacher else 0)
        with counted(progress, "reading images") as count:
            splits = load_dataset(data, root=data_root, store_size=size, progress=count).with_flip(flip)
        if begun is not None and card is not None and not (out / STATE).exists():
            begun = ready(begun, card, splits, recipe.resolutions, here.device, recipe.seed, progress)
        training = Pretraining(splits, chosen, recipe, start=begun, device=here.device, group=here.group)
        run = TrainingRun(training, splits, out, labels, progress, save_seconds=save_seconds)
        try:
            if teacher is None:
                path = run.run()
            else:
                path = run.run(lambda: answers_for(splits, teacher, out, here.device, progress))
        except KeyboardInterrupt:
            progress.say(f"stopped at step {training.step}; the same command goes on from the last checkpoint.")
            raise
    return path if here.leads else None


def _space(name: str | None, start: "Supernet | None") -> "MobileNetSpace":
    """The space that was asked for, by default that of the supernet to start from."""
    from nat.pretraining import check_same_layers
    from nat.supernet.space import named_spaces

    spaces = named_spaces()
    if name is not None and name not in spaces:
        raise unknown_name("space", name, spaces)
    chosen = start.space if start is not None and name is None else spaces[name or "small"]
    if start is not None:
        check_same_layers(start.space, chosen)
    return chosen


def _told(words: list[str]) -> str:
    """The command for the card: paths are the user's own, but for their last part."""
    return shlex.join(["nat", *(Path(word).name if "/" in word or "\\" in word else word for word in words)])
