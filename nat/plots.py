"""Pictures of a run, as PNG or, by the name of the file, as SVG."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nat.files import whole_file

NEAR = 1.5  # controls whose multiply-adds differ by less stand side by side
INK, SEARCHED, FINETUNED, CONTROL = "#333333", "#c2cad3", "#0b6e99", "#d1495b"


def single(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a size in inches with one pair of axes."""
    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    return figure, figure.add_subplot()


def save(figure: Figure, path: Path) -> None:
    """Writes a figure whole, in the format of the path's suffix; the same one gives the same file, text stays text.

    Raises:
        InputError: it cannot be written.
    """
    form = path.suffix.lower().removeprefix(".")
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nat"}),
        warnings.catch_warnings(),
        whole_file(path) as draft,
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names in a script that the font lacks
        figure.savefig(draft, format=form, metadata={"Date": None} if form == "svg" else None)


def plot_front(front: Mapping[str, Any], searched: Sequence[Sequence[float]], path: Path) -> None:
    """Draws front.json: everything evaluated, the front as searched and as fine-tuned, its intervals, and the controls.

    Args:
        front: content of front.json.
        searched: (multiply-adds, validation accuracy) of all subnets evaluated with the final weights.
        path: of the picture.
    """
    figure, axes = single(8, 5)
    nets = sorted(front["front"], key=lambda net: net["macs"])
    millions = [net["macs"] / 1e6 for net in nets]
    if searched:
        axes.scatter(
            [macs / 1e6 for macs, _ in searched],
            [100 * top1 for _, top1 in searched],
            s=14,
            color=SEARCHED,
            label="evaluated in the search (validation)",
        )
    axes.plot(
        millions,
        [100 * net["val_top1"] for net in nets],
        color=INK,
        lw=1,
        ls=":",
        marker=".",
        label="front, supernet's weights (validation)",
    )
    tuned = [net for net in nets if net["finetuned"]]
    for net in tuned:
        if ends := net.get("test_interval"):
            axes.vlines(net["macs"] / 1e6, 100 * ends[0], 100 * ends[1], color=FINETUNED, alpha=0.4, lw=1.5)
    axes.plot(
        [net["macs"] / 1e6 for net in tuned],
        [100 * net["test_top1"] for net in tuned],
        color=FINETUNED,
        lw=2,
        marker="o",
        label="front, fine-tuned (test)",
    )
    axes.set_xscale("log")
    _draw_controls(axes, front["controls"])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("multiply-adds (millions, log scale)")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_title(
        f"{front['dataset']}: {len(nets)} Pareto-optimal subnets by '{front['searcher']}'", loc="left", parse_math=False
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    save(figure, path)


def short_name(control: str) -> str:
    """A control's name without what the others have, too: "pretrained lcnet_050 of timm" is lcnet_050."""
    return re.sub(r"^pretrained | subnet| within the budget| network alone| of timm.*", "", control)


def _draw_controls(axes: Axes, controls: Sequence[Mapping[str, Any]]) -> None:
    """Points with names below; above, where the control before is so near that the names would meet."""
    before, above = (0.0, 0.0), False
    for control in sorted(controls, key=lambda control: control["macs"]):
        point = (control["macs"] / 1e6, 100 * control["test_top1"])
        above = point[0] < NEAR * before[0] and not above
        axes.scatter(*point, marker="D", s=45, color=CONTROL, zorder=3)
        offset = (0, 9) if above else (0, -15)
        axes.annotate(
            short_name(control["name"]), point, textcoords="offset points", xytext=offset, ha="center", color=CONTROL
        )
        before = point


def plot_rounds(front: Mapping[str, Any], path: Path) -> None:
    """Draws the hypervolume after each round against evaluations and against seconds.

    Args:
        front: content of front.json.
        path: of the picture.
    """
    figure = Figure(figsize=(8, 3.6), dpi=140, layout="constrained")
    rounds = front["rounds"]
    for axes, key, label in zip(
        figure.subplots(1, 2, sharey=True),
        ("evaluations", "seconds"),
        ("evaluations", "seconds of the run"),
        strict=True,
    ):
        axes.plot([r[key] for r in rounds], [r["hypervolume"] for r in rounds], color=FINETUNED, lw=2, marker="o")
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("hypervolume (share of the box)")
    title = f"{front['dataset']}: each round's front with its own weights"
    figure.suptitle(title, x=0.02, ha="left", parse_math=False)  # a folder's name is no formula
    save(figure, path)
