"""Figures of a report for papers: each as PNG and as SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from nat.plots import CONTROL, FINETUNED, INK, plot_front, plot_rounds, save, single
from nat.report.writing import make_folder

FORMATS = ("png", "svg")


def write_figures(content: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws what there is of: front, rounds, genes, classes of the best net.

    Args:
        content: of the report.
        folder: where the files go, over earlier ones; made if need be.

    Returns:
        The files.

    Raises:
        InputError: they cannot be written.
    """
    make_folder(folder)
    front = {**content["front"], "dataset": content["headline"]["title"], "rounds": content["rounds"]}
    best = content["nets"].get(content["headline"]["best"])
    drawn: list[Path] = []
    for kind in FORMATS:
        if front["front"]:
            drawn.append(folder / f"front.{kind}")
            plot_front(front, content["searched"], drawn[-1])
        if content["rounds"]:
            drawn.append(folder / f"rounds.{kind}")
            plot_rounds(front, drawn[-1])
        if content["genes"]:
            drawn.append(folder / f"genes.{kind}")
            _plot_genes(content["genes"]["genes"], drawn[-1])
        if best and best.get("answers"):
            drawn.append(folder / f"classes.{kind}")
            _plot_classes(best["answers"]["classes"], content["classes"], drawn[-1])
    return sorted(drawn)


def _plot_genes(genes: list[dict[str, Any]], path: Path) -> None:
    """Effect of each gene on accuracy with 95 % intervals, the greatest at the top."""
    genes = sorted(genes, key=lambda gene: abs(gene["gain"]))
    figure, axes = single(6.5, 0.8 + 0.26 * len(genes))
    gains = [100 * gene["gain"] for gene in genes]
    spans = [100 * 1.96 * gene["deviation"] for gene in genes]
    axes.errorbar(gains, range(len(genes)), xerr=spans, fmt="o", color=FINETUNED, ecolor=INK, elinewidth=1, ms=5)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(genes)), [f"{gene['name']}, {gene['low']} → {gene['high']}" for gene in genes])
    axes.set_xlabel("change of top-1 accuracy (percentage points)")
    _bare(axes)
    save(figure, path)


def _plot_classes(counts: list[list[int]], names: list[str], path: Path) -> None:
    """Share of each class's test images that the net names right, the least at the top; of many the 40 worst."""
    shares = sorted((right / images, names[i]) for i, (images, _, right) in enumerate(counts) if images)[:40][::-1]
    figure, axes = single(6.5, 0.8 + 0.22 * len(shares))
    axes.barh(range(len(shares)), [100 * share for share, _ in shares], color=FINETUNED)
    texts = [name if len(name) <= 32 else f"{name[:31]}…" for _, name in shares]
    axes.set_yticks(range(len(shares)), [text.replace("$", r"\$") for text in texts])  # a name is no formula
    axes.set_xlim(0, 100)
    overall = sum(right for _, _, right in counts) / max(1, sum(images for images, _, _ in counts))
    axes.axvline(100 * overall, color=CONTROL, lw=1)
    axes.set_xlabel("test images named right (%); the line: of all images")
    _bare(axes)
    save(figure, path)


def _bare(axes: Axes) -> None:
    axes.grid(alpha=0.25, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.02)
