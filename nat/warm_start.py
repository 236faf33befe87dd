"""Starting from an earlier run, on other images: its best architectures are the first to be evaluated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from nat.archive import Archive, Evaluation, Proposal
from nat.errors import InputError
from nat.fronts import front_hypervolume
from nat.objectives import ERROR
from nat.pareto import select_by_rank
from nat.problem import SearchProblem
from nat.rounds import newest_whole
from nat.run_folder import RunFolder
from nat.supernet.architecture import Architecture
from nat.supernet.space import MobileNetSpace


def seeds_of(run: Path, problem: SearchProblem, count: int) -> list[Proposal]:
    """The best architectures of an earlier run, by rank of non-domination there, as the new search may evaluate them.

    Input sizes are translated by their place among each run's sizes. The earlier error stands for a prediction: the
    records of round 0 then tell whether ranks carry over.

    Args:
        run: folder of the earlier run; it need not be finished.
        problem: of the new search.
        count: how many at most.

    Raises:
        RunError: there is no run, or nothing has been evaluated in it.
        InputError: no architecture of the run is one of the new search.
    """
    folder = RunFolder(run)
    sizes = MobileNetSpace.from_json(folder.read_config()["space"]).resolutions
    with Archive(folder.archive, read_only=True) as archive:
        finished = folder.front.is_file() and "weights_version" in folder.read_front()
        if finished:
            earlier = archive.at_version(folder.read_front()["weights_version"])
        else:
            earlier = newest_whole(archive, folder.read_events())
    own = problem.space
    assert isinstance(own, MobileNetSpace)
    places = {size: own.resolutions[_place(i, len(sizes), len(own.resolutions))] for i, size in enumerate(sizes)}
    error = problem.error if all(problem.error in evaluation.objectives for evaluation in earlier) else ERROR
    fitting: dict[Architecture, float] = {}
    for evaluation in sorted(earlier, key=lambda evaluation: evaluation.objectives[error]):
        net = replace(evaluation.architecture, resolution=places[evaluation.architecture.resolution])
        if _allowed(problem, own, net):
            fitting.setdefault(net, evaluation.objectives[error])
    if not fitting:
        raise InputError(
            f"no architecture of '{run}' is among this search's choices and limits. "
            "Start from a run of the same supernet, or without --warm-start."
        )
    encodings = problem.space.encode(list(fitting))
    values = SearchProblem(problem.costs).values(np.array(list(fitting.values())), encodings)
    chosen = select_by_rank(values, problem.costs.macs(encodings), count)
    proposals = [Proposal(net, error) for net, error in fitting.items()]
    return [proposals[i] for i in chosen]


def _place(index: int, sizes: int, new_sizes: int) -> int:
    """Of an input size among the new ones: as far between the least and the greatest."""
    return round(index / max(1, sizes - 1) * (new_sizes - 1))


def _allowed(problem: SearchProblem, space: MobileNetSpace, net: Architecture) -> bool:
    try:
        space.validate(net)
    except InputError:
        return False
    return bool(problem.allows(space.encode([net]))[0])


def gain(
    problem: SearchProblem, proposals: Sequence[Proposal], evaluations: Sequence[Evaluation]
) -> dict[str, Any] | None:
    """What an earlier run has saved in the initial sample, by comparison with those that came from the space alone.

    Args:
        problem: objectives.
        proposals: of round 0; seeds are those with a prediction.
        evaluations: of round 0, done and failed.

    Returns:
        `seeds`, `fresh`: how many were evaluated of each; `kendall_tau` between the earlier and the new errors of the
        seeds; `hypervolume_of_seeds`, `hypervolume_of_fresh`; `evaluations_saved`: by how many fewer seeds, best first,
        reach the hypervolume of all that are fresh, None if all together do not; `says`, a sentence. None without
        seeds.
    """
    done = {e.architecture: e for e in evaluations if not e.failed}
    seeds = [p for p in proposals if p.mean is not None and p.architecture in done]
    fresh = [done[p.architecture] for p in proposals if p.mean is None and p.architecture in done]
    if not seeds:
        return None
    warm = [done[p.architecture] for p in seeds]
    goal = front_hypervolume(problem, fresh)
    needed = next((n for n in range(1, len(warm) + 1) if front_hypervolume(problem, warm[:n]) >= goal), None)
    tau = float(kendalltau([p.mean for p in seeds], [e.objectives[problem.error] for e in warm]).statistic)
    found = {
        "seeds": len(warm),
        "fresh": len(fresh),
        "kendall_tau": None if np.isnan(tau) else tau,
        "hypervolume_of_seeds": front_hypervolume(problem, warm),
        "hypervolume_of_fresh": goal,
        "evaluations_saved": None if needed is None else len(fresh) - needed,
    }
    return found | {"says": _sentence(found, needed)}


def _sentence(found: dict[str, Any], needed: int | None) -> str:
    volumes = f"hypervolume {found['hypervolume_of_seeds']:.4f} against {found['hypervolume_of_fresh']:.4f}"
    start = f"warm start: {found['seeds']} nets of the earlier run, {found['fresh']} new ones in the first sample"
    if needed is None:
        return f"{start}; {volumes}: it saved nothing."
    return f"{start}; {volumes}: its best {needed} did as well as all new ones."
