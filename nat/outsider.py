"""The control that is no subnet of the run: a network of timm, or the one that the supernet was grown from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nat.bundle import load_bundle
from nat.bundling import Bundling, Work
from nat.controls import Control, shrinks
from nat.errors import InputError
from nat.job import Job
from nat.pretrained.catalogue import load_supernet
from nat.supernet.architecture import Architecture
from nat.supernet.subnet import Subnet
from nat.timm_controls import (
    CANDIDATES,
    PRETRAINED,
    TimmNetwork,
    check_named,
    from_scratch,
    make_ready,
    read_control,
    timm_control,
    timm_costs,
    timm_like,
    with_weights,
)
from nat.tuning import Tuner


def check_control(job: Job) -> None:
    """Raises what is wrong with the network of timm that is asked for as a control."""
    model, weights = job.options.control
    assert model is not None
    check_named(model, weights, job.splits.num_classes, job.space.resolutions)


@dataclass(frozen=True)
class Outsider:
    """A control that is no subnet of the run, made ready.

    Attributes:
        work: its training.
        read: the control, once it is trained.
    """

    work: Work
    read: Callable[[], Control]


def outsider(bundling: Bundling, like: Architecture) -> Outsider:
    """The control that is no subnet: the network of timm that is asked for, or that the supernet was grown from.

    Else one of timm of similar multiply-adds: with published weights where the supernet was trained, from scratch where
    it was not.

    Args:
        bundling: of the run.
        like: the dearest net of the front, whose input size timm's network is to have, and its multiply-adds.

    Raises:
        InputError: the network that the user has named cannot be had any more; the run may be resumed once it can.
    """
    started, job = time.perf_counter(), bundling.job
    grown = job.options.control_model is None and not job.card.elastic and shrinks(job.card.space)
    found = _source(job) if grown else _timm(bundling, like)
    job.folder.log("control", time.perf_counter() - started, {"id": found.work.name})
    return found


def _source(job: Job) -> Outsider:
    """The grown space's largest subnet with the weights it had before the adaptation, to be fine-tuned alone."""
    path, net, name = job.folder.controls / "source", job.space.largest(), "source network alone"
    train = None if path.is_dir() else partial(_train_source, job, _source_network(job, net), path)
    work = Work(name, job.problem.costs.of(net)[0], path, train)
    return Outsider(work, lambda: Control.of(name, "source", load_bundle(path)))


def _source_network(job: Job, net: Architecture) -> Subnet:
    supernet, _ = load_supernet(job.options.supernet, seed=job.options.seed, model=job.options.model)
    supernet = job.placed(supernet)
    job.make_ready(supernet, job.evaluator())
    return supernet.extract(net, fast=True)


def _train_source(job: Job, subnet: Subnet, path: Path, tuner: Tuner) -> None:
    tuned = tuner.train(subnet, subnet.architecture.resolution, "the source network")
    name, told = Path(job.options.supernet).name, {"supernet_card": job.card.origin}
    tuner.write(subnet.cpu(), path, finetuned=tuned, supernet=name, told=told)


def _timm(bundling: Bundling, like: Architecture) -> Outsider:
    """A network of timm, to be trained like the front.

    Where the supernet was trained on images before, the network was, too; if its weights cannot be had, it begins
    with random ones, and says so.
    """
    job = bundling.job
    (model, weights), pretrained = job.options.control, job.card.trained or job.options.control_model is not None
    chosen = model or _timm_like(job, like, PRETRAINED)
    path, instead = _folder(job, like, chosen, "-pretrained"), _from_scratch_folder(job, like)
    if there := [folder for folder in (path, instead) if folder.is_dir()]:
        control = read_control(there[0])
        return Outsider(Work(control.name, control.metrics["macs"], there[0], None), lambda: control)
    if not pretrained:
        return _from_scratch(job, like, lacks=None)
    classes, seed = job.splits.num_classes, job.options.seed
    try:
        found = with_weights(chosen, weights, classes, seed)
    except InputError as error:
        if model is not None:
            raise
        lacks = f"No pretrained network of timm could be had as a control: {error}"
        job.progress.say(lacks)  # there is more to report than this
        return _from_scratch(job, like, lacks=lacks)
    if job.amounts.fit_classifier:
        make_ready(found, like.resolution, job.evaluator(found), bundling.tuner(found), seed)

    def train(tuner: Tuner) -> None:
        own = replace(bundling.tuner(found), progress=tuner.progress)  # whose images are normalised as the network's
        timm_control(found, like.resolution, own, path, {"judges": job.card.trained})

    return _to_train(job, found, like.resolution, path, train)


def _from_scratch(job: Job, like: Architecture, lacks: str | None) -> Outsider:
    model, path = _timm_like(job, like, CANDIDATES), _from_scratch_folder(job, like)
    found = from_scratch(model, job.splits.num_classes, job.card, job.options.seed)
    told = {"judges": not job.card.trained, "lacks": lacks}

    def train(tuner: Tuner) -> None:
        timm_control(found, like.resolution, tuner, path, told)

    return _to_train(job, found, like.resolution, path, train)


def _to_train(job: Job, found: TimmNetwork, resolution: int, path: Path, train: Callable[[Tuner], None]) -> Outsider:
    macs = timm_costs(found.model, resolution, job.splits.num_classes)[0]
    return Outsider(Work(found.name, macs, path, train), lambda: read_control(path))


def _from_scratch_folder(job: Job, like: Architecture) -> Path:
    return _folder(job, like, _timm_like(job, like, CANDIDATES), "")


def _folder(job: Job, like: Architecture, model: str, mark: str) -> Path:
    return job.folder.controls / f"timm-{model}{mark}-{like.resolution}px"


def _timm_like(job: Job, like: Architecture, among: Sequence[str]) -> str:
    macs, classes = job.problem.costs.of(like)[0], job.splits.num_classes
    return timm_like(macs, like.resolution, classes, job.options.max_macs, among)
