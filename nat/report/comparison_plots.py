"""The picture of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nat.plots import save

GREY = "#7a7a7a"
COLOURS = ("#0b6e99", "#d1495b", "#2e8b57", "#e08e0b", "#6a4c93", "#00897b", "#8d5524", "#c2185b", "#546e2a", "#3949ab")
MARKERS = "osD^vPX<>h"


def plot_comparison(report: dict[str, Any], path: Path) -> None:
    """Draws compare.json: hypervolume against cost, and test accuracy of retrained nets against multiply-adds.

    Args:
        report: content of compare.json.
        path: of the picture, PNG or SVG.
    """
    figure = Figure(figsize=(11, 4.8), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [strategy["name"] for strategy in report["strategies"] if strategy["name"] != "random"]
    for strategy in sorted(report["strategies"], key=lambda strategy: strategy["name"] != "random"):
        place = names.index(strategy["name"]) if strategy["name"] in names else -1
        colour = COLOURS[place % len(COLOURS)] if place >= 0 else GREY
        marker = MARKERS[place % len(MARKERS)] if place >= 0 else "*"
        line = "-" if place >= 0 else "--"
        _draw_curve(left, strategy, colour, line, marker)
        _draw_accuracies(right, strategy, _offset(place + 1, len(names) + 1, report["macs"]), colour, marker)
    seeds = len(report["seeds"])
    band = "mean and standard deviation" if seeds > 1 else "one seed"
    left.set_xlabel("cost in passes, all training included")
    left.set_ylabel("hypervolume on validation images")
    left.set_title(f"search: {band}, {seeds} seeds" if seeds > 1 else f"search: {band}", loc="left", fontsize=10)
    right.set_xscale("log")
    right.set_xticks(report["macs"], [f"≤ {macs / 1e6:.3g}" for macs in report["macs"]])
    right.set_xticks([], minor=True)
    right.set_xlabel("multiply-adds allowed (millions)")
    right.set_ylabel("test top-1 accuracy of retrained nets (%)")
    right.set_title(
        f"result: {band}; short bars are seeds" if seeds > 1 else f"result: {band}", loc="left", fontsize=10
    )
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False)
    figure.suptitle(
        f"{report['dataset']}: strategies at equal cost, {report['budget']:,.0f} passes each",
        x=0.01,
        ha="left",
        parse_math=False,
    )
    save(figure, path)


def _offset(place: int, count: int, macs: Sequence[int]) -> float:
    """A factor for multiply-adds, so that the points of strategies stand beside each other."""
    gap = (macs[-1] / macs[0]) ** (1 / max(1, len(macs) - 1)) if len(macs) > 1 else 2.0
    return float(gap ** (0.4 * (place - (count - 1) / 2) / count))


def _draw_curve(axes: Axes, strategy: dict[str, Any], colour: str, line: str, marker: str) -> None:
    points = strategy["curve"]
    if not points:
        return
    passes, means = [p["passes"] for p in points], [p["mean"] for p in points]
    axes.plot(passes, means, color=colour, ls=line, lw=2, marker=marker, ms=5, label=strategy["name"])
    if points[0]["std"] is not None:
        low, high = ([p["mean"] + sign * p["std"] for p in points] for sign in (-1, 1))
        axes.fill_between(passes, low, high, color=colour, alpha=0.13, lw=0)


def _draw_accuracies(axes: Axes, strategy: dict[str, Any], offset: float, colour: str, marker: str) -> None:
    for cell in strategy["test_top1"]:
        if cell["mean"] is None:
            continue
        place, dots = cell["within"] * offset, [100 * value for value in cell["values"].values()]
        spread = 100 * cell["std"] if cell["std"] is not None else None
        axes.errorbar(place, 100 * cell["mean"], yerr=spread, color=colour, marker=marker, ms=6, capsize=3, lw=1.2)
        if len(dots) > 1:
            axes.scatter([place] * len(dots), dots, s=22, marker="_", color=colour, zorder=3)
