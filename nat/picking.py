"""Taking one subnet for a budget out of a finished run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nat.archive import Archive, Evaluation
from nat.bundle import copy_bundle, load_bundle
from nat.bundling import Bundling
from nat.errors import BudgetError, InputError
from nat.fronts import choices, within
from nat.objectives import ERROR
from nat.pipeline import reopened
from nat.preparation import kept_latency, problem_of
from nat.problem import SearchProblem
from nat.progress import Progress, Silence
from nat.run_folder import RunFolder, check_new
from nat.supernet.sampling import Limits


def pick(
    run: Path,
    out: Path,
    limits: Limits,
    min_top1: float | None = None,
    *,
    finetune: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the most accurate subnet within the limits as a bundle.

    All subnets that were measured with the final weights are eligible, also those that the run did not fine-tune: these
    get the adapted supernet's weights, and are fine-tuned on request. So is the largest subnet if it joined the front.

    Args:
        run: folder of a finished run.
        out: folder for the bundle; must not exist.
        limits: on what is known of a subnet.
        min_top1: least top-1 accuracy on validation images as the search measured it, or None.
        finetune: fine-tune it if the run has not.
        progress: shows how far it is.

    Returns:
        The bundle's metrics.

    Raises:
        BudgetError: no subnet that was measured keeps the limits.
        InputError: a limit on latency, and the run has no latency table.
        RunError: the run is not finished, or `out` is there already or cannot be made.
    """
    folder = RunFolder(run)
    report = folder.read_front()
    out = out.expanduser()
    check_new(out)  # before any work
    problem = problem_of(folder)
    if limits.max_latency_ms is not None and kept_latency(folder) is None:
        raise InputError(f"the run in '{run}' has no latency table: transfer with --objectives top1,latency.")
    with Archive(folder.archive, read_only=True) as archive:
        version = report.get("weights_version", max(archive.versions))  # fronts of older versions lack it
        known = choices(problem, archive.at_version(version), report["front"])
    max_error = problem.max_error if min_top1 is None else min(problem.max_error, 1.0 - min_top1)
    problem = replace(problem, limits=limits, max_error=max_error)
    eligible = within(problem, known)
    if not eligible:
        raise _nothing(problem, known, min_top1)
    architecture = eligible[0].architecture
    places = [place / architecture.id for place in (folder.subnets, folder.controls)]
    ready = next((place for place in places if place.is_dir()), None)
    if ready is not None and (not finetune or load_bundle(ready).metrics["finetuned"]):
        copy_bundle(ready, out)
    else:
        job = reopened(folder, progress or Silence(), adapted=True)
        job.load_adapted()
        Bundling(job).write(architecture, out, finetune=finetune)
    return load_bundle(out).metrics


def _nothing(problem: SearchProblem, known: Sequence[Evaluation], min_top1: float | None) -> BudgetError:
    """The error for limits that no subnet keeps, with the least and the greatest that there is of each."""
    encodings, top1 = problem.encodings_of(known), [1.0 - evaluation.objectives[ERROR] for evaluation in known]
    ranges = problem.limits.ranges(problem.costs, encodings)
    if min_top1 is not None:
        ranges.append(f"--min-top1 {min_top1} ({min(top1):.4f} to {max(top1):.4f})")
    return BudgetError(
        f"no subnet that this run has measured keeps the limits; asked for, and what there is: {', '.join(ranges)}. "
        "Change the budget, or transfer again with it."
    )
