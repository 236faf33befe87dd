"""What the two drawn architectures of an adaptation step should be: hypervolume after each round of a search.

    python benchmarks/adaptation_draws.py digits flowers/ --seeds 2

Each step trains the most and the least costly architecture of the pool and two more: both drawn gene by gene from the
pool (NAT's way), a member of the pool and one drawn gene by gene, a member and one drawn uniformly from the space (the
default), or both uniformly (what random search does). Else the runs of one seed are alike.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import numpy as np
import typer
from numpy.random import Generator
from rich.console import Console
from rich.table import Table

from nat.efforts import Overrides
from nat.options import TransferOptions
from nat.pipeline import transfer
from nat.problem import SearchProblem
from nat.searchers import NatSearcher
from nat.searchers.base import AdaptationSteps
from nat.searchers.sandwich import allowed, train_sandwich
from nat.supernet.sampling import sample_like
from nat.supernet.space import Encodings

Draw = Callable[[SearchProblem, Encodings, Generator], Encodings]


def member(problem: SearchProblem, pool: Encodings, rng: Generator) -> Encodings:
    """One of the pool, shape (1, genes)."""
    return pool[rng.integers(len(pool), size=1)]


def alike(problem: SearchProblem, pool: Encodings, rng: Generator) -> Encodings:
    """One with each gene from some member of the pool, shape (1, genes)."""
    return sample_like(problem.space, pool, 1, rng)


def uniform(problem: SearchProblem, pool: Encodings, rng: Generator) -> Encodings:
    """Any one within the limits, shape (1, genes)."""
    return allowed(problem, pool, 1, rng)


DRAWS: dict[str, tuple[Draw, Draw]] = {
    "gene by gene": (alike, alike),
    "member, gene by gene": (member, alike),
    "member, uniform": (member, uniform),
    "uniform": (uniform, uniform),
}


def volumes(data: str, draws: tuple[Draw, Draw], options: TransferOptions) -> list[float]:
    """Hypervolume after each round of one search."""

    def adapt(_: NatSearcher, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        def drawn(rng: Generator) -> Encodings:
            return np.concatenate([draw(problem, pool, rng) for draw in draws])

        train_sandwich(adaptation, problem, pool, drawn)

    with TemporaryDirectory() as folder, patch.object(NatSearcher, "adapt", adapt):
        report = transfer(options.model_copy(update={"data": data}), Path(folder) / "run")
    return [record["hypervolume"] for record in report["rounds"]]


def main(
    data: Annotated[list[str], typer.Argument(help="Image folders, or names of data sets.")],
    seeds: Annotated[int, typer.Option(help="Searches with each kind of draws.")] = 2,
    first_seed: Annotated[int, typer.Option(help="Seed of the first of them.")] = 0,
    max_macs: Annotated[int | None, typer.Option(help="Limit on multiply-adds.")] = None,
    results: Annotated[Path | None, typer.Option(help="JSON lines, one for each search.")] = None,
) -> None:
    """Prints means over seeds; nothing is fine-tuned."""
    amounts: Overrides = {"finetuning": "0 steps", "front": 2, "controls": "none"}
    table = Table("data", "drawn", "hypervolume after each round, mean over seeds")
    for name in data:
        found: dict[str, list[list[float]]] = {draws: [] for draws in DRAWS}
        for seed in range(first_seed, first_seed + seeds):
            options = TransferOptions(data=name, seed=seed, threads=1, max_macs=max_macs, overrides=amounts)
            for draws, pair in DRAWS.items():
                found[draws].append(volumes(name, pair, options))
                line = {"data": name, "seed": seed, "drawn": draws, "hypervolume": found[draws][-1]}
                if results is not None:
                    with results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
        for draws, runs in found.items():
            means = [statistics.mean(round_) for round_ in zip(*runs, strict=True)]
            table.add_row(Path(name).name, draws, " ".join(f"{mean:.3f}" for mean in means))
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
