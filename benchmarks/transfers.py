"""What transfers reach beside their controls: one table of finished runs.

    nat transfer flowers/ --set front=3 --controls all --out runs/flowers
    python benchmarks/transfers.py runs/flowers runs/textures

Each net of a run's front, and each control: a net that needed no search, trained on the same images for as many steps
by the same recipe. Against each control stands the best net of the front (by validation images) within the control's
multiply-adds, on the same test images, with the 95 % interval of the difference (paired bootstrap).
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nat.run_folder import RunFolder

COLUMNS = ("data", "from", "net", "MACs", "input", "test top-1", "front's best within, less this")


def result(run: Path) -> dict[str, Any]:
    """What a finished run has found.

    Args:
        run: its folder.

    Returns:
        `data`, `supernet`, `seconds`; `front` and `controls`: their rows of front.json; `comparisons`: likewise;
        `not_below`: whether the front is below no control by more than chance.
    """
    front = RunFolder(run).read_front()
    supernet = Path(front["supernet"]).stem
    known = {key: front.get(key, []) for key in ("seconds", "front", "controls", "comparisons")}
    above = bool(known["comparisons"]) and all(comparison["high"] >= 0 for comparison in known["comparisons"])
    return {"data": Path(front["dataset"]).name, "supernet": supernet, **known, "not_below": above}


def lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table: the front's nets, then the controls, cheapest first."""
    against = {comparison["control"]: comparison for comparison in found["comparisons"]}
    head = (found["data"], found["supernet"])
    rows: list[tuple[str, ...]] = [(*head, net["id"], *_numbers(net), "") for net in found["front"]]
    for control in sorted(found["controls"], key=lambda control: control["macs"]):
        difference = against.get(control["name"])
        rows.append((*head, control["name"], *_numbers(control), _in_points(difference) if difference else "-"))
    return rows


def _numbers(net: dict[str, Any]) -> tuple[str, str, str]:
    return f"{net['macs'] / 1e6:.1f} M", f"{net['resolution']} px", f"{net['test_top1']:.3f}"


def _in_points(comparison: dict[str, Any]) -> str:
    difference, low, high = (100 * comparison[key] for key in ("difference", "low", "high"))
    return f"{difference:+.1f} ({low:+.1f} to {high:+.1f})"


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints the nets of each run beside its controls, and on how many data sets the front is below none."""
    found = [result(run) for run in runs]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(*COLUMNS)
    for each in found:
        for row in lines(each):
            table.add_row(*row)
        table.add_section()
    Console(width=130).print(table)
    for each in found:
        said = "below no control" if each["not_below"] else "below a control"
        print(f"{each['data']} from {each['supernet']}: {said}, {each['seconds']:.0f} s")


if __name__ == "__main__":
    typer.run(main)
