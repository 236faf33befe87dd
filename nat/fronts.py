"""Fronts: which of the evaluated subnets are reported, and how they look as data."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.bootstrap import intervals
from nat.objectives import BALANCED, CALIBRATION, ERROR, MACRO_F1, WORST_RECALL, Named
from nat.pareto import hypervolume, non_dominated, spread_subset
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture

SCHEMA = 1
TESTED = "test_"  # begins the names of errors on test images
TOLD: dict[str, Callable[[Mapping[str, Any]], float]] = {  # errors by what metrics.json tells of a split
    BALANCED.name: lambda split: 1.0 - float(split["balanced_accuracy"]),
    MACRO_F1.name: lambda split: 1.0 - float(split["macro_f1"]),
    CALIBRATION.name: lambda split: float(split["calibration_error"]),
    WORST_RECALL.name: lambda split: 1.0 - min(recall for recall in split["recalls"] if recall is not None),
}
CONTRACT = ("macs", "params", "resolution", ERROR)  # objectives that rows have in any case


def pareto_set(problem: SearchProblem, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The non-dominated evaluations among those that keep the problem's `max_error`, cheapest first."""
    evaluations = problem.keeping(evaluations)
    if not evaluations:
        return []
    mask = non_dominated(problem.values_of(evaluations))
    front = [evaluation for evaluation, first in zip(evaluations, mask, strict=True) if first]
    return sorted(front, key=lambda evaluation: evaluation.objectives["macs"])


def thinned(front: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """At most `count` of a front, spread over the multiply-adds, both ends among them."""
    if len(front) <= count:
        return list(front)
    chosen = spread_subset(np.array([evaluation.objectives["macs"] for evaluation in front]), count)
    return [front[i] for i in sorted(chosen)]


def best_within(macs: Sequence[float], errors: Sequence[float], budgets: Sequence[float]) -> list[int | None]:
    """Which net is the most accurate within each budget of multiply-adds; None where no net is within it.

    Args:
        macs: of the nets.
        errors: of the nets, as the search measured them.
        budgets: multiply-adds.
    """
    order = sorted(range(len(macs)), key=lambda i: (errors[i], macs[i]))
    return [next((i for i in order if macs[i] <= budget), None) for budget in budgets]


def within(problem: SearchProblem, front: Sequence[Evaluation]) -> list[Evaluation]:
    """Those of a front that keep the problem's limits and `max_error`, in the same order."""
    allowed = problem.allows(problem.encodings_of(front))
    return problem.keeping([evaluation for evaluation, keeps in zip(front, allowed, strict=True) if keeps])


def choices(
    problem: SearchProblem, evaluations: Sequence[Evaluation], rows: Sequence[Mapping[str, Any]]
) -> list[Evaluation]:
    """What may be picked out of a finished run, the most accurate first: all that was measured with the final weights.

    A net that others dominate in what was traded may still be the best within a limit on something else. Accuracy is
    the first measured objective, as the search saw it; before all others stands the row that joined the front without
    having been found, which no other one of the front reaches.

    Args:
        problem: of the search.
        evaluations: with the final weights.
        rows: the front of front.json.
    """
    found = {evaluation.architecture.id for evaluation in pareto_set(problem, evaluations)}
    joined = {row["id"]: _evaluation(problem, row) for row in rows if row["id"] not in found}
    searched = sorted(
        (each for each in problem.keeping(evaluations) if each.architecture.id not in joined),
        key=lambda evaluation: (evaluation.objectives[problem.error], evaluation.objectives["macs"]),
    )
    return [*joined.values(), *searched]


def cheaper_and_cheaper(ranked: Sequence[Evaluation]) -> list[Evaluation]:
    """Those of a ranking that have fewer multiply-adds than all before them: what budgets of multiply-adds may pick."""
    found, least = list[Evaluation](), math.inf
    for evaluation in ranked:
        if evaluation.objectives["macs"] < least:
            found.append(evaluation)
            least = evaluation.objectives["macs"]
    return found


def _evaluation(problem: SearchProblem, row: Mapping[str, Any]) -> Evaluation:
    net = Architecture.from_json(row["architecture"])
    return Evaluation(net, {ERROR: 1.0 - row["val_top1"], **problem.known_of(net)}, round=0, weights_version=0)


def front_hypervolume(problem: SearchProblem, evaluations: Sequence[Evaluation]) -> float:
    """Share of the box from the origin to the problem's reference point that the evaluations dominate."""
    if not evaluations:
        return 0.0
    return hypervolume(problem.values_of(evaluations), problem.reference_point(), problem.ideal_point())


def limits_given(problem: SearchProblem) -> dict[str, float | None]:
    """The limits by the names of their objectives; those on multiply-adds and parameters also where there are none."""
    limits = problem.limits.by_name()
    return {name: most for name, most in limits.items() if name in ("macs", "params") or most is not None}


def columns_of(problem: SearchProblem) -> list[Named]:
    """What rows have beyond the contract: further objectives, and what is limited."""
    return [o for o in (*problem.measured, *problem.known) if o.name not in CONTRACT]


def row(
    evaluation: Evaluation,
    metrics: dict[str, Any] | None,
    columns: Sequence[Named] = (),
    correct: Mapping[str, NDArray[np.bool_]] = MappingProxyType({}),
) -> dict[str, Any]:
    """One subnet as front.json has it; `columns_of` the problem follow by name, as the search saw them.

    `val_top1` is what the search saw: the adapted supernet's weights with recalibrated batch norm.
    `finetuned_val_top1` and `test_top1` are the fine-tuned net's, `val_interval` and `test_interval` their 95 %
    bootstrap intervals over images, from what the net is right on (`correct`, by split). A net that found no time for
    fine-tuning has the same with the supernet's weights, and `finetuned` is false.
    """
    return {
        "id": evaluation.architecture.id,
        "architecture": evaluation.architecture.to_json(),
        "macs": round(evaluation.objectives["macs"]),
        "params": round(evaluation.objectives["params"]),
        "resolution": evaluation.architecture.resolution,
        "val_top1": 1.0 - evaluation.objectives[ERROR],
        "finetuned": metrics is not None and metrics.get("finetuned", True),
        "finetuned_val_top1": metrics["val"]["top1"] if metrics else None,
        "test_top1": metrics["test"]["top1"] if metrics else None,
        **intervals(correct),
        **{column.name: evaluation.objectives[column.name] for column in columns},
        **(tested(metrics, columns) if metrics else {}),
    }


def tested(metrics: Mapping[str, Any], columns: Sequence[Named]) -> dict[str, float]:
    """The errors on test images that metrics.json tells, of objectives among columns; "test_" begins their names."""
    return {TESTED + o.name: TOLD[o.name](metrics["test"]) for o in columns if o.name in TOLD}


def titles(columns: Sequence[Named]) -> list[dict[str, str]]:
    """`columns` of front.json: name, title and unit of each, and of what `tested` adds."""
    found = [{"name": o.name, "title": o.title, "unit": o.unit} for o in columns]
    told = [o for o in columns if o.name in TOLD]
    return found + [{"name": TESTED + o.name, "title": f"test {o.title}", "unit": o.unit} for o in told]


def control_row(
    name: str,
    kind: str,
    metrics: dict[str, Any],
    known: Mapping[str, float] | None = None,
    columns: Sequence[Named] = (),
    correct: Mapping[str, NDArray[np.bool_]] = MappingProxyType({}),
) -> dict[str, Any]:
    """A control as front.json has it; what is known of it beyond the contract follows by name.

    `kind` is largest, smallest, random, timm or source; the last two are no subnets of the run and have no `id`.
    `judges` is false of a network that began with random weights where the front's nets did not, or the other way
    round; `lacks` says why, where trained weights could not be had.
    """
    return {
        "name": name,
        "kind": kind,
        **({"id": metrics["id"]} if "id" in metrics else {}),
        "macs": metrics["macs"],
        "params": metrics["params"],
        "resolution": metrics["resolution"],
        "finetuned_val_top1": metrics["val"]["top1"],
        "test_top1": metrics["test"]["top1"],
        "judges": metrics.get("judges", True),
        **({"lacks": metrics["lacks"]} if metrics.get("lacks") else {}),
        **intervals(correct),
        **{name: value for name, value in (known or {}).items() if name not in CONTRACT},
        **tested(metrics, columns),
    }
