"""Regret against evaluations: how far the best that a strategy has found is from the best there is.

    python benchmarks/strategies.py --tables tables/ --results strategies.jsonl --plot strategies.png

The validation error is the only objective here (costs are told as equal), on the 15,625 cells of NAS-Bench-201 with its
three data sets and, with `--landscapes digits`, on the 125 cells of `digits_cells.py`. Strategies are the toolkit's,
without shared weights: `random` draws uniformly; `regevo` is regularised evolution, 50 alive, tournaments of 10;
`reinforce` takes one sample an update; `pnas` is the progressive form (edges of the cell in three levels; the paper's
own needs cells that grow); `nat` has expected improvement under a Gaussian process. All begin with the largest and the
smallest cell among others, and none evaluates a cell twice. `--seeds` has one number for the cheap strategies, one for
`pnas` and one for `nat`. Runs are written to `--results` as in `search.py`, and not repeated.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import search
from landscapes import CELLS, Landscape, read_landscape
from numpy.random import Generator
from search import FromUniform, Strategy, Table

from nat.archive import Evaluation, Proposal
from nat.errors import InputError
from nat.objectives import TOP1
from nat.problem import SearchProblem
from nat.searchers import NatSearcher, ProgressiveSearcher, RegularisedEvolution, ReinforceSearcher
from nat.supernet.sampling import sample_uniform
from nat.supernet.searchable import Costs, Encodings, combinations

BUDGETS = (25, 50, 75, 100, 125, 150)
NAMES = (*CELLS, "digits")


class Uniform:
    """Uniformly drawn architectures that are new."""

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """See `nat.searchers.Searcher`."""
        known = {evaluation.architecture for evaluation in evaluations}
        everything = combinations(problem.space, 20_000)
        rows = sample_uniform(problem.space, 4 * count, rng) if everything is None else rng.permutation(everything)
        fresh = [net for net in dict.fromkeys(problem.space.decode(rows[: len(known) + count])) if net not in known]
        return [Proposal(net) for net in fresh[:count]]


@dataclass(frozen=True)
class Equal:
    """A cost that is the same for all, so that strategies for several objectives look for the least error alone."""

    name: str = "equal"
    title: str = "equal cost"
    unit: str = ""

    def values(self, costs: Costs, encodings: Encodings) -> search.Floats:
        """Ones, shape (n,)."""
        return np.ones(len(encodings))

    def box(self, costs: Costs, most: float) -> tuple[float, float]:
        """Around one."""
        return 0.0, 2.0


STRATEGIES = {
    "random": Strategy(lambda: FromUniform(Uniform()), start=25, batch=25),
    "regevo": Strategy(lambda: FromUniform(RegularisedEvolution()), start=50, batch=1),
    "reinforce": Strategy(lambda: FromUniform(ReinforceSearcher()), start=2, batch=1),
    "pnas": Strategy(lambda: ProgressiveSearcher(levels=3), start=26, batch=24),
    "nat": Strategy(lambda: NatSearcher(population=40, generations=20), start=24, batch=12),
}


def main() -> int:
    """Runs the benchmark as the command line says; 0, or 2 if a table cannot be used."""
    options = _parser().parse_args()
    budgets, (cheap, pnas, nat) = sorted(options.budgets), options.seeds
    seeds = {name: {"pnas": pnas, "nat": nat}.get(name, cheap) for name in options.strategies}
    try:
        landscapes = [read_landscape(name, options.tables) for name in options.landscapes]
        results = search.read_results(options.results) if options.results else []
    except (InputError, OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 2
    done = {(run["landscape"], run["strategy"], run["seed"]) for run in results}
    for landscape, name, seed in _jobs(landscapes, seeds):
        if (landscape.name, name, seed) not in done:
            results.append(run_of(landscape, name, seed, budgets))
            if options.results:
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(results[-1]) + "\n")
    table = summary(results, [landscape.name for landscape in landscapes], seeds, budgets)
    if options.plot:
        draw(table, options.plot)
    print(json.dumps(table) if options.json else as_text(table, seeds))
    return 0


def _jobs(landscapes: Sequence[Landscape], seeds: dict[str, int]) -> Iterator[tuple[Landscape, str, int]]:
    for seed in range(max(seeds.values())):
        for name, most in seeds.items():
            yield from ((landscape, name, seed) for landscape in landscapes if seed < most)


def run_of(landscape: Landscape, name: str, seed: int, budgets: Sequence[int]) -> dict[str, Any]:
    """One run: the regret after each number of evaluations, in accuracy (a fraction)."""
    started = time.process_time()
    errors = search.search(single(landscape), STRATEGIES[name], seed, max(budgets))[:, 0]
    best = np.minimum.accumulate(errors) - landscape.ideal[0]
    reached = {str(budget): float(best[min(budget, len(best)) - 1]) for budget in budgets}
    seconds = round(time.process_time() - started, 2)
    return {"landscape": landscape.name, "strategy": name, "seed": seed, "reached": reached, "cpu_seconds": seconds}


def single(landscape: Landscape) -> Landscape:
    """The same with the error as the only objective that differs."""
    return replace(landscape, problem=SearchProblem(landscape.problem.costs, (TOP1, Equal())))


def summary(
    results: list[dict[str, Any]], landscapes: Sequence[str], seeds: dict[str, int], budgets: Sequence[int]
) -> Table:
    """Mean and 95 % interval (Student's t) by landscape, strategy and budget; strategies without runs are left out."""
    table: Table = {}
    for landscape in landscapes:
        for name, most in seeds.items():
            runs = [
                run["reached"]
                for run in results
                if (run["landscape"], run["strategy"]) == (landscape, name) and run["seed"] < most
            ]
            if runs:
                cells = {str(budget): search.interval([run[str(budget)] for run in runs]) for budget in budgets}
                table.setdefault(landscape, {})[name] = cells
    return table


def as_text(table: Table, seeds: dict[str, int]) -> str:
    """A table in Markdown for each landscape, in points of accuracy."""
    counts = ", ".join(f"{name} {most}" for name, most in seeds.items())
    title = f"Regret in points of accuracy, mean and half-width of the 95 % interval; seeds: {counts}."
    return "\n".join([title, *search.as_rows(table, 100, 2)])


def draw(table: Table, path: Path) -> None:
    """A panel for each landscape: means over evaluations, with bands for the intervals."""
    search.draw(table, path, "regret (accuracy)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=Path(), help="folder with NAS-Bench-201's file")
    parser.add_argument("--landscapes", nargs="+", choices=NAMES, default=list(CELLS))
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="evaluations")
    parser.add_argument("--seeds", type=int, nargs=3, default=[100, 10, 5], help="of cheap ones, of pnas, of nat")
    parser.add_argument("--results", type=Path, help="JSON lines to add runs to, and to take earlier ones from")
    parser.add_argument("--plot", type=Path, help="PNG or SVG file to draw")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
