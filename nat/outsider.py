"""The control that is no subnet of the run: a network of timm, or the one that the supernet was grown from."""

import time
from collections.abc import Sequence
from pathlib import Path

from nat.bundle import Bundle, load_bundle
from nat.bundling import Bundling
from nat.controls import Control, shrinks
from nat.errors import InputError
from nat.job import Job
from nat.pretrained.catalogue import load_supernet
from nat.supernet.architecture import Architecture
from nat.timm_controls import (
    CANDIDATES,
    PRETRAINED,
    check_named,
    from_scratch,
    make_ready,
    read_control,
    timm_control,
    timm_like,
    with_weights,
)


def check_control(job: Job) -> None:
    """Raises what is wrong with the network of timm that is asked for as a control."""
    model, weights = job.options.control
    assert model is not None
    check_named(model, weights, job.splits.num_classes, job.space.resolutions)


def outsider(bundling: Bundling, like: Architecture) -> Control:
    """The control that is no subnet: the network of timm that is asked for, or that the supernet was grown from.

    Else one of timm of similar multiply-adds: with published weights where the supernet was trained, from scratch where
    it was not.

    Args:
        bundling: of the run.
        like: the dearest net of the front, whose input size timm's network is to have, and its multiply-adds.
    """
    started, job = time.perf_counter(), bundling.job
    if job.options.control_model is None and not job.card.elastic and shrinks(job.card.space):
        control = Control.of("source network alone", "source", tuned_source(bundling))
    else:
        control = tuned_timm(bundling, like)
    job.folder.log("finetune", time.perf_counter() - started, {"id": control.name})
    return control


def tuned_timm(bundling: Bundling, like: Architecture) -> Control:
    """A network of timm, trained like the front, or taken up from its folder.

    Where the supernet was trained on images before, the network was, too; if its weights cannot be had, it begins
    with random ones, and says so.

    Raises:
        InputError: the network that the user has named cannot be had any more; the run may be resumed once it can.
    """
    job = bundling.job
    (model, weights), pretrained = job.options.control, job.card.trained or job.options.control_model is not None
    chosen = model or _timm_like(job, like, PRETRAINED)
    path, instead = _folder(job, like, chosen, "-pretrained"), _from_scratch_folder(job, like)
    if there := [folder for folder in (path, instead) if folder.is_dir()]:
        return read_control(there[0])
    if not pretrained:
        return _tuned_from_scratch(bundling, like, lacks=None)
    classes, seed = job.splits.num_classes, job.options.seed
    try:
        found = with_weights(chosen, weights, classes, seed)
    except InputError as error:
        if model is not None:
            raise
        lacks = f"No pretrained network of timm could be had as a control: {error}"
        job.progress.say(lacks)  # there is more to report than this
        return _tuned_from_scratch(bundling, like, lacks=lacks)
    tuner = bundling.tuner(found)
    if job.amounts.fit_classifier:
        make_ready(found, like.resolution, job.evaluator(found), tuner, seed)
    return timm_control(found, like.resolution, tuner, path, {"judges": job.card.trained})


def _tuned_from_scratch(bundling: Bundling, like: Architecture, lacks: str | None) -> Control:
    job = bundling.job
    model = _timm_like(job, like, CANDIDATES)
    network = from_scratch(model, job.splits.num_classes, job.card, job.options.seed)
    told = {"judges": not job.card.trained, "lacks": lacks}
    return timm_control(network, like.resolution, bundling.tuner(), _from_scratch_folder(job, like), told)


def _from_scratch_folder(job: Job, like: Architecture) -> Path:
    return _folder(job, like, _timm_like(job, like, CANDIDATES), "")


def _folder(job: Job, like: Architecture, model: str, mark: str) -> Path:
    return job.folder.controls / f"timm-{model}{mark}-{like.resolution}px"


def _timm_like(job: Job, like: Architecture, among: Sequence[str]) -> str:
    macs, classes = job.problem.costs.of(like)[0], job.splits.num_classes
    return timm_like(macs, like.resolution, classes, job.options.max_macs, among)


def tuned_source(bundling: Bundling) -> Bundle:
    """The grown space's largest subnet with the weights it had before the adaptation, fine-tuned alone."""
    job = bundling.job
    path, net = job.folder.controls / "source", job.space.largest()
    if not path.is_dir():
        supernet, _ = load_supernet(job.options.supernet, seed=job.options.seed, model=job.options.model)
        supernet = job.placed(supernet)
        job.make_ready(supernet, job.evaluator())
        subnet, tuner = supernet.extract(net, fast=True), bundling.tuner()
        tuned = tuner.train(subnet, net.resolution, "the source network")
        name, told = Path(job.options.supernet).name, {"supernet_card": job.card.origin}
        tuner.write(subnet.cpu(), path, finetuned=tuned, supernet=name, told=told)
    return load_bundle(path)
