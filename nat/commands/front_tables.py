"""What a run has found, as tables: the front, its controls and verdict; what each round did."""

from pathlib import Path
from typing import Any

from nat.commands.console import latency_in_words, millions, percent, print_json, print_table, with_unit
from nat.errors import RunError


def show_front(report: dict[str, Any], out: Path, json: bool) -> None:
    """The front and the controls, cheapest first, and how they compare."""
    from nat.verdict import breaks

    if json:
        print_json(report)
        return
    if not report["front"]:
        raise RunError(f"the run in '{out}' has no front.")
    further = report.get("columns", [])
    rows = [_cells(net, net["id"], further) for net in report["front"]]
    limits = report.get("limits", {})
    for control in report["controls"]:
        mark = ", over the budget" if breaks(control, limits) else ""
        rows.append(_cells(control, control["name"].replace(" subnet", "") + mark, further))
    columns = [("subnet", "left"), ("MACs", "right"), ("params", "right"), ("input", "right")]
    columns += [(column["title"], "right") for column in further]
    columns += [("val in search", "right"), ("val", "right"), ("test", "right")]
    title = f"{report['dataset']}: {report['evaluations']} evaluations in {report['seconds']:.0f} s"
    print_table(title, columns, rows)
    if compared := report.get("comparisons"):
        _show_comparisons(compared, {net["id"]: net for net in report["front"]}, report["controls"])
    for sentence in report["verdict"]:
        print(sentence)
    if latency := report.get("latency"):
        print(latency_in_words(latency))
    for reason in (failures := report.get("failures", {"count": 0, "reasons": []}))["reasons"]:
        print(f"{reason['count']} of {failures['count']} failed evaluations: {reason['error']}")
    if report.get("finished", True):
        print(f"picture: {out / 'front.png'}   subnets: {out / 'subnets'}")
        page = out / "report.html"
        print(f"report: {page if page.is_file() else f'nat report {out}'}")


def _cells(net: dict[str, Any], name: str, further: list[dict[str, str]]) -> tuple[str, ...]:
    return (
        name,
        millions(net["macs"]),
        millions(net["params"]),
        f"{net['resolution']} px",
        *(with_unit(net.get(column["name"]), column["unit"]) for column in further),
        percent(net.get("val_top1")),
        percent(net["finetuned_val_top1"]),
        percent(net["test_top1"]),
    )


def _show_comparisons(
    compared: list[dict[str, Any]], front: dict[str, dict[str, Any]], controls: list[dict[str, Any]]
) -> None:
    """A line for each control that can be compared; runs of older versions do not say which net reaches it."""
    macs = {control["name"]: control["macs"] for control in controls}

    def share(net: str | None, control: str) -> str:
        return f"{net}, {front[net]['macs'] / macs[control]:.2f}x" if net in front else "none"

    rows = [
        (
            each["control"].replace(" subnet", ""),
            share(each["net"], each["control"]),
            f"{100 * each['difference']:+.1f}",
            f"{100 * each['low']:+.1f} to {100 * each['high']:+.1f}",
            share(each["reached_by"], each["control"]) if "reached_by" in each else "",
        )
        for each in compared
    ]
    columns = [("control", "left"), ("best net within its MACs", "left"), ("points", "right"), ("95 %", "right")]
    title = "the search's nets against controls, on the same test images (paired bootstrap)"
    print_table(title, [*columns, ("as good on val", "left")], rows)


PARTS = ("adapt", "evaluate", "fit", "evolve", "other")


def show_rounds(rounds: list[dict[str, Any]]) -> None:
    """A line a round: what it found, how the new nets' errors had been predicted, and what it cost."""
    numbers = [str(record["round"]) for record in rounds]

    def show(title: str, columns: list[str], cells: list[list[str]]) -> None:
        rows = [(number, *found) for number, found in zip(numbers, cells, strict=True)]
        print_table(title, [(column, "right") for column in ("round", *columns)], rows)

    found = [
        [str(r["evaluations"]), str(r["failed"]), f"{r['hypervolume']:.4f}", f"{r['seconds']:.0f}"] for r in rounds
    ]
    show("what was found", ["evaluations", "failed", "hypervolume", "seconds"], found)
    keys = ("kendall_tau", "spearman", "bias", "within_50", "within_90", "rms_z")
    judged = [[str(r["compared"]), *("" if r[key] is None else f"{r[key]:.3f}" for key in keys)] for r in rounds]
    columns = ["new nets", "tau", "Spearman", "bias", "in 50 %", "in 90 %", "rms z"]
    show("predictions against what was measured afterwards", columns, judged)
    show("seconds", list(PARTS), [[f"{r['cost'][part]:.1f}" for part in PARTS] for r in rounds])
