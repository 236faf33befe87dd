"""A whole pretraining: images read, a start made ready, a teacher asked, the supernet trained in its folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from nat.allocation import keep_freed_memory
from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.efforts import GENTLE
from nat.errors import InputError, unknown_name
from nat.preparation import counted, torch_device
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.pretraining.recipes import PretrainRecipe
from nat.pretraining.run import SAVE_SECONDS, Labels, TrainingRun
from nat.pretraining.teacher import TeacherOptions, answers_for
from nat.pretraining.training import STATE, Pretraining, check_same_layers
from nat.progress import Progress, Silence
from nat.starting import has_general_features, ready
from nat.supernet.distributed import place
from nat.supernet.space import MobileNetSpace, named_spaces
from nat.supernet.supernet import Supernet


@dataclass(frozen=True)
class PretrainOptions:
    """What a pretraining is of.

    Attributes:
        data: a name or a folder of class sub-folders.
        recipe: constants.
        gentle: whether the learning rate may be lowered where the start has features of ImageNet.
        space: by name; None for the start's, or "small".
        source: a supernet to start from, as `load_supernet` takes it; None for random weights.
        model: the timm model that the file of `source` is of.
        teacher: whose answers are learnt, too.
        name: of the supernet.
        command: for its card.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        data_root: where named data sets lie.
        flip: whether mirrored images keep their class; None: as the data set's card says.
        save_seconds: time between checkpoints.
    """

    data: str
    recipe: PretrainRecipe
    gentle: bool = False
    space: str | None = None
    source: str | None = None
    model: str | None = None
    teacher: TeacherOptions | None = None
    name: str = "supernet"
    command: str = ""
    device: str = "auto"
    data_root: Path | None = None
    flip: bool | None = None
    save_seconds: float = SAVE_SECONDS

    def __post_init__(self) -> None:
        """Refuses a model without its weights."""
        if self.model and not self.source:
            raise InputError("expected --from FILE beside --model: the weights that the timm model is of.")


def pretrain(options: PretrainOptions, out: Path, progress: Progress | None = None) -> Path | None:
    """Trains in a folder, or goes on there.

    Args:
        options: what.
        out: the folder; taken up if it holds this training.
        progress: shows how far it is; None for silence.

    Returns:
        The supernet's file; None in processes that only take part.

    Raises:
        InputError: data, start, space or folder cannot be used.
    """
    if options.teacher:
        options.teacher.check()
    begun, card = _start(options)
    space, recipe = _space(options.space, begun), _recipe(options, card)
    labels = Labels(options.name, options.command, options.teacher.identity if options.teacher else "", card)
    keep_freed_memory()
    with place(torch_device(options.device)) as here:
        progress = progress if progress and here.leads else Silence()
        splits = _images(options, recipe, progress)
        if begun is not None and card is not None and not (out / STATE).exists():
            begun = ready(begun, card, splits, recipe.resolutions, here.device, recipe.seed, progress)
        training = Pretraining(splits, space, recipe, start=begun, device=here.device, group=here.group)
        run = TrainingRun(training, splits, out, labels, progress, save_seconds=options.save_seconds)
        try:
            if (teacher := options.teacher) is None:
                path = run.run()
            else:
                path = run.run(lambda: answers_for(splits, teacher, out, here.device, progress))
        except KeyboardInterrupt:
            progress.say(f"stopped at step {training.step}; the same command goes on from the last checkpoint.")
            raise
    return path if here.leads else None


def _start(options: PretrainOptions) -> tuple[Supernet, Card] | tuple[None, None]:
    """The supernet to start from, and its card."""
    if options.source is None:
        return None, None
    return load_supernet(options.source, model=options.model, seed=options.recipe.seed)


def _recipe(options: PretrainOptions, card: Card | None) -> PretrainRecipe:
    """The recipe, with the start's normalisation and, if it may be, a rate that keeps its features."""
    if card is None:
        return options.recipe
    recipe = replace(options.recipe, mean=card.mean, std=card.std)
    if options.gentle and has_general_features(card):
        recipe = replace(recipe, learning_rate=GENTLE * recipe.learning_rate)
    return recipe


def _images(options: PretrainOptions, recipe: PretrainRecipe, progress: Progress) -> Splits:
    """The images, as large in memory as the recipe's crops and the teacher need them."""
    size = max(max(recipe.resolutions) * 5 // 4, options.teacher.size if options.teacher else 0)
    with counted(progress, "reading images") as count:
        splits = load_dataset(options.data, root=options.data_root, store_size=size, progress=count)
    return splits.with_flip(options.flip)


def _space(name: str | None, start: Supernet | None) -> MobileNetSpace:
    """The space that was asked for, by default that of the supernet to start from."""
    spaces = named_spaces()
    if name is not None and name not in spaces:
        raise unknown_name("space", name, spaces)
    chosen = start.space if start is not None and name is None else spaces[name or "small"]
    if start is not None:
        check_same_layers(start.space, chosen)
    return chosen
