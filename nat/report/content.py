"""Everything that a report says about a run, as one plain dictionary; the page and the figures draw it.

A run that is not finished, or was made by an older version, has less: what is missing is None or empty, and `notes`
say why.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nat.archive import Archive, Evaluation, now
from nat.datasets.splits import Splits
from nat.errors import NatError
from nat.files import read_json
from nat.fronts import cheaper_and_cheaper, choices
from nat.objectives import ERROR
from nat.preparation import problem_of
from nat.problem import SearchProblem
from nat.progress import Progress
from nat.report.answers import images_shown
from nat.report.genes import effects
from nat.report.headline import headline
from nat.report.measuring import Images
from nat.report.nets import add_answers, add_architectures, add_folders, add_pickable, nets_of
from nat.reports import front_so_far
from nat.rounds import newest_whole, records
from nat.run_folder import RunFolder

SCHEMA = 1
COSTS = ("prepare", "adapt", "evaluate", "fit", "evolve", "finetune", "other")
EVENTS = {
    "start": "prepare",
    "adapt": "adapt",
    "evaluate": "evaluate",
    "control": "finetune",
    "finetune": "finetune",
}  # parts of a run by their events


def gather(
    folder: RunFolder, out: Path, progress: Progress, splits: Splits | None = None, *, images: bool = True
) -> dict[str, Any]:
    """What a report says.

    Args:
        folder: of the run, finished or not.
        out: where the page will be, which its links start from.
        progress: shows how far it is.
        splits: the images of the run, where they have been read already.
        images: whether they may be read for what the run does not keep: pictures, and answers of older versions.

    Raises:
        RunError: the folder holds no run.
    """
    config, notes = folder.read_config(), list[str]()
    front = _front(folder, notes)
    problem, evaluations, rounds = _archive(folder, front, notes)
    nets = nets_of(front)
    pareto = list[str]()
    if problem:
        found = choices(problem, evaluations, front["front"] if front.get("finished", True) else [])
        pareto = add_pickable(nets, cheaper_and_cheaper(found))
        add_architectures(nets, problem)
    bundles = add_folders(nets, folder, out)
    pictured, classes = Images(folder, progress, splits, allowed=images), _classes(list(bundles.values()))
    add_answers(nets, bundles, pictured.answers_of(bundles, len(classes)), len(classes))
    shown = {id: net["examples"] for id, net in nets.items() if net.get("examples")}
    return {
        "schema": SCHEMA,
        "made": {"version": version("neural-architecture-transfer"), "time": now()},
        "run": str(folder.path),
        "finished": front.get("finished", True),
        "headline": headline(config, front),
        "front": front,
        "nets": nets,
        "pareto": pareto,
        "searched": [[e.objectives["macs"], 1.0 - e.objectives[ERROR]] for e in evaluations],
        "rounds": rounds,
        "genes": effects(problem, evaluations) if problem else None,
        "cost": costs(folder.read_events()),
        "classes": classes,
        "pictures": pictured.pictures(images_shown(shown)),
        "config": {key: config[key] for key in ("options", "data", "versions", "threads", "device") if key in config},
        "notes": [*notes, *pictured.notes],
    }


def _front(folder: RunFolder, notes: list[str]) -> dict[str, Any]:
    """front.json, the best so far, or nothing."""
    try:
        return folder.read_front() if folder.front.is_file() else front_so_far(folder)
    except NatError as error:
        notes.append(str(error))
    except KeyError as error:  # settings of older versions lack some
        notes.append(f"The best so far cannot be told: this run of an older version does not say its {error}.")
    return {"finished": False, "front": [], "controls": [], "verdict": [], "rounds": [], "evaluations": 0}


def _archive(
    folder: RunFolder, front: Mapping[str, Any], notes: list[str]
) -> tuple[SearchProblem | None, list[Evaluation], list[dict[str, Any]]]:
    """The problem, the evaluations that the front is of, and the records of the rounds, as far as they can be read."""
    rounds: list[dict[str, Any]] = front.get("rounds", [])
    if not folder.archive.is_file():
        return None, [], rounds
    try:
        problem = problem_of(folder)
        with Archive(folder.archive, read_only=True) as archive:
            if front.get("finished", True):
                newest = front.get("weights_version", max(archive.versions, default=0))
                evaluations = archive.at_version(newest)
            else:
                evaluations = newest_whole(archive, folder.read_events())
            return problem, evaluations, rounds or records(problem, archive, folder.read_events())
    except NatError as error:
        notes.append(f"The archive of the run cannot be used: {error}")
        return None, [], rounds


def _classes(bundles: Sequence[Path]) -> list[str]:
    """Names of the classes, as the first bundle has them."""
    for bundle in bundles:
        try:
            labels = read_json(bundle / "labels.json")
        except NatError:
            continue
        if isinstance(labels, list):
            return [str(label) for label in labels]
    return []


def costs(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Wall-clock seconds of each part of a run, from its events.

    "prepare" is what comes before the first step (fitting a classifier), "fit" the surrogate's, "evolve" the search's
    on it, "finetune" all the work on the nets that are reported, "other" all that is none of these,
    and 0 for runs of older versions, whose events do not say.
    """
    seconds, elapsed = dict.fromkeys(COSTS, 0.0), 0.0
    for event in events:
        if (part := EVENTS.get(event["event"])) is not None:
            seconds[part] += float(event["seconds"])
        for part in ("fit", "evolve"):
            seconds[part] += float(event.get(part, 0.0))
        elapsed = max(elapsed, float(event.get("elapsed", 0.0)))
    seconds["other"] = max(0.0, elapsed - sum(seconds.values()))
    return {part: round(value, 3) for part, value in seconds.items()}
