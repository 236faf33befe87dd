"""Commands that train supernets: pretrain."""

from pathlib import Path
from typing import Annotated

import typer

from nat.commands.console import ConsoleProgress
from nat.errors import unknown_name


def pretrain(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A name or a folder of class sub-folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the training; taken up if it holds one.")],
    space: Annotated[str, typer.Option(help="small, nat-w1.0 or nat-w1.2.")] = "small",
    epochs: Annotated[float, typer.Option(min=0.001, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak of AdamW's cosine schedule.")] = 1.5e-3,
    resolutions: Annotated[str, typer.Option(help="Input sizes, one drawn a step.")] = "40,48,56",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, images and architectures.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    name: Annotated[str, typer.Option(help="Name on the card.")] = "supernet",
    data_root: Annotated[Path | None, typer.Option(help="Where named data sets lie.")] = None,
) -> None:
    """Trains a supernet from random weights: sandwich rule with in-place distillation. Run it again to go on.

    Example: `nat pretrain photos/all --space small --epochs 20 --out supernets/photos`
    """
    import torch

    from nat.commands.runs import _integers
    from nat.datasets.loading import load_dataset
    from nat.pretraining import PretrainRecipe, pretrain_supernet
    from nat.supernet.space import named_spaces

    spaces = named_spaces()
    if space not in spaces:
        raise unknown_name("space", space, spaces)
    if threads:
        torch.set_num_threads(threads)
    recipe = PretrainRecipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        resolutions=tuple(_integers(resolutions)),
        seed=seed,
    )
    progress = ConsoleProgress()
    with progress.task("reading images", 1) as task:
        splits = load_dataset(data, root=data_root, store_size=max(recipe.resolutions) * 5 // 4)
        task.advance()
    path = pretrain_supernet(splits, spaces[space], recipe, out, name, progress)
    print(f"supernet: {path}   use it with: nat transfer DATA --supernet {path}")
