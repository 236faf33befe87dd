"""Trains all 125 cells of three edges on scikit-learn's digits: a small benchmark of which every answer is known.

    python benchmarks/digits_cells.py --seeds 3 --results digits_cells.jsonl --out benchmarks/digits_cells.json

A cell is a node behind its input, and an output: edges from the input to the node, from the input to the output, and
from the node to the output, each with one of the five operations of NAS-Bench-201 (`nat.supernet.cells`, space
`digits`). The network is a cell of 8 channels, a residual reduction and the cell with 16 channels; it is trained for
4 epochs on 900 images, with the weights, batches and nothing else decided by the seed; 450 images validate, 447 test.
Batch norms then take their statistics of all training images, as running ones lag behind in so short a training.

The 125 cells are 65 functions, as a cell with a missing edge may have others that do nothing: each function is trained
once a seed, by its first spelling, and all spellings have its accuracies. Their costs are their own.

Each training is written to `--results` as soon as it has ended, and trainings that are there are not repeated: the
command can be stopped and started again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from nat.files import write_json
from nat.supernet.calibration import recalibrate
from nat.supernet.cells.costs import CellCosts
from nat.supernet.cells.genotype import Genotype
from nat.supernet.cells.network import DIGITS as FORM
from nat.supernet.cells.network import CellNetwork
from nat.supernet.cells.space import cell_spaces
from nat.supernet.cells.training import DIGITS as RECIPE
from nat.supernet.cells.training import train_cells
from nat.supernet.evaluation import top1_accuracy
from nat.supernet.searchable import combinations as everything_of

SPACE = cell_spaces()["digits"]
TRAIN, VAL, TEST = 900, 450, 447
Measured = dict[tuple[str, int], dict[str, Any]]


@dataclass(frozen=True)
class Digits:
    """The images, normalised, shape (n, 3, 8, 8), and labels (n,) of each split."""

    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def read_digits() -> Digits:
    """Splits of 900, 450 and 447 images with the same shares of the classes; the same always."""
    images, labels = load_digits(return_X_y=True)
    train, rest = train_test_split(np.arange(len(labels)), train_size=TRAIN, random_state=0, stratify=labels)
    val, test = train_test_split(rest, train_size=VAL, test_size=TEST, random_state=0, stratify=labels[rest])
    scaled = (images - images[train].mean()) / images[train].std()
    tensor = torch.from_numpy(scaled).float().reshape(-1, 1, 8, 8).repeat(1, 3, 1, 1)
    parts = [(tensor[rows], torch.from_numpy(labels[rows])) for rows in (train, val, test)]
    return Digits(*parts)


def shuffled_batches(images: Tensor, labels: Tensor, size: int, seed: int) -> tuple[Any, int]:
    """Batches by step, each image once an epoch but for the last few, and the number of steps of an epoch."""
    count = len(labels) // size

    def batch(step: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(step, count)
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        rows = torch.from_numpy(order[position * size : (position + 1) * size])
        return images[rows], labels[rows]

    return batch, count


def train(genotype: Genotype, digits: Digits, seed: int) -> dict[str, Any]:
    """One training from scratch; accuracies and CPU seconds."""
    started = time.process_time()
    torch.manual_seed(seed)
    network = CellNetwork(genotype, FORM)
    batches, count = shuffled_batches(*digits.train, RECIPE.batch_size, seed)
    train_cells(network, batches, RECIPE, steps_per_epoch=count, seed=seed)
    recalibrate(network, [digits.train[0]])
    with torch.inference_mode():
        val, test = (top1_accuracy(network(images), labels) for images, labels in (digits.val, digits.test))
    return {"val_top1": val, "test_top1": test, "seconds": time.process_time() - started}


def measure(path: Path, seeds: int) -> Measured:
    """Trains what the file has not; every function with one seed before any has the next."""
    done: Measured = {}
    if path.exists():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        done = {(row["id"], row["seed"]): row for row in rows}
    digits, firsts = read_digits(), spelled_first()
    for seed in range(seeds):
        for genes, genotype in zip(firsts.values(), SPACE.decode(np.array(list(firsts.values()))), strict=True):
            if (genotype.id, seed) not in done:
                row = {"id": genotype.id, "genes": genes, "seed": seed, **train(genotype, digits, seed)}
                done[genotype.id, seed] = row
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    return done


def function(genes: Sequence[int]) -> tuple[Any, ...]:
    """What a cell computes: the sum of one operation and one behind another, without what does nothing.

    Nothing comes out of a missing edge, but a convolution behind it still gives the shift of its batch norm.
    """
    first, beside, second = (SPACE.normal[gene] for gene in genes)
    path: tuple[str, ...] = tuple(name for name in (first, second) if name != "skip_connect")
    if second == "none" or (first == "none" and not second.startswith("nor_conv")):
        path = ("none",)
    elif first == "none":
        path = ("shift",)
    return tuple(sorted([path, () if beside == "skip_connect" else (beside,)]))


def all_genes() -> list[list[int]]:
    """Encodings of all cells, in lexicographic order."""
    encodings = everything_of(SPACE, 1000)
    assert encodings is not None
    genes: list[list[int]] = encodings.tolist()
    return genes


def spelled_first() -> dict[tuple[Any, ...], list[int]]:
    """The first encoding of each function."""
    return {function(genes): genes for genes in reversed(all_genes())}


def table(done: Measured, seeds: int) -> dict[str, Any]:
    """The shipped file."""
    costs, encodings, firsts = CellCosts(SPACE, FORM), np.array(all_genes()), spelled_first()
    names = dict(zip(firsts, (net.id for net in SPACE.decode(np.array(list(firsts.values())))), strict=True))
    cells: list[dict[str, Any]] = []
    for genotype, genes in zip(SPACE.decode(encodings), encodings.tolist(), strict=True):
        macs, params = costs.of(genotype)
        trained = names[function(genes)]
        cell = {"id": genotype.id, "genes": genes, "trained_as": trained, "macs": macs, "params": params}
        for key in ("val_top1", "test_top1"):
            cell[key] = [round(done[trained, seed][key], 6) for seed in range(seeds)]
        cells.append(cell)
    return {
        "command": f"python benchmarks/digits_cells.py --seeds {seeds} --results digits_cells.jsonl --out FILE",
        "torch": torch.__version__,
        "operations": list(SPACE.normal),
        "edges": [list(edge) for edge in SPACE.edges],
        "images": {"train": TRAIN, "val": VAL, "test": TEST},
        "cells": cells,
    }


def summary(data: dict[str, Any], seconds: float) -> list[str]:
    """Spread, agreement of the seeds, and ties, over the distinct functions."""
    cells = [cell for cell in data["cells"] if cell["id"] == cell["trained_as"]]
    val, test = (np.array([cell[key] for cell in cells]) for key in ("val_top1", "test_top1"))
    mean, seeds = val.mean(axis=1), range(val.shape[1])
    between = [spearmanr(val[:, a], val[:, b]).statistic for a, b in combinations(seeds, 2)]
    best = int(mean.argmax())
    spread = val.std(axis=1, ddof=1).mean() if len(seeds) > 1 else 0.0
    return [
        f"{len(data['cells'])} cells, {len(cells)} distinct functions, {len(np.unique(mean))} distinct mean "
        f"accuracies, {seconds:.2f} CPU seconds a training",
        f"validation accuracy {mean.min():.3f} to {mean.max():.3f}, median {np.median(mean):.3f}; standard deviation "
        f"over functions {mean.std():.3f}, over seeds {spread:.3f}",
        f"Spearman correlation of two seeds {', '.join(f'{rho:.3f}' for rho in between)}; of mean validation and mean "
        f"test accuracy {spearmanr(mean, test.mean(axis=1)).statistic:.3f}",
        f"best by validation: {[data['operations'][gene] for gene in cells[best]['genes']]}, {mean[best]:.4f}, of "
        f"{int((mean == mean[best]).sum())}; by test it is number {rankdata(-test.mean(axis=1))[best]:g}",
    ]


def main() -> None:
    """Trains what is missing, writes the table, prints what it is like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, required=True, help="one training a line, to go on with")
    parser.add_argument("--out", type=Path, required=True, help="the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = measure(options.results, options.seeds)
    data = table(done, options.seeds)
    write_json(options.out, data)
    print("\n".join(summary(data, float(np.median([row["seconds"] for row in done.values()])))))


if __name__ == "__main__":
    main()
