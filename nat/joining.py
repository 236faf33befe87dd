"""The largest subnet that keeps the limits, where it belongs on the front though the search left it behind."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from nat.archive import Evaluation
from nat.attempts import attempt
from nat.bundle import Bundle, load_bundle
from nat.controls import Control
from nat.job import Job
from nat.objectives import ERROR
from nat.run_folder import RunFolder
from nat.supernet.architecture import Architecture


def joining(job: Job, tuned: Mapping[Architecture, Bundle], controls: Sequence[Control]) -> Evaluation | None:
    """The largest subnet that keeps the limits, where no fine-tuned net of the front reaches it; else None.

    With the supernet's weights it is often no better than cheaper subnets, and the search leaves it behind; on its
    own weights it may be.

    Args:
        job: the run.
        tuned: the fine-tuned nets of the front.
        controls: among them that subnet, if there are any.

    Returns:
        Its evaluation with the adapted weights.
    """
    control = next((control for control in controls if control.kind == "largest"), None)
    if control is None or control.architecture is None or job.options.finetune_at is not None:
        return None
    net, top1 = control.architecture, control.metrics["val"]["top1"]
    reached = any(bundle.metrics["val"]["top1"] >= top1 for bundle in tuned.values())
    if ERROR not in job.problem.names or reached or not job.problem.allows(job.problem.space.encode([net])).all():
        return None
    measure = partial(job.evaluator().errors, job.supernet, objectives=job.problem.measured)
    evaluation = attempt(job.problem, net, measure, round=0, version=0, limit=None)
    return None if evaluation.failed else next(iter(job.problem.keeping([evaluation])), None)


def joined(folder: RunFolder, net: Architecture, controls: Sequence[Control]) -> tuple[Bundle, list[Control]]:
    """The subnet's bundle among those of the front, where the control is then, too."""
    path = folder.subnets / net.id
    for control in controls:
        if control.kind == "largest" and control.path != path:
            control.path.replace(path)
    moved = [replace(control, path=path) if control.kind == "largest" else control for control in controls]
    return load_bundle(path), moved
