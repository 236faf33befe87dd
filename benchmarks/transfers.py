"""What transfers reach beside their controls: one table of finished runs, those of several seeds together.

    nat transfer flowers/ --set front=3 --controls all --out runs/flowers-0
    nat transfer flowers/ --set front=3 --controls all --seed 1 --out runs/flowers-1
    python benchmarks/transfers.py runs/flowers-0 runs/flowers-1

Of each front the cheapest net, the middle one and the one that is the most accurate on validation images. A control
is a net that needed no search, trained on the same images for as many steps by the same recipe. Against each within
the budget stands the front's best net (by validation images) within the control's multiply-adds: the mean difference
on the test images over all seeds and all controls of the kind, with the 95 % interval of a paired bootstrap over
images, which does not tell what further seeds would change. The front is what the user is given: where the largest
subnet joined it, that one, too, and the difference from itself is nothing. Whether the search alone has paid is what
each run's own verdict says.
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

from nat.bootstrap import Correct, interval, read_correct, resampled
from nat.errors import InputError
from nat.predictions import Predictions
from nat.run_folder import RunFolder
from nat.verdict import breaks

KINDS = {
    "largest": "largest",
    "random": "random",
    "timm": "timm",
    "scratch": "timm from scratch",
    "source": "source alone",
}
FREE = ("seed", "threads")  # options in which runs of one result may differ
Row = Mapping[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A net of the front; means over seeds. `macs` are multiply-adds, `test_top1` is in [0, 1]."""

    macs: float
    test_top1: float


@dataclass(frozen=True)
class Difference:
    """The front less controls of one kind, in [-1, 1], with a 95 % interval.

    Attributes:
        control: the controls, means over seeds.
        mean: over test images, seeds and controls.
        low: lower end of the interval.
        high: upper end.
        count: controls, of all seeds together.
    """

    control: Point
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
    differences: dict[str, Difference]
    not_below: bool
    seconds: float


def results(runs: Sequence[Path]) -> list[Result]:
    """What finished runs have found, those of the same images and supernet together, in the order given.

    Raises:
        InputError: runs of the same images and supernet differ in more than their seed, or in their test images.
    """
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for run in runs:
        front = RunFolder(run).read_front()
        groups[front["dataset"], Path(front["supernet"]).stem].append(run)
    return [_result(Path(data).name, supernet, group) for (data, supernet), group in groups.items()]


def _result(data: str, supernet: str, group: Sequence[Path]) -> Result:
    fronts = [RunFolder(run).read_front() for run in group]
    _check_alike(group, [front["seed"] for front in fronts])
    pairs: dict[str, list[tuple[Row, Floats]]] = defaultdict(list)
    for run, front in zip(group, fronts, strict=True):
        for control in front["controls"]:
            rivals = [net for net in front["front"] if net["macs"] <= control["macs"]]
            if control["kind"] in KINDS and rivals and not breaks(control, front["limits"]):
                kind = control["kind"] if control.get("judges", True) else "scratch"
                pairs[kind].append((control, _pair(run, _best(rivals), control, front["num_classes"])))
    differences = {kind: _difference(pairs[kind]) for kind in KINDS if pairs[kind]}
    return Result(
        data,
        supernet,
        [front["seed"] for front in fronts],
        _point([front["front"][0] for front in fronts]),
        _point([front["front"][len(front["front"]) // 2] for front in fronts]),
        _point([_best(front["front"]) for front in fronts]),
        differences,
        judged(differences),
        mean(front["seconds"] for front in fronts),
    )


def _check_alike(group: Sequence[Path], seeds: Sequence[int]) -> None:
    first, *others = (RunFolder(run).read_config() for run in group)
    told = [{key: value for key, value in each["options"].items() if key not in FREE} for each in (first, *others)]
    if any(each != told[0] for each in told) or len(set(seeds)) < len(seeds):
        raise InputError(f"expected runs of '{told[0].get('data')}' that differ in their seed alone, got others.")


def judged(differences: Mapping[str, Difference]) -> bool:
    """Whether the front is below no kind of control by more than chance; False where there is none to judge by."""
    return bool(differences) and all(difference.high >= 0 for difference in differences.values())


def _best(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda net: (net["finetuned_val_top1"], -net["macs"]))  # test images choose nothing


def _pair(run: Path, net: Row, control: Row, classes: int) -> Floats:
    """Whether the front's net is right (1 or 0) less whether the control is; then the labels; of n images, (2, n)."""
    ours, theirs = run / "subnets" / net["id"], _folder(run, control)
    told = Predictions.read(ours, classes)
    if told is None:
        raise InputError(f"expected the net's predictions in '{ours}', found none.")
    return np.stack([_right(ours).astype(float) - _right(theirs), told.labels])


def _right(folder: Path) -> Correct:
    found = read_correct(folder).get("test")
    if found is None:
        raise InputError(f"expected what a net is right on in '{folder}', found none.")
    return found


def _folder(run: Path, control: Row) -> Path:
    if "folder" in control:
        return run / control["folder"]
    joined = run / "subnets" / control["id"]  # it is with the front then
    return joined if joined.is_dir() else run / "controls" / control["id"]


def _difference(pairs: Sequence[tuple[Row, Floats]]) -> Difference:
    labels = [pair[1] for _, pair in pairs]
    if not all(np.array_equal(each, labels[0]) for each in labels):
        raise InputError("expected data with test images of their own, got runs that have tested on different images.")
    of_images = np.mean([pair[0] for _, pair in pairs], axis=0)
    low, high = interval(resampled(of_images[None])[:, 0])
    return Difference(_point([control for control, _ in pairs]), float(of_images.mean()), low, high, len(pairs))


def _point(rows: Sequence[Row]) -> Point:
    return Point(mean(net["macs"] for net in rows), mean(net["test_top1"] for net in rows))


def lines(found: Result) -> list[str]:
    """A row of the table."""
    nets = [f"{net.test_top1:.3f} at {net.macs / 1e6:.1f} M" for net in (found.cheapest, found.middle, found.best)]
    told = [
        f"{KINDS[kind]} {each.control.test_top1:.3f}: {100 * each.mean:+.1f} ({100 * each.low:+.1f} to "
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
