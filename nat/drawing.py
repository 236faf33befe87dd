"""Pictures of cells: nodes in a row, operations as arcs over it, so that no two labels meet."""

from collections import Counter
from pathlib import Path as FilePath

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from nat.errors import InputError
from nat.plots import save
from nat.supernet.cells.genotype import Cell, Genotype

FORMATS = ("svg", "png")
GAP, STEP = 1.9, 0.55  # inches between nodes; inches that an arc rises for each node that it passes
COLOURS = {"conv": "#0b6e99", "pool": "#3f8f5b", "skip": "#8a8f98", "none": "#d5d9de"}
INK, PAPER = "#333333", "#ffffff"
TITLES = {"normal": "normal cell", "reduce": "reduction cell", "both": "normal and reduction cell"}


def draw_genotype(genotype: Genotype, path: FilePath) -> None:
    """Draws the cells of a genotype below each other.

    Args:
        genotype: its cells.
        path: of the picture; the ending says the format, .svg or .png.

    Raises:
        InputError: another ending, or the file cannot be written.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise InputError(f"expected a picture's file with the ending .svg or .png, got '{path.name}'.")
    cells = genotype.shown
    heights = [_height(cell) for cell in cells.values()]
    width = GAP * (max(cell.inputs + len(cell.nodes) for cell in cells.values()) + 1)
    figure = Figure(figsize=(width, sum(heights)), dpi=120, facecolor=PAPER)
    top = 1.0
    for (name, cell), height in zip(cells.items(), heights, strict=True):
        share = height / sum(heights)
        top -= share
        _draw_cell(figure.add_axes((0, top, 1, share)), cell, TITLES[name], (width, height))
    save(figure, path)


def _rises(cell: Cell) -> list[float]:
    """How many steps each edge rises: as far as it reaches, and more where others join the same two nodes."""
    drawn: Counter[tuple[int, int]] = Counter()
    rises = []
    for source, node, _ in cell.edges:
        rises.append(node - source + 0.6 * drawn[source, node])
        drawn[source, node] += 1
    return rises


def _height(cell: Cell) -> float:
    return 1.9 + STEP * max(_rises(cell))


def _draw_cell(axes: Axes, cell: Cell, title: str, size: tuple[float, float]) -> None:
    """One cell; coordinates are inches, the row of nodes is at height 0."""
    width, height = size
    axes.set(xlim=(-0.6 * GAP, width - 0.6 * GAP), ylim=(-1.0, height - 1.0), aspect="equal")
    axes.axis("off")
    axes.text(-0.5 * GAP, height - 1.3, title, color=INK, fontsize=12, fontweight="bold")
    out = cell.inputs + len(cell.nodes)
    for (source, node, name), rise in zip(cell.edges, _rises(cell), strict=True):
        _arc(axes, source * GAP, node * GAP, STEP * rise, name)
    for node in cell.outputs:
        _arrow(axes, [(node * GAP, -0.2), (node * GAP, -0.75), (out * GAP, -0.75), (out * GAP, -0.2)], INK, "-", 0.8)
    if len(cell.outputs) > 1:
        axes.text(out * GAP + 0.12, -0.55, "joined", color=INK, fontsize=8, va="center")
    inputs = ("last but one", "last cell")[-cell.inputs :]
    for number, label in enumerate([*inputs, *map(str, range(cell.inputs, out)), "output"]):
        style = {"boxstyle": "round,pad=0.35", "facecolor": PAPER, "edgecolor": INK}
        axes.text(number * GAP, 0, label, ha="center", va="center", fontsize=9, color=INK, bbox=style, zorder=4)


def _arc(axes: Axes, start: float, end: float, rise: float, name: str) -> None:
    """An operation's arrow from one node over those between to another, with its name at the top."""
    kind = next((kind for kind in COLOURS if kind in name), "conv")
    # a cubic curve reaches three quarters of the height of its control points
    points = [(start + 0.1, 0.18), (start + 0.25, rise / 0.75), (end - 0.25, rise / 0.75), (end - 0.1, 0.2)]
    _arrow(axes, points, COLOURS[kind], ":" if kind in ("skip", "none") else "-", 1.4)
    style = {"boxstyle": "round,pad=0.1", "facecolor": PAPER, "edgecolor": "none"}
    colour = COLOURS["skip" if kind == "none" else kind]
    place = ((start + end) / 2, rise + 0.05)
    axes.text(*place, name, ha="center", va="center", fontsize=8, color=colour, bbox=style, zorder=3)


def _arrow(axes: Axes, points: list[tuple[float, float]], colour: str, line: str, width: float) -> None:
    path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    axes.add_patch(
        FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=9, color=colour, linestyle=line, linewidth=width)
    )
