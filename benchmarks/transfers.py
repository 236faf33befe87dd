"""What transfers reach beside their controls: one table of finished runs, those of several seeds together.

    nat transfer flowers/ --set front=3 --controls all --out runs/flowers-0
    nat transfer flowers/ --set front=3 --controls all --seed 1 --out runs/flowers-1
    python benchmarks/transfers.py runs/flowers-0 runs/flowers-1

Of each front the cheapest net, the middle one and the one that is the most accurate on validation images. A control
is a net that needed no search, trained on the same images for as many steps by the same recipe. Against each stands
the front's best net (by validation images) within the control's multiply-adds: the mean difference on the test images
over all seeds and all controls of the kind, with the 95 % interval of a paired bootstrap over images, which does not
tell what further seeds would change. The front is what the user is given: where the largest subnet joined it, that
one, too. Whether the search alone has paid is what each run's own verdict says.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from nat.bootstrap import interval, read_correct, resampled
from nat.errors import InputError
from nat.run_folder import RunFolder

KINDS = {"largest": "largest", "random": "random", "timm": "timm", "source": "source alone", "smallest": "smallest"}
Row = Mapping[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A net of the front; means over seeds. `macs` are multiply-adds, `test_top1` is in [0, 1]."""

    macs: float
    test_top1: float


@dataclass(frozen=True)
class Difference:
    """The front less controls of one kind, in [-1, 1], with a 95 % interval. `count` pairs of nets, all seeds."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Result:
    """Runs that differ in their seed alone. `seconds` are of a run, mean over seeds; `not_below`: see `judged`."""

    data: str
    supernet: str
    seeds: list[int]
    cheapest: Point
    middle: Point
    best: Point
    controls: dict[str, Point]
    differences: dict[str, Difference]
    not_below: bool
    seconds: float


def results(runs: Sequence[Path]) -> list[Result]:
    """What finished runs have found, those of the same images and supernet together, in the order given."""
    groups: dict[tuple[str, str], list[tuple[Path, Row]]] = defaultdict(list)
    for run in runs:
        front = RunFolder(run).read_front()
        groups[Path(front["dataset"]).name, Path(front["supernet"]).stem].append((run, front))
    return [_result(*key, group) for key, group in groups.items()]


def _result(data: str, supernet: str, group: Sequence[tuple[Path, Row]]) -> Result:
    fronts = [front["front"] for _, front in group]
    pairs, controls = defaultdict[str, list[Floats]](list), defaultdict[str, list[Row]](list)
    for run, front in group:
        for control in front["controls"]:
            controls[control["kind"]].append(control)
            if (pair := _pair(run, front["front"], control)) is not None:
                pairs[control["kind"]].append(pair)
    differences = {kind: _difference(pairs[kind]) for kind in KINDS if pairs[kind]}
    return Result(
        data,
        supernet,
        [front["seed"] for _, front in group],
        _point([rows[0] for rows in fronts]),
        _point([rows[len(rows) // 2] for rows in fronts]),
        _point([_best(rows) for rows in fronts]),
        {kind: _point(controls[kind]) for kind in KINDS if controls[kind]},
        differences,
        judged(differences),
        mean(front["seconds"] for _, front in group),
    )


def judged(differences: Mapping[str, Difference]) -> bool:
    """Whether the front is below no kind of control by more than chance; False where there is none to judge by."""
    return bool(differences) and all(difference.high >= 0 for difference in differences.values())


def _best(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda net: (net["finetuned_val_top1"], -net["macs"]))  # test images choose nothing


def _pair(run: Path, front: Sequence[Row], control: Row) -> Floats | None:
    """On each test image, whether the front's net is right (1 or 0) less whether the control is; None where none is."""
    rivals = [net for net in front if net["macs"] <= control["macs"]]
    if not rivals or _best(rivals)["id"] == control.get("id"):
        return None
    ours, theirs = run / "subnets" / _best(rivals)["id"], _folder(run, control)
    return read_correct(ours)["test"].astype(float) - read_correct(theirs)["test"]


def _folder(run: Path, control: Row) -> Path:
    if "folder" in control:
        return run / control["folder"]
    places = (run / place / control["id"] for place in ("subnets", "controls"))  # one that joined is with the front
    return next(place for place in places if place.is_dir())


def _difference(pairs: Sequence[Floats]) -> Difference:
    if len({len(pair) for pair in pairs}) > 1:
        raise InputError("expected runs of one data set with the same test images, got different numbers of them.")
    of_images = np.mean(pairs, axis=0)
    low, high = interval(resampled(of_images[None])[:, 0])
    return Difference(float(of_images.mean()), low, high, len(pairs))


def _point(rows: Sequence[Row]) -> Point:
    return Point(mean(net["macs"] for net in rows), mean(net["test_top1"] for net in rows))


def lines(found: Result) -> list[str]:
    """A row of the table."""
    nets = [f"{net.test_top1:.3f} at {net.macs / 1e6:.1f} M" for net in (found.cheapest, found.middle, found.best)]
    told = [
        f"{KINDS[kind]} {found.controls[kind].test_top1:.3f}: {100 * each.mean:+.1f} ({100 * each.low:+.1f} to "
        f"{100 * each.high:+.1f})"
        for kind, each in found.differences.items()
    ]
    return [found.data, found.supernet, str(len(found.seeds)), *nets, "; ".join(told), f"{found.seconds:.0f}"]


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints the nets of each front beside its controls, and on how many data sets the front is below none."""
    found = results(runs)
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    table = Table("images", "supernet", "seeds", "cheapest", "middle", "best", "front less controls, points", "seconds")
    for each in found:
        table.add_row(*lines(each))
    Console(width=160).print(table)
    fine = sum(each.not_below for each in found)
    print(f"The front is below no kind of control by more than chance in {fine} of {len(found)}.")


if __name__ == "__main__":
    typer.run(main)
