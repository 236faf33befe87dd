"""The control that is no subnet of the run: a network of timm, or the one that the supernet was grown from."""

import time
from pathlib import Path

from nat.bundle import Bundle, load_bundle
from nat.controls import Control, shrinks
from nat.errors import InputError
from nat.job import Job
from nat.pretrained.catalogue import load_supernet
from nat.starting import has_general_features
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


def outsider(job: Job, like: Architecture) -> Control | None:
    """The control that is no subnet: the network of timm that is asked for, or that the supernet was grown from.

    Else one of timm of similar multiply-adds: trained on ImageNet where the supernet is, from scratch where it is.

    Args:
        job: the run.
        like: the dearest net of the front, whose input size timm's network is to have, and its multiply-adds.
    """
    started = time.perf_counter()
    if job.options.control_model is None and not job.card.elastic and shrinks(job.card.space):
        control = Control.of("source network alone", "source", tuned_source(job))
    elif (found := tuned_timm(job, like)) is not None:
        control = found
    else:
        return None
    job.folder.log("finetune", time.perf_counter() - started, {"id": control.name})
    return control


def tuned_timm(job: Job, like: Architecture) -> Control | None:
    """A network of timm, trained like the front, or taken up from its folder; None where weights cannot be had.

    Raises:
        InputError: the network that the user has named cannot be had any more; the run may be resumed once it can.
    """
    (model, weights), classes, seed = job.options.control, job.splits.num_classes, job.options.seed
    pretrained = model is not None or has_general_features(job.card)
    if model is None:
        among = PRETRAINED if pretrained else CANDIDATES
        model = timm_like(job.problem.costs.of(like)[0], like.resolution, classes, job.options.max_macs, among)
    path = job.folder.controls / f"timm-{model}{'-pretrained' if pretrained else ''}-{like.resolution}px"
    if path.is_dir():
        return read_control(path)
    if not pretrained:
        return timm_control(from_scratch(model, classes, job.card, seed), like.resolution, job.tuner(), path)
    try:
        found = with_weights(model, weights, classes, seed)
    except InputError as error:
        if job.options.control_model is not None:
            raise
        job.progress.say(f"no pretrained network of timm as a control: {error}")  # there is more to report than this
        return None
    tuner = job.tuner(found)
    if job.amounts.fit_classifier:
        make_ready(found, like.resolution, job.evaluator(found), tuner, seed)
    return timm_control(found, like.resolution, tuner, path)


def tuned_source(job: Job) -> Bundle:
    """The grown space's largest subnet with the weights it had before the adaptation, fine-tuned alone."""
    path, net = job.folder.controls / "source", job.space.largest()
    if not path.is_dir():
        supernet, _ = load_supernet(job.options.supernet, seed=job.options.seed, model=job.options.model)
        supernet = job.placed(supernet)
        job.make_ready(supernet, job.evaluator())
        subnet, tuner = supernet.extract(net, fast=True), job.tuner()
        tuned = tuner.train(subnet, net.resolution, "the source network")
        tuner.write(subnet.cpu(), path, finetuned=tuned, supernet=Path(job.options.supernet).name)
    return load_bundle(path)
