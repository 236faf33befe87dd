"""What a run reports: front.json and its pictures at the end, and the best front so far at any time before."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nat.archive import Archive, Evaluation
from nat.bootstrap import Correct, read_correct, ties
from nat.bundle import Bundle
from nat.controls import Control
from nat.errors import RunError, TransferError
from nat.files import write_json
from nat.fronts import (
    SCHEMA,
    columns_of,
    control_row,
    front_hypervolume,
    limits_given,
    pareto_set,
    row,
    thinned,
    titles,
)
from nat.options import TransferOptions
from nat.plots import plot_front, plot_rounds
from nat.preparation import kept_latency, problem_of
from nat.problem import SearchProblem
from nat.rounds import newest_whole, records
from nat.run_folder import RunFolder
from nat.supernet.architecture import Architecture
from nat.verdict import breaks, comparisons, sentences
from nat.warm_start import gain

JOINS = (
    "The largest subnet that keeps the limits is more accurate on validation images than every net that the search "
    "put on the front, and stands there, too."
)
BEHIND = ("control", "finetune")  # events behind the search


def write_report(
    folder: RunFolder,
    problem: SearchProblem,
    options: TransferOptions,
    evaluations: Sequence[Evaluation],
    tuned: Mapping[Architecture, Bundle],
    controls: Sequence[Control],
    joining: Evaluation | None = None,
) -> dict[str, Any]:
    """Writes front.json, last of all, as it says that the run is finished, and the pictures.

    Args:
        folder: of the run.
        problem: of the search.
        options: what was asked.
        evaluations: those with the final weights.
        tuned: the bundles of the front.
        controls: what the front is compared with.
        joining: the largest subnet, if it stands on the front, though the search's ranking left it out. It is not
            what the search is judged by.

    Returns:
        The content of front.json.
    """
    front = [e for e in pareto_set(problem, evaluations) if e.architecture in tuned]
    if joining is not None:  # the search may have found it, and left it out of what is fine-tuned
        front = [e for e in front if e.architecture != joining.architecture]
    if not front:
        raise TransferError("no subnet could be evaluated with the final weights.")
    correct = {bundle.metrics["id"]: read_correct(bundle.path) for bundle in tuned.values()}
    columns = columns_of(problem)
    whole = [*front, *([joining] if joining else [])]
    rows = [row(e, tuned[e.architecture].metrics, columns, correct[e.architecture.id]) for e in whole]
    found, rows = rows[: len(front)], sorted(rows, key=lambda net: net["macs"])
    control_rows = [_control_row(control, problem) for control in controls]
    tie = ties(rows, correct)
    with Archive(folder.archive) as archive:
        searched = _searched(folder, archive, problem, options, evaluations)
    report = searched | {
        "finished": True,
        "front": rows,
        "controls": control_rows,
        "ties": tie,
    }
    rivals = [control for control in control_rows if not breaks(control, report["limits"])]
    compared = comparisons(found, rivals, _right(correct, controls))
    report["comparisons"] = [asdict(comparison) for comparison in compared]
    report["verdict"] = [
        *sentences(found, control_rows, compared, report["limits"], report["search_seconds"]),
        *([JOINS] if joining else []),
        *([tie["says"]] if tie else []),
        *([report["warm_start"]["says"]] if report["warm_start"] else []),
    ]
    points = [(e.objectives["macs"], 1.0 - e.objectives["top1_error"]) for e in evaluations]
    plot_front(report, points, folder.picture)
    plot_rounds(report, folder.progress_picture)
    write_json(folder.front, report)
    return report


def _control_row(control: Control, problem: SearchProblem) -> dict[str, Any]:
    net = control.architecture
    known = None if net is None else problem.known_of(net)
    correct, columns = read_correct(control.path), columns_of(problem)
    found = control_row(control.name, control.kind, control.metrics, known, columns, correct)
    if net is not None:
        found["architecture"] = net.to_json()
    return found if "id" in found else found | {"folder": f"controls/{control.path.name}"}


def _right(correct: Mapping[str, Mapping[str, Correct]], controls: Sequence[Control]) -> dict[str, Correct]:
    """On which test images nets are right: of the front by id, of controls by name."""
    found = {**correct, **{control.name: read_correct(control.path) for control in controls}}
    return {name: splits["test"] for name, splits in found.items() if "test" in splits}


def front_so_far(folder: RunFolder) -> dict[str, Any]:
    """What front.json will look like, from the archive of a run that is not finished: nothing in it is fine-tuned.

    The front is that of the newest weights with which a whole round was evaluated; in the first round, of what there
    is.

    Raises:
        RunError: there is no run, or it has not evaluated anything yet.
    """
    options, evaluations = folder.read_options(), list[Evaluation]()
    if folder.archive.is_file():
        with Archive(folder.archive, read_only=True) as archive:
            evaluations = newest_whole(archive, folder.read_events())
    if not evaluations:
        raise RunError(f"nothing has been evaluated yet in '{folder.path}': go on with 'nat resume {folder.path}'.")
    problem = problem_of(folder)
    front = thinned(pareto_set(problem, evaluations), options.amounts().front)
    says = f"the run is not finished: the best so far, not fine-tuned; go on with 'nat resume {folder.path}'."
    with Archive(folder.archive, read_only=True) as archive:
        searched = _searched(folder, archive, problem, options, evaluations)
    return searched | {
        "finished": False,
        "front": [row(evaluation, None, columns_of(problem)) for evaluation in front],
        "controls": [],
        "ties": None,
        "verdict": [says],
    }


def _searched(
    folder: RunFolder,
    archive: Archive,
    problem: SearchProblem,
    options: TransferOptions,
    evaluations: Sequence[Evaluation],
) -> dict[str, Any]:
    """What there is to say of the search, whether it is finished or not."""
    config, latency, events = folder.read_config(), kept_latency(folder), folder.read_events()
    first = [evaluation for evaluation in archive.evaluations() if evaluation.round == 0]
    return {
        "schema": SCHEMA,
        "dataset": config["data"]["name"],
        "num_classes": config["data"]["classes"],
        "supernet": options.supernet,
        "searcher": options.searcher,
        "adaptation": options.adaptation,
        "seed": options.seed,
        "evaluations": len(archive),
        "weights_version": max((evaluation.weights_version for evaluation in evaluations), default=0),
        "seconds": round(folder.seconds_logged(), 1),
        "search_seconds": round(sum(e["seconds"] for e in events if e["event"] not in BEHIND), 1),
        "hypervolume": front_hypervolume(problem, evaluations),
        "reference_point": dict(zip(problem.names, problem.reference_point().tolist(), strict=True)),
        "objectives": list(problem.names),
        "columns": titles(columns_of(problem)),
        "limits": limits_given(problem),
        "min_top1": options.min_top1,
        "latency": None if latency is None else {**latency.machine, **latency.error},
        "failures": failed(archive.failures()),
        "warm_start": gain(problem, archive.proposals(0), first) if options.warm_start else None,
        "rounds": records(problem, archive, events),
    }


def failed(failures: Sequence[Evaluation]) -> dict[str, Any]:
    """How many evaluations failed, and why: the reasons, the most frequent first, each with its subnets."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for failure in failures:
        reasons[str(failure.error).splitlines()[0]].append(failure.architecture.id)
    found = [{"error": error, "count": len(ids), "subnets": sorted(set(ids))} for error, ids in reasons.items()]
    return {"count": len(failures), "reasons": sorted(found, key=lambda reason: -int(str(reason["count"])))}
