"""What a comparison found: compare.json, from the folders of its runs alone."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nat.archive import Archive
from nat.bootstrap import read_correct
from nat.comparison.options import CONTROL, Comparison, ComparisonFolder
from nat.comparison.repetitions import difference, sentence, summary
from nat.errors import InputError
from nat.files import write_json
from nat.fronts import best_within
from nat.pareto import hypervolume
from nat.preparation import problem_of
from nat.report.comparison import write_comparison
from nat.report.comparison_plots import plot_comparison
from nat.run_folder import RunFolder
from nat.searchers import SEARCHERS

SCHEMA = 1
Floats = NDArray[np.float64]
NOTES = (
    "Hypervolume is the share of the box up to error 1 and the dearest subnet's multiply-adds that a front dominates, "
    "on the validation images that the search saw, with the shared weights. Test accuracies are those of nets "
    "retrained (fine-tuned) after the search, each chosen by validation accuracy within its multiply-adds.",
    "Intervals are 95 %, for the mean of differences paired by seed; several are looked at, without a correction.",
)


def write_report(folder: ComparisonFolder, comparison: Comparison) -> dict[str, Any]:
    """Writes compare.json, compare.png and report.html of all runs that are finished.

    Returns:
        The content of compare.json.
    """
    finished = [folder.run(*pair) for pair in comparison.pairs if folder.finished(*pair)]
    corner = _corner(finished)
    runs = [_run(folder, comparison, name, seed, corner) for name, seed in comparison.pairs]
    strategies = [_strategy(folder, comparison, name, runs) for name in comparison.options.searchers]
    failed = [run for run in runs if run["error"]]
    first = finished[0].read_front() if finished else {}
    verdict = [s["says"] for s in strategies if s["name"] != CONTROL] + [
        f"{run['searcher']}, seed {run['seed']} failed: {run['error']}" for run in failed
    ]
    report = {
        "schema": SCHEMA,
        "finished": all(run["finished"] for run in runs),
        "dataset": first.get("dataset", comparison.options.transfer.data),
        "supernet": comparison.options.transfer.supernet,
        "effort": comparison.options.transfer.effort,
        "seeds": list(range(comparison.options.seeds)),
        "searchers": list(comparison.options.searchers),
        "budget": comparison.budget,
        "usual_budget": comparison.usual,
        "reference_point": {"top1_error": 1.0, "macs": corner},
        "macs": list(comparison.macs),
        "finetuning_steps": comparison.tuning_steps,
        "strategies": strategies,
        "runs": runs,
        "verdict": verdict,
        "notes": list(NOTES),
    }
    if finished:
        plot_comparison(report, folder.picture)
    write_json(folder.report, report)
    with suppress(InputError):  # nat report makes it at any time, and says what is wrong
        write_comparison(folder.path, folder.page)
    return report


def _corner(finished: Sequence[RunFolder]) -> float:
    """The greatest multiply-adds of any run's reference point: one box for all."""
    return max((run.read_front()["reference_point"]["macs"] for run in finished), default=0.0)


# --- runs ----------------------------------------------------------------------------------------------------------


def _run(folder: ComparisonFolder, comparison: Comparison, name: str, seed: int, corner: float) -> dict[str, Any]:
    """One run as compare.json has it."""
    run, error = folder.run(name, seed), folder.error(name, seed)
    row = {"searcher": name, "seed": seed, "folder": str(run.path.relative_to(folder.path)), "finished": True}
    if not folder.finished(name, seed):
        lines = error.read_text(encoding="utf-8").splitlines() if error.is_file() else []
        reason = lines[0] if lines else "it has not come to its end"
        return row | {"finished": False, "error": reason, "charge": None, "curve": [], "nets": []}
    front = run.read_front()
    charges = [event for event in run.read_events() if event["event"] == "searched"][-1]["charges"]
    curve = [
        {"round": number, "passes": charge["total"], "hypervolume": value}
        for number, (charge, value) in enumerate(zip(charges, _volumes(run, corner), strict=False))
    ]
    return row | {
        "error": None,
        "charge": charges[-1],
        "seconds": front["seconds"],
        "evaluations": front["evaluations"],
        "failed_evaluations": front["failures"]["count"],
        "hypervolume": curve[-1]["hypervolume"],
        "curve": curve,
        "nets": _nets(front["front"], comparison.macs),
    }


def _volumes(run: RunFolder, corner: float) -> list[float]:
    """The hypervolume after each round, of the evaluations with its weights, in the comparison's box."""
    problem, volumes = problem_of(run), []
    with Archive(run.archive, read_only=True) as archive:
        for version in archive.versions:
            done = problem.keeping(archive.at_version(version))
            values = np.array([[e.objectives["top1_error"], e.objectives["macs"]] for e in done]).reshape(-1, 2)
            volumes.append(hypervolume(values, np.array([1.0, corner])))
    return volumes


def _nets(rows: Sequence[Mapping[str, Any]], budgets: Sequence[int]) -> list[dict[str, Any] | None]:
    """The retrained net within each budget of multiply-adds, as the search chose it; None where there is none."""
    tuned = [row for row in rows if row["finetuned_val_top1"] is not None]
    chosen = best_within([row["macs"] for row in tuned], [1.0 - row["val_top1"] for row in tuned], budgets)
    keys = ("id", "macs", "val_top1", "finetuned_val_top1", "test_top1")
    return [
        None if i is None else {"within": budget, **{key: tuned[i][key] for key in keys}}
        for budget, i in zip(budgets, chosen, strict=True)
    ]


# --- strategies ----------------------------------------------------------------------------------------------------


def _strategy(
    folder: ComparisonFolder, comparison: Comparison, name: str, runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """One strategy as compare.json has it: over its seeds, and against random search."""
    ours, theirs = ([run for run in runs if run["searcher"] == one and run["finished"]] for one in (name, CONTROL))
    row = {
        "name": name,
        "title": SEARCHERS[name].title,
        "runs": len(ours),
        "failed": comparison.options.seeds - len(ours),
        "charge": _mean_charge(ours),
        "seconds": summary({run["seed"]: run["seconds"] for run in ours}),
        "hypervolume": summary(_volume(ours)),
        "curve": _curve(ours),
        "test_top1": [
            {"within": budget, **summary(_accuracy(ours, place))} for place, budget in enumerate(comparison.macs)
        ],
        "mean_test_top1": summary(_accuracy(ours)),
    }
    if name == CONTROL:
        return row | {"against_random": None, "says": "the control"}
    gaps = {
        "hypervolume": difference(_volume(ours), _volume(theirs)),
        "mean_test_top1": difference(_accuracy(ours), _accuracy(theirs), _on_images(folder, ours, theirs)),
    }
    return row | {"against_random": gaps, "says": sentence(name, gaps["hypervolume"], gaps["mean_test_top1"])}


def _mean_charge(runs: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    if not runs:
        return None
    return {part: float(np.mean([run["charge"][part] for run in runs])) for part in runs[0]["charge"]}


def _volume(runs: Sequence[dict[str, Any]]) -> dict[int, float]:
    return {run["seed"]: run["hypervolume"] for run in runs}


def _accuracy(runs: Sequence[dict[str, Any]], place: int | None = None) -> dict[int, float]:
    """Test accuracy by seed within one budget of multiply-adds, or the mean over all; where there is a net in each."""
    nets = {run["seed"]: run["nets"] if place is None else [run["nets"][place]] for run in runs}
    return {seed: float(np.mean([net["test_top1"] for net in row])) for seed, row in nets.items() if all(row)}


def _curve(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation of the hypervolume at the end of each round that all runs have, with the mean charge."""
    found = []
    for points in zip(*(run["curve"] for run in runs), strict=False):
        volumes = summary({run["seed"]: point["hypervolume"] for run, point in zip(runs, points, strict=True)})
        passes = float(np.mean([point["passes"] for point in points]))
        found.append({"round": points[0]["round"], "passes": passes, "mean": volumes["mean"], "std": volumes["std"]})
    return found


def _on_images(
    folder: ComparisonFolder, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]
) -> list[Floats]:
    """For each common seed, by how much the mean over the budgets differs on each test image."""
    rights = [{run["seed"]: _right(folder, run) for run in runs if all(run["nets"])} for runs in (ours, theirs)]
    gaps = [rights[0][seed] - rights[1][seed] for seed in rights[0] if seed in rights[1]]
    return gaps if len({len(gap) for gap in gaps}) == 1 and len(gaps[0]) else []


def _right(folder: ComparisonFolder, run: dict[str, Any]) -> Floats:
    """Share of a run's nets that are right on each test image; empty where a bundle does not say."""
    subnets = RunFolder(folder.path / run["folder"]).subnets
    rows = [read_correct(subnets / net["id"]).get("test") for net in run["nets"]]
    known = [row.astype(float) for row in rows if row is not None]
    return np.mean(known, axis=0) if len(known) == len(rows) else np.empty(0)
