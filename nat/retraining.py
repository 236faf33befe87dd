"""`nat finetune`: goes on from a bundle's weights, on its own images or on others, and keeps the best of it."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from nat.allocation import keep_freed_memory
from nat.bundle import Bundle, load_bundle
from nat.datasets.augment import RandomOperations
from nat.datasets.balance import evenness, loss_weights
from nat.datasets.device_stream import training_stream
from nat.datasets.preprocess import Preprocess, Triple
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.distillation import run_around, teacher_at
from nat.efforts import steps_of
from nat.errors import InputError, RunError, TransferError
from nat.evaluation import Preprocessing, SubnetEvaluator
from nat.finetuning import Best
from nat.finetuning_recipe import FinetuneRecipe
from nat.metrics import measure
from nat.objectives import BALANCED, TOP1
from nat.options import TransferOptions
from nat.preparation import looked_over, read_splits, suitable_threads, torch_device, with_absolute_paths
from nat.progress import Progress, Silence
from nat.run_folder import check_new
from nat.settings import checked
from nat.supernet.calibration import recalibrate
from nat.supernet.costs import space_around
from nat.supernet.layers import initialise_classifier
from nat.supernet.subnet import Subnet
from nat.tuning import Tuner, told_of

CROP_AREA = 0.3  # least share of a random crop, unless asked otherwise
LOOKS = 20  # measurements on validation images, at most


@dataclass(frozen=True)
class RetrainingOptions:
    """What is asked of a fine-tuning.

    Attributes:
        recipe: constants; its steps and class weights follow from the images.
        amount: as `steps_of` reads it.
        data: name or folder of other images; None for the bundle's own.
        data_root: where named data sets lie; of the bundle's own images it is known.
        batch: images a step.
        min_crop_area: least share of a random crop; None for 0.3, or more where the data set's card says so.
        balance: as in `nat transfer`.
        patience: measurements without a better one after which it ends; None for never.
        device: where it runs.
        threads: of the CPU; None for the machine's, or one for images below 64 px.
        teacher: folder of a bundle or a run whose largest network teaches, where the recipe has `distill`; None for the
            run that the bundle lies in.
        flip: whether mirrored images keep their class; None for as it was for the bundle.
    """

    recipe: FinetuneRecipe
    amount: str = "20 epochs"
    data: str | None = None
    data_root: str | None = None
    batch: int = 64
    min_crop_area: float | None = None
    balance: Literal["none", "sampler", "loss", "auto"] = "none"
    patience: int | None = None
    device: str = "auto"
    threads: int | None = None
    teacher: Path | None = None
    flip: bool | None = None


def finetune(path: Path, out: Path, options: RetrainingOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Fine-tunes a bundle further and writes the result as another bundle.

    The weights with the least error on validation images are kept, the bundle's own among them where its classifier
    stays; test images are used once, at the end.

    Args:
        path: folder of a subnet.
        out: folder for the bundle; must not exist.
        options: what is asked.
        progress: shows how far it is.

    Returns:
        `before` (None with a fresh classifier) and `after`: metrics by split; `recipe`, `best_step`, `steps`, `history`
        of (step, validation error: of top-1, or balanced with `balance`), `fresh_classifier`, `says`: a sentence, and
        `out`.

    Raises:
        RunError: `out` is there, or the bundle's own images have changed.
        InputError: the bundle, the images, the teacher or an option cannot be used.
        TransferError: the training diverged.
    """
    bundle, out, progress = load_bundle(path), out.expanduser(), progress or Silence()
    check_new(out)
    steps_of(options.amount, 1)  # what cannot be is said before the images are read
    options = replace(options, teacher=_teacher_folder(path, options))
    device = torch_device(options.device)
    keep_freed_memory()
    torch.set_num_threads(options.threads or suitable_threads(bundle.preprocess.crop))
    asked = _asked(bundle, options)
    splits = read_splits(asked, progress)
    same = _check_images(bundle, splits, asked, options)
    if not same:
        _say_changed(bundle, asked, progress)
        looked_over(splits, asked, progress)
    tuner = _tuner(bundle, splits, asked, options, device, progress)
    subnet, fresh = _subnet(bundle, splits, tuner, options.recipe.seed)
    progress.say(tuner.recipe.in_words())
    if tuner.teacher is not None:
        progress.say(f"the teacher is {tuner.teacher.name} of '{options.teacher}', at {tuner.teacher.resolution} px")
    before = None if fresh else _before(bundle, tuner, same=same)
    evaluator = SubnetEvaluator(splits.train, splits.val, tuner.preprocessing, device=device)
    judged = TOP1 if options.balance == "none" else BALANCED  # else the best weights would be those of common classes
    every = min(max(tuner.stream.steps_per_epoch, math.ceil(tuner.recipe.steps / LOOKS)), tuner.recipe.steps)
    best = Best(lambda network: evaluator.error_of(network, judged), every, options.patience)  # type: ignore[arg-type]
    if not fresh:
        best.look(subnet.to(device).eval(), 0)
    tuner.train(subnet, bundle.preprocess.crop, subnet.architecture.id, best)
    done = {"best_step": best.step, "by": judged.name, "patience": options.patience, "balance": options.balance}
    done |= {"from": bundle.metrics["id"]}
    done |= {"teacher": None if tuner.teacher is None else tuner.teacher.name}
    supernet = str(bundle.metrics.get("supernet", "?"))
    told = {"finetuning": done, "supernet_card": bundle.metrics.get("supernet_card")}
    tuner.write(subnet.cpu(), out, finetuned=True, supernet=supernet, told=told)
    after = _verified(out, splits)
    return {
        "out": str(out),
        "before": before,
        "after": {split: after[split] for split in ("val", "test")},
        "recipe": tuner.recipe.to_json(),
        "steps": best.history[-1][0],
        "best_step": best.step,
        "history": best.history,
        "fresh_classifier": fresh,
        "says": _says(best, fresh=fresh),
    }


def _asked(bundle: Bundle, options: RetrainingOptions) -> TransferOptions:
    """Where the images are, and how they are split: as the bundle's were, so that its test images stay unseen."""
    claim = bundle.metrics["data"]
    own = {
        "data": claim["source"],
        "data_root": claim["data_root"],
        "seed": claim["seed"],
        "store_size": claim.get("store_size", 256),
        "skip_corrupt": claim["skip_corrupt"],
    }
    other = {"data": options.data, "data_root": options.data_root, "seed": claim["seed"]}
    images = own if options.data is None else other
    flip = claim.get("flip") if options.flip is None else options.flip
    if flip is None and (bundle.metrics.get("recipe") or {}).get("flip") is False:
        flip = False  # as the data set's card said; what was off is off for other images, too
    treated = {"balance": options.balance, "flip": flip}
    return with_absolute_paths(checked(TransferOptions, {**images, **treated}))


def _check_images(bundle: Bundle, splits: Splits, asked: TransferOptions, options: RetrainingOptions) -> bool:
    """Whether the images are the bundle's own, in the same splits; an error if they should be and have changed."""
    claim = bundle.metrics["data"]
    same = splits.fingerprint == claim["fingerprint"]
    if options.data is None and not same:
        raise RunError(
            f"expected the images that '{bundle.path}' was measured on (fingerprint {claim['fingerprint'][:12]}), got "
            f"changed ones ({splits.fingerprint[:12]}). Give them as other images: --data {asked.data}."
        )
    return bool(same)


def _say_changed(bundle: Bundle, asked: TransferOptions, progress: Progress) -> None:
    """Where images were added to the bundle's own: they are split anew, and splits mix what was kept apart."""
    if asked.data == bundle.metrics["data"]["source"]:
        progress.say(
            f"the images of '{asked.data}' have changed since '{bundle.path}' was made, and are split anew: it may "
            "have been trained on some that now are for validation or test, and what is measured may be too good. A "
            "folder with a test/ of its own keeps them apart."
        )


def _tuner(
    bundle: Bundle,
    splits: Splits,
    asked: TransferOptions,
    options: RetrainingOptions,
    device: torch.device,
    progress: Progress,
) -> Tuner:
    preprocessing, like = _preprocessing(bundle, splits), bundle.preprocess
    weights = loss_weights(options.balance, splits.train.labels, splits.num_classes)
    stream = _stream(splits, options, like.mean, like.std, device)
    if (steps := steps_of(options.amount, stream.steps_per_epoch)) < 1:
        raise InputError(f"expected at least 1 step of training, got --amount '{options.amount}'.")
    recipe = replace(options.recipe, steps=steps, class_weights=() if weights is None else tuple(weights.tolist()))
    tuner = Tuner(splits, stream, recipe, preprocessing, told_of(splits, asked), device, progress)
    if options.teacher is None:
        return tuner

    def streams(mean: Triple, std: Triple) -> TrainStream:
        return stream if (mean, std) == (like.mean, like.std) else _stream(splits, options, mean, std, device)

    return replace(tuner, teacher=teacher_at(options.teacher, splits, streams, device))


def _teacher_folder(path: Path, options: RetrainingOptions) -> Path | None:
    """Where the teacher is, if the recipe has one: as asked, or the run that the bundle lies in."""
    if not options.recipe.distill:
        if options.teacher is not None:
            raise InputError(f"expected --distill SHARE beside --teacher {options.teacher}, such as --distill 0.5.")
        return None
    folder = options.teacher or run_around(path)
    if folder is None:
        raise InputError(
            f"expected a teacher for distill {options.recipe.distill:g}, got none: '{path}' lies in no run. Name a "
            "bundle or a run of the same classes: --teacher BUNDLE."
        )
    return folder


def _preprocessing(bundle: Bundle, splits: Splits) -> Preprocessing:
    """That of the images' kind, with the normalisation that the weights know."""
    mean, std, fraction = bundle.preprocess.mean, bundle.preprocess.std, splits.card.crop_fraction
    return lambda resolution: Preprocess.for_resolution(resolution, fraction, mean, std)


def _stream(splits: Splits, options: RetrainingOptions, mean: Triple, std: Triple, device: torch.device) -> TrainStream:
    recipe = options.recipe
    batching = Batching.suited(splits.card, options.batch, recipe.seed + 1, mean, std)
    crop_area = options.min_crop_area or max(batching.min_crop_area, CROP_AREA)
    batching = replace(batching, min_crop_area=crop_area, evenness=evenness(options.balance, splits.train.labels))
    augment = RandomOperations(recipe.randaugment, recipe.seed) if recipe.randaugment else None
    return training_stream(splits.train, batching, augment, device=device)


def _subnet(bundle: Bundle, splits: Splits, tuner: Tuner, seed: int) -> tuple[Subnet, bool]:
    """The bundle's network, made for training; for other classes with a fresh classifier, batch norm recalibrated."""
    model, classes = bundle.model, splits.num_classes
    space = space_around(model.architecture, structure=model.structure)
    subnet, fresh = Subnet(space, model.architecture, classes, fast=True), splits.classes != bundle.labels
    state = model.state_dict()
    if fresh:
        state = {name: value for name, value in state.items() if not name.startswith("classifier.")}
    subnet.load_state_dict(state, strict=not fresh)
    if fresh:
        linear = subnet.classifier.get_submodule("linear")
        assert isinstance(linear, torch.nn.Linear)
        initialise_classifier(linear, torch.Generator().manual_seed(seed))
        evaluator = SubnetEvaluator(splits.train, splits.val, tuner.preprocessing, seed=seed)
        recalibrate(subnet, evaluator.calibration_batches(model.architecture.resolution))
    return subnet, fresh


def _before(bundle: Bundle, tuner: Tuner, *, same: bool) -> dict[str, Any]:
    """Metrics by split of the bundle as it is: as it claims, or measured on other images."""
    if same:
        return {split: bundle.metrics[split] for split in ("val", "test")}
    return tuner.measured(bundle.model, bundle.preprocess.crop).metrics


def _verified(out: Path, splits: Splits) -> dict[str, Any]:
    """Metrics of the bundle just written, after measuring it again, as it is read, on validation images."""
    written = load_bundle(out)
    found = measure(written.model, written.preprocess, splits.val)
    if found["top1"] != written.metrics["val"]["top1"]:
        raise TransferError(f"'{out}' does not reproduce its own metrics.json: report this.")
    return written.metrics


def _says(best: Best, *, fresh: bool) -> str:
    if best.step == 0 and not fresh:
        return "no step was better on validation images: the weights are the bundle's own."
    last = best.history[-1][0]
    return f"the weights after step {best.step} of {last} were the best on validation images."
