"""Pictures of a run."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nat.files import whole_file

INK, SEARCHED, FINETUNED, CONTROL = "#333333", "#c2cad3", "#0b6e99", "#d1495b"


def plot_front(front: dict[str, Any], searched: list[tuple[float, float]], path: Path) -> None:
    """Draws front.json: everything evaluated, the front as searched and as fine-tuned, and the controls.

    Args:
        front: content of front.json.
        searched: (multiply-adds, validation accuracy) of all subnets evaluated with the final weights.
        path: of the PNG.
    """
    figure = Figure(figsize=(8, 5), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
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
    axes.plot(
        [net["macs"] / 1e6 for net in tuned],
        [100 * net["test_top1"] for net in tuned],
        color=FINETUNED,
        lw=2,
        marker="o",
        label="front, fine-tuned (test)",
    )
    for control in front["controls"]:
        point = (control["macs"] / 1e6, 100 * control["test_top1"])
        axes.scatter(*point, marker="D", s=45, color=CONTROL, zorder=3)
        axes.annotate(control["name"], point, textcoords="offset points", xytext=(0, -15), ha="center", color=CONTROL)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("multiply-adds (millions, log scale)")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_title(f"{front['dataset']}: {len(nets)} Pareto-optimal subnets by '{front['searcher']}'", loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    with whole_file(path) as draft:
        figure.savefig(draft, format="png")


def plot_rounds(front: dict[str, Any], path: Path) -> None:
    """Draws the hypervolume after each round against evaluations and against seconds.

    Args:
        front: content of front.json.
        path: of the PNG.
    """
    figure = Figure(figsize=(8, 3.6), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
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
    figure.suptitle(f"{front['dataset']}: each round's front with its own weights", x=0.02, ha="left")
    with whole_file(path) as draft:
        figure.savefig(draft, format="png")
