"""Taking one subnet for a budget out of a finished run."""

from pathlib import Path
from typing import Any

from nat.archive import Archive
from nat.bundle import copy_bundle, load_bundle
from nat.errors import BudgetError
from nat.fronts import pareto_set, within
from nat.pipeline import reopened
from nat.problem import SearchProblem, read_objectives
from nat.progress import Progress
from nat.run_folder import RunFolder, check_new
from nat.supernet.costs import CostTable
from nat.supernet.space import MobileNetSpace


def pick(
    run: Path, out: Path, max_macs: int | None, max_params: int | None, *, finetune: bool, progress: Progress
) -> dict[str, Any]:
    """Writes the most accurate subnet within the limits as a bundle.

    All Pareto-optimal subnets of the run's last round are eligible, also those that the run did not fine-tune: these
    get the adapted supernet's weights, and are fine-tuned on request.

    Args:
        run: folder of a finished run.
        out: folder for the bundle; must not exist.
        max_macs: most multiply-adds, or None.
        max_params: most parameters, or None.
        finetune: fine-tune it if the run has not.
        progress: shows how far it is.

    Returns:
        The bundle's metrics.

    Raises:
        BudgetError: no subnet of the front keeps the limits.
        RunError: the run is not finished, or `out` is there already or cannot be made.
    """
    folder = RunFolder(run)
    report = folder.read_front()
    out = out.expanduser()
    check_new(out)  # before any work
    config = folder.read_config()
    options = folder.read_options()
    space = MobileNetSpace.from_json(config["space"])
    problem = SearchProblem(CostTable(space, config["data"]["classes"]), read_objectives(options.objectives))
    with Archive(folder.archive, read_only=True) as archive:
        version = report.get("weights_version", max(archive.versions))  # fronts of older versions lack it
        front = pareto_set(problem, archive.at_version(version))
    eligible = within(front, max_macs, max_params)
    if not eligible:
        least = min(round(e.objectives["macs"]) for e in front), min(round(e.objectives["params"]) for e in front)
        raise BudgetError(
            f"no subnet of this front keeps the limits: the least are {least[0]:,} multiply-adds and "
            f"{least[1]:,} parameters. Raise the budget, or transfer again with it."
        )
    architecture = eligible[0].architecture
    ready = folder.subnets / architecture.id
    if ready.is_dir():
        copy_bundle(ready, out)
    else:
        job = reopened(folder, progress)
        job.load_adapted()
        job.write_subnet(architecture, out, finetune=finetune)
    return load_bundle(out).metrics
