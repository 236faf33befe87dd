"""What search strategies reach on measured landscapes at equal numbers of evaluations.

    python benchmarks/search.py --tables tables/ --seeds 10 --results search.jsonl --plot search.png

`--tables` names a folder with the files that `landscapes.py` lists. An evaluation is one distinct architecture. Each
run of a strategy is written to `--results` as soon as it has ended, and runs that are there are not repeated: the
command can be stopped and started again, or given more seeds. (Remove the file after changing a strategy.)

Strategies: `nat` is the toolkit's default; `nat-paper` and `msunas` have the settings of those papers as far as they
are known (docs/method.md); `nsga2` and `random` are the toolkit's controls; `regevo` is regularised evolution,
`reinforce` a policy gradient and `pnas` the progressive search, each on five weighted sums of the objectives. All begin
with the smallest and the largest network among others.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from landscapes import NAMES, Landscape, read_landscape
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import t as student

from nat.archive import Evaluation, Proposal
from nat.errors import InputError
from nat.problem import SearchProblem
from nat.searchers import (
    GeneticSearcher,
    NatSearcher,
    ProgressiveSearcher,
    RandomSearcher,
    RegularisedEvolution,
    ReinforceSearcher,
)
from nat.supernet.sampling import sample_uniform
from nat.surrogates import CubicRBF

Floats = NDArray[np.float64]
Table = dict[str, dict[str, dict[str, list[float]]]]
BUDGETS = (100, 150, 200, 350)
DEFAULT = "nat"


class Proposing(Protocol):
    """The half of a searcher that a table needs."""

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """See `nat.searchers.Searcher`."""


class FromUniform:
    """Another strategy, but with the ends of the costs and uniformly drawn architectures to begin with."""

    def __init__(self, then: Proposing) -> None:
        self.then = then

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """See `nat.searchers.Searcher`."""
        if evaluations:
            return self.then.propose(problem, evaluations, count, rng)
        space = problem.space
        drawn = space.decode(sample_uniform(space, 2 * count, rng))
        return [Proposal(net) for net in dict.fromkeys([space.smallest(), space.largest(), *drawn])][:count]


@dataclass(frozen=True)
class Strategy:
    """How a searcher is used.

    Attributes:
        make: the searcher.
        start: evaluations before the first model.
        batch: evaluations of each later round.
    """

    make: Callable[[], Proposing]
    start: int
    batch: int


def _msunas() -> Proposing:
    return FromUniform(
        NatSearcher(population=40, generations=20, surrogate=CubicRBF, selection="spread", algorithm="nsga2")
    )


def _nat_paper() -> Proposing:
    return FromUniform(NatSearcher(population=100, generations=100, surrogate=CubicRBF, selection="reference"))


STRATEGIES = {
    "nat": Strategy(lambda: NatSearcher(population=40, generations=20), start=24, batch=4),
    "nat-paper": Strategy(_nat_paper, start=100, batch=8),
    "msunas": Strategy(_msunas, start=100, batch=8),
    "nsga2": Strategy(lambda: FromUniform(GeneticSearcher()), start=40, batch=10),
    "regevo": Strategy(lambda: FromUniform(RegularisedEvolution()), start=50, batch=1),
    "reinforce": Strategy(lambda: FromUniform(ReinforceSearcher()), start=10, batch=1),
    "pnas": Strategy(lambda: ProgressiveSearcher(levels=3), start=26, batch=24),
    "random": Strategy(RandomSearcher, start=50, batch=50),
}


def main() -> int:
    """Runs the benchmark as the command line says; 0, or 2 if a table cannot be used."""
    options = _parser().parse_args()
    budgets = sorted(options.budgets)
    try:
        landscapes = [read_landscape(name, options.tables) for name in options.landscapes]
        results = read_results(options.results) if options.results else []
    except (InputError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for landscape, name, seed in _jobs(landscapes, options.strategies, options.seeds):
        if _find(results, landscape.name, name, seed, budgets) is None:
            results.append(_run(landscape, name, seed, budgets))
            if options.results:
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(results[-1]) + "\n")
            _say(results[-1])
    table = summary(results, options.landscapes, options.strategies, range(options.seeds), budgets)
    if options.plot:
        draw(table, options.plot)
    print(json.dumps(table) if options.json else as_text(table, options.seeds))
    return 0


def _jobs(landscapes: list[Landscape], strategies: list[str], seeds: int) -> Iterator[tuple[Landscape, str, int]]:
    """Seed by seed, so that what is there early says something about everything."""
    for seed in range(seeds):
        for landscape in landscapes:
            for name in strategies:
                yield landscape, name, seed


def _run(landscape: Landscape, name: str, seed: int, budgets: Sequence[int]) -> dict[str, Any]:
    started = time.process_time()
    values = search(landscape, STRATEGIES[name], seed, max(budgets))
    reached = {str(budget): landscape.hypervolume(values[:budget]) for budget in budgets}
    seconds = round(time.process_time() - started, 1)
    return {"landscape": landscape.name, "strategy": name, "seed": seed, "reached": reached, "cpu_seconds": seconds}


def search(landscape: Landscape, strategy: Strategy, seed: int, budget: int) -> Floats:
    """Objective values (budget, 2) of the architectures that a strategy evaluates, in order.

    Fewer come back if the landscape has no more.
    """
    problem, searcher = landscape.problem, strategy.make()
    evaluations: list[Evaluation] = []
    while len(evaluations) < budget:
        count = min(strategy.batch if evaluations else strategy.start, budget - len(evaluations))
        rng = np.random.default_rng([seed, len(evaluations)])
        proposed = searcher.propose(problem, evaluations, count, rng)
        if not proposed:
            break
        round = 1 + evaluations[-1].round if evaluations else 0
        nets = [proposal.architecture for proposal in proposed]
        encodings = problem.space.encode(nets)
        for architecture, row in zip(nets, problem.values(landscape.error(encodings), encodings), strict=True):
            objectives = dict(zip(problem.names, row.tolist(), strict=True))
            evaluations.append(Evaluation(architecture, objectives, round, weights_version=0))
    assert len({evaluation.architecture for evaluation in evaluations}) == len(evaluations)
    return problem.values_of(evaluations)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Runs of earlier calls; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _find(
    results: list[dict[str, Any]], landscape: str, strategy: str, seed: int, budgets: Sequence[int]
) -> dict[str, Any] | None:
    for result in results:
        same = (result["landscape"], result["strategy"], result["seed"]) == (landscape, strategy, seed)
        if same and all(str(budget) in result["reached"] for budget in budgets):
            return result
    return None


def summary(
    results: list[dict[str, Any]],
    landscapes: Sequence[str],
    strategies: Sequence[str],
    seeds: Sequence[int],
    budgets: Sequence[int],
) -> Table:
    """Mean and 95 % interval (Student's t) by landscape, strategy and budget."""
    table: Table = {}
    for landscape in landscapes:
        for name in strategies:
            runs = [_find(results, landscape, name, seed, budgets) for seed in seeds]
            cells = {str(budget): interval([run["reached"][str(budget)] for run in runs if run]) for budget in budgets}
            table.setdefault(landscape, {})[name] = cells
    return table


def interval(values: list[float]) -> list[float]:
    """Mean, and the ends of its 95 % interval by Student's t."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return [mean, mean, mean]
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return [mean, mean - half, mean + half]


def as_text(table: Table, seeds: int) -> str:
    """A table in Markdown for each landscape: mean and half-width of the interval."""
    title = f"Fraction of the best known hypervolume, mean of {seeds} seeds and half-width of the 95 % interval."
    return "\n".join([title, *as_rows(table, 1, 4)])


def as_rows(table: Table, scale: float, digits: int) -> list[str]:
    """Lines of Markdown: for each landscape a table of means and half-widths, times a scale."""
    lines: list[str] = []
    for landscape, strategies in table.items():
        budgets = list(next(iter(strategies.values())))
        lines += ["", f"| {landscape} | " + " | ".join(budgets) + " |", "|---" * (1 + len(budgets)) + "|"]
        for name, cells in strategies.items():
            pairs = [(scale * mean, scale * (high - mean)) for mean, _, high in cells.values()]
            words = [f"{mean:.{digits}f} ± {half:.{digits}f}" for mean, half in pairs]
            lines.append(f"| {name} | " + " | ".join(words) + " |")
    return lines


def draw(table: Table, path: Path, what: str = "share of the best known hypervolume") -> None:
    """A panel for each landscape: means over evaluations, with bands for the intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(table), figsize=(4.2 * len(table), 3.6), squeeze=False)
    for panel, (landscape, strategies) in zip(panels[0], table.items(), strict=True):
        for name, cells in strategies.items():
            budgets, rows = [int(budget) for budget in cells], np.array(list(cells.values()))
            panel.plot(budgets, rows[:, 0], marker="o", markersize=3, label=name)
            panel.fill_between(budgets, rows[:, 1], rows[:, 2], alpha=0.15)
        panel.set(title=landscape, xlabel="evaluations")
    panels[0][0].set_ylabel(what)
    panels[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _say(result: dict[str, Any]) -> None:
    reached = "  ".join(f"{budget}: {value:.4f}" for budget, value in result["reached"].items())
    name = f"{result['landscape']:18}{result['strategy']:10} seed {result['seed']:2}"
    print(f"{name}  {reached}  ({result['cpu_seconds']} s)", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--landscapes", nargs="+", choices=NAMES, default=["ofa", "nb201", "macro"])
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="evaluations")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each strategy")
    parser.add_argument("--results", type=Path, help="JSON lines to add runs to, and to take earlier ones from")
    parser.add_argument("--plot", type=Path, help="PNG or SVG file to draw")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
