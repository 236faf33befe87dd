"""Taking one subnet for a budget out of a finished run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nat.archive import Archive, Evaluation
from nat.bundle import copy_bundle, load_bundle
from nat.errors import BudgetError, InputError
from nat.fronts import pareto_set, within
from nat.objectives import ERROR, read_objectives
from nat.pipeline import reopened
from nat.preparation import read_latency_table
from nat.pretrained.store import load_supernet_file
from nat.problem import SearchProblem
from nat.progress import Progress
from nat.run_folder import RunFolder, check_new
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits
from nat.supernet.space import MobileNetSpace


def pick(
    run: Path, out: Path, limits: Limits, min_top1: float | None = None, *, finetune: bool, progress: Progress
) -> dict[str, Any]:
    """Writes the most accurate subnet within the limits as a bundle.

    All Pareto-optimal subnets of the run's last round are eligible, also those that the run did not fine-tune: these
    get the adapted supernet's weights, and are fine-tuned on request.

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
        BudgetError: no subnet of the front keeps the limits.
        InputError: a limit on latency, and the run has no latency table.
        RunError: the run is not finished, or `out` is there already or cannot be made.
    """
    folder = RunFolder(run)
    folder.read_front()
    out = out.expanduser()
    check_new(out)  # before any work
    config = folder.read_config()
    options = folder.read_options()
    space = MobileNetSpace.from_json(config["space"])
    table = read_latency_table(folder.latency) if folder.latency.is_file() else None
    if limits.max_latency_ms is not None and table is None:
        raise InputError(f"the run in '{run}' has no latency table: transfer with --objectives top1,latency.")
    costs = CostTable(space, config["data"]["classes"], table)
    max_errors = [1.0 if least is None else 1.0 - least for least in (options.min_top1, min_top1)]
    problem = SearchProblem(costs, read_objectives(options.objectives), max_error=max_errors[0])
    with Archive(folder.archive, read_only=True) as archive:
        front = pareto_set(problem, archive.at_version(max(archive.versions)))
    problem = replace(problem, limits=limits, max_error=min(max_errors))
    eligible = within(problem, front)
    if not eligible:
        raise _nothing(problem, front, min_top1)
    architecture = eligible[0].architecture
    ready = folder.subnets / architecture.id
    if ready.is_dir():
        copy_bundle(ready, out)
    else:
        job = reopened(folder, progress)
        supernet, _ = load_supernet_file(folder.supernet)
        job.supernet.load_state_dict(supernet.state_dict())
        job.write_subnet(architecture, out, finetune=finetune)
    return load_bundle(out).metrics


def _nothing(problem: SearchProblem, front: Sequence[Evaluation], min_top1: float | None) -> BudgetError:
    """The error for limits that none of a front keeps, with the least and the greatest that it has of each."""
    encodings, top1 = problem.encodings_of(front), [1.0 - evaluation.objectives[ERROR] for evaluation in front]
    ranges = problem.limits.ranges(problem.costs, encodings)
    if min_top1 is not None:
        ranges.append(f"--min-top1 {min_top1} ({min(top1):.4f} to {max(top1):.4f})")
    return BudgetError(
        f"no subnet of this front keeps the limits; asked for, and what the front has: {', '.join(ranges)}. Change the "
        "budget, or transfer again with it."
    )
