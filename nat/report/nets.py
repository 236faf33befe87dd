"""The nets of a report: the front, the controls, and all that `nat pick` may choose, each once, as plain data."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from nat.archive import Evaluation
from nat.bootstrap import intervals, read_correct
from nat.errors import NatError
from nat.fronts import row
from nat.predictions import Predictions
from nat.problem import SearchProblem
from nat.report.answers import answer_table, examples
from nat.report.drawing import drawing
from nat.run_folder import RunFolder
from nat.supernet.architecture import Architecture
from nat.supernet.space import MobileNetSpace
from nat.verdict import breaks

COSTS = ("macs", "params", "resolution")
NUMBERS = (*COSTS, "val_top1", "finetuned_val_top1", "test_top1", "val_interval", "test_interval")


def nets_of(front: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The nets of front.json by id, the numbers as they stand there; a control that is on the front is one net.

    Controls that are no subnets of the run have no id and go by their names.
    """
    nets: dict[str, dict[str, Any]] = {}
    columns = [column["name"] for column in front.get("columns", [])]
    for row_ in front["front"]:
        nets[row_["id"]] = {
            **_numbers(row_, columns),
            "finetuned": row_.get("finetuned", False),
            "architecture": row_.get("architecture"),
            "control": None,
        }
    for control in front["controls"]:
        id = str(control.get("id", control["name"]))
        made = {**_numbers(control, columns), "finetuned": True, "architecture": control.get("architecture")}
        net = nets.setdefault(id, made)
        net["control"], net["over"] = control["name"], breaks(control, front.get("limits", {}))
        net["folder"] = control.get("folder")
    return nets


def _numbers(source: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {key: source.get(key) for key in (*NUMBERS, *columns)}


def add_pickable(nets: dict[str, dict[str, Any]], ranked: Sequence[Evaluation]) -> list[str]:
    """Adds the subnets that `nat pick` may choose beside those that were fine-tuned; gives the ids of all it may,
    in the order given."""
    for evaluation in ranked:
        found = row(evaluation, None)
        made = {**_numbers(found, ()), "finetuned": False, "architecture": found["architecture"], "control": None}
        nets.setdefault(evaluation.architecture.id, made)
    return [evaluation.architecture.id for evaluation in ranked]


def add_architectures(nets: Mapping[str, dict[str, Any]], problem: SearchProblem) -> None:
    """Adds `blocks`, what a page draws of each; None of a net that is not of the run's space."""
    space = problem.space
    if not isinstance(space, MobileNetSpace):
        return
    ends = {end.id: end.to_json() for end in (space.largest(), space.smallest())}
    for id, net in nets.items():
        net["architecture"] = net["architecture"] or ends.get(id)
        try:
            architecture = Architecture.from_json(net["architecture"] or {})
            space.validate(architecture)
        except NatError:
            continue
        net["blocks"] = drawing(space, architecture)


def add_folders(nets: Mapping[str, dict[str, Any]], folder: RunFolder, out: Path) -> dict[str, Path]:
    """Adds `folder`, the address of each net's folder as seen from a page at `out`; gives the bundles by id.

    Folders of networks of timm are no bundles.
    """
    bundles = {}
    for id, net in nets.items():
        place = folder_of(folder, id, net.get("folder"))
        net["folder"] = None
        if place is not None:
            net["folder"] = quote(os.path.relpath(place.absolute(), out.parent.absolute()).replace(os.sep, "/")) + "/"
            if (place / "architecture.json").is_file():
                bundles[id] = place
    return bundles


def folder_of(folder: RunFolder, id: str, named: str | None = None) -> Path | None:
    """The folder of a net, as front.json names it, else among the front's or the controls'."""
    last = Path(named or id).name
    if last != (named or id).removeprefix("controls/"):
        return None
    places = (place / last for place in ((folder.controls,) if named else (folder.subnets, folder.controls)))
    return next((place for place in places if (place / "metrics.json").is_file()), None)


def add_answers(
    nets: Mapping[str, dict[str, Any]],
    bundles: Mapping[str, Path],
    predictions: Mapping[str, Predictions],
    classes: int,
) -> None:
    """Adds what nets answer to test images, and intervals where front.json has none."""
    for id, bundle in bundles.items():
        net, correct = nets[id], dict(read_correct(bundle))
        if id in predictions:
            net["answers"] = answer_table(predictions[id], classes)
            net["examples"] = examples(predictions[id])
            correct.setdefault("test", predictions[id].right)
        if any(net[key] is None for key in ("val_interval", "test_interval")):
            found = intervals({split: np.asarray(right) for split, right in correct.items()})
            for key, interval in found.items():
                net[key] = net[key] or interval
