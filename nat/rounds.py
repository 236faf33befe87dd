"""What every round of a search found, for the records: all of it follows from the archive, the times from the events.

Predictions are judged on the architectures that they were made for, none of which the surrogate had seen: they are kept
before the evaluation. MSuNAS and its kin log the correlation over the training archive as well, which an interpolating
surrogate makes 1 whatever it is worth.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau, norm, spearmanr

from nat.archive import Archive, Evaluation, Proposal
from nat.fronts import front_hypervolume
from nat.objectives import ERROR
from nat.problem import SearchProblem

INTERVALS = (50, 90)
PARTS = ("adapt", "evaluate", "fit", "evolve", "other")
LEAST_COMPARED = 3
START = -1  # stands for what comes before round 0


def newest_whole(archive: Archive, events: Iterable[Mapping[str, Any]]) -> list[Evaluation]:
    """The evaluations of the last round that was evaluated whole, or of the first one while there is none."""
    last = _last_whole(archive, events)
    done = [evaluation for evaluation in archive.evaluations() if not evaluation.failed]
    version = max((evaluation.weights_version for evaluation in done if evaluation.round <= last), default=0)
    return [evaluation for evaluation in done if evaluation.weights_version == version and evaluation.round <= last]


def _last_whole(archive: Archive, events: Iterable[Mapping[str, Any]]) -> int:
    """The last round that was evaluated whole, by its event or because a later one has begun; 0 while there is none."""
    whole = {event["round"] for event in events if event["event"] == "round" and "round" in event}
    begun = {evaluation.round for evaluation in archive.evaluations()}
    newest = max(begun, default=0)
    whole |= begun - {newest} | ({newest} if archive.proposals(newest + 1) else set())
    return max(whole, default=0)


def quality(proposals: Sequence[Proposal], evaluations: Iterable[Evaluation], error: str = ERROR) -> dict[str, Any]:
    """How well errors were predicted, out of sample.

    Args:
        proposals: with the predictions that were made of them.
        evaluations: of one round; failed ones, and those of other architectures, are left out.
        error: name of the objective that was predicted.

    Returns:
        `compared`: of how many architectures there are both; `kendall_tau` and `spearman` of predicted and measured
        errors; `bias`: mean of measured less predicted error (training between the two lowers it); `within_50` and
        `within_90`: share of measured errors in the central intervals predicted; `rms_z`: root mean square of the
        deviations in units of those predicted, 1 if calibrated. None where there is too little to tell.
    """
    measured = {e.architecture: e.objectives[error] for e in evaluations if not e.failed}
    pairs = [(p, measured[p.architecture]) for p in proposals if p.mean is not None and p.architecture in measured]
    mean = np.array([p.mean for p, _ in pairs], dtype=float)
    errors = np.array([error for _, error in pairs], dtype=float)
    enough = len(pairs) >= LEAST_COMPARED and len(set(mean)) > 1 and len(set(errors)) > 1
    return {
        "compared": len(pairs),
        "kendall_tau": float(kendalltau(mean, errors).statistic) if enough else None,
        "spearman": float(spearmanr(mean, errors).statistic) if enough else None,
        "bias": float(np.mean(errors - mean)) if pairs else None,
        **_calibration([p.deviation for p, _ in pairs], errors - mean),
    }


def _calibration(deviations: Sequence[float | None], residuals: Any) -> dict[str, float | None]:
    given = np.array([d if d is not None and d > 0 else math.nan for d in deviations], dtype=float)
    z = np.abs(residuals[~np.isnan(given)] / given[~np.isnan(given)])
    if len(z) < LEAST_COMPARED:
        return {**{f"within_{share}": None for share in INTERVALS}, "rms_z": None}
    widths = {share: norm.ppf(0.5 + share / 200) for share in INTERVALS}
    shares: dict[str, float | None] = {f"within_{share}": float(np.mean(z <= widths[share])) for share in INTERVALS}
    return {**shares, "rms_z": float(np.sqrt(np.mean(z**2)))}


def round_record(
    problem: SearchProblem, rows: Sequence[Evaluation], proposals: Sequence[Proposal], round: int
) -> dict[str, Any]:
    """What one round found, but for its times.

    Args:
        problem: objectives.
        rows: all evaluations of the archive, done and failed; later rounds are left out.
        proposals: what was proposed for the round.
        round: its number.

    Returns:
        `round`; `proposed`: new architectures; `failed`: evaluations that failed in it; `evaluations`: all that were
        done up to its end; `hypervolume`: of those with its weights; and what `quality` tells.
    """
    until = [e for e in rows if e.round <= round]
    ours = [e for e in until if e.round == round]
    version = max((e.weights_version for e in ours), default=-1)
    current = [e for e in until if e.weights_version == version and not e.failed]
    return {
        "round": round,
        "proposed": len(proposals),
        "failed": sum(e.failed for e in ours),
        "evaluations": sum(not e.failed for e in until),
        "hypervolume": front_hypervolume(problem, current),
        **quality(proposals, ours, problem.error),
    }


def records(problem: SearchProblem, archive: Archive, events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One record for each round that was evaluated whole; the first one as far as it is.

    Args:
        problem: objectives.
        archive: of the run.
        events: of the run.

    Returns:
        What `round_record` tells; `seconds`: wall-clock time of the run up to the last evaluation of the round, over
        all sessions; and `cost`: seconds by part, "fit" the surrogate, "evolve" on it, and "other", which is all
        that is none of the parts (bookkeeping, files, what a kill made do again).
    """
    rows, events = archive.evaluations(), list(events)
    (costs, ends), last = _costs(events), _last_whole(archive, events)
    found, before = [], ends.get(START, 0.0)
    for round in sorted({evaluation.round for evaluation in rows if evaluation.round <= last}):
        cost, end = costs[round], ends.get(round, before)
        cost["other"] = max(0.0, end - before - sum(cost.values()))
        times = {"seconds": end, "cost": {part: cost[part] for part in PARTS}}
        found.append(round_record(problem, rows, archive.proposals(round), round) | times)
        before = end
    return found


def _costs(events: Iterable[Mapping[str, Any]]) -> tuple[dict[int, dict[str, float]], dict[int, float]]:
    """Seconds of each part of each round, and the reading of the run's clock at the end of each round."""
    costs: dict[int, dict[str, float]] = defaultdict(lambda: dict.fromkeys(PARTS, 0.0))
    ends: dict[int, float] = {}
    for event in events:
        if event["event"] == "start":
            ends[START] = event.get("elapsed", 0.0)
        if (round := event.get("round")) is None:
            continue
        if event["event"] in ("adapt", "evaluate"):
            costs[round][event["event"]] += event["seconds"]
            ends[round] = event.get("elapsed", 0.0)
        for part in ("fit", "evolve"):
            costs[round][part] += event.get(part, 0.0)
    return costs, ends
