"""The benchmark of searches: its landscapes, its strategies on small tables, its command line."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nat.searchers import NatSearcher, ProgressiveSearcher
from nat.surrogates import CubicRBF, MLPEnsemble

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import landscapes  # noqa: E402
import search as benchmark  # noqa: E402
from landscapes import Landscape, TableCosts, TableSpace, from_table, read_landscape, shuffled  # noqa: E402

TABLES = ROOT.parent / "shared" / "tables"
measured = pytest.mark.skipif(not TABLES.is_dir(), reason="no measured tables beside the repository")
SPACE = TableSpace(4, 4)


def additive() -> Landscape:
    """Every choice takes some error away, and costs something, by other amounts in each place."""
    genes = np.indices((4,) * 4).reshape(4, -1).T
    rng = np.random.default_rng(0)
    worth = np.cumsum(rng.random((4, 4)), axis=1)
    costs = 100 + (10 * genes * [1, 3, 2, 5]).sum(axis=1)
    errors = 0.9 - 0.04 * worth[np.arange(4), genes].sum(axis=1) + 0.01 * rng.random(len(genes))
    return from_table("additive", TableCosts(SPACE, np.stack([costs, costs], axis=1)), errors)


def reached(landscape: Landscape, name: str, seeds: int, budget: int = 48) -> np.ndarray:
    strategy = STRATEGIES[name]
    return np.array(
        [landscape.hypervolume(benchmark.search(landscape, strategy, seed, budget)) for seed in range(seeds)]
    )


def by_directions() -> NatSearcher:
    """As `nat-paper`, in seconds."""
    return NatSearcher(population=12, generations=4, surrogate=CubicRBF, selection="reference")


def progressive() -> ProgressiveSearcher:
    """As `pnas`, in seconds."""
    return ProgressiveSearcher(levels=2, surrogate=lambda: MLPEnsemble(2, 2, steps=40))


STRATEGIES = benchmark.STRATEGIES | {
    "nat-paper": benchmark.Strategy(by_directions, start=24, batch=8),
    "regevo": replace(benchmark.STRATEGIES["regevo"], start=16, batch=4),
    "reinforce": replace(benchmark.STRATEGIES["reinforce"], start=8, batch=4),
    "pnas": benchmark.Strategy(progressive, start=18, batch=12),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_evaluations_are_distinct_exact_and_repeatable(name: str) -> None:
    landscape, strategy = additive(), STRATEGIES[name]
    budget = strategy.start + 2 * strategy.batch
    first, again, other = (benchmark.search(landscape, strategy, seed, budget) for seed in (1, 1, 2))
    assert first.shape == (budget, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_default_beats_random_where_there_is_something_to_learn() -> None:
    landscape = additive()
    ours, random = (reached(landscape, name, 3) for name in (benchmark.DEFAULT, "random"))
    assert ours.mean() > random.mean() + 0.02
    assert ours.mean() > 0.97


SEEDS = {"nat": 6, "nsga2": 6, "pnas": 12, "regevo": 30, "reinforce": 30}


@pytest.mark.parametrize(("name", "seeds"), SEEDS.items())
def test_nothing_beats_random_on_a_shuffled_table(name: str, seeds: int) -> None:
    landscape = shuffled(additive(), seed=3)
    ours, random = (reached(landscape, strategy, seeds) for strategy in (name, "random"))
    noise = np.hypot(ours.std(ddof=1), random.std(ddof=1)) / seeds**0.5
    assert ours.mean() - random.mean() < 2.5 * noise


@measured
@pytest.mark.slow
@pytest.mark.parametrize("name", ["nat", "nsga2", "regevo", "reinforce", "pnas"])
def test_nothing_beats_random_on_a_shuffled_measured_table(name: str) -> None:
    """The rank of the least error found; hypervolumes would favour who looks at the costs, which are known beforehand.

    The least of n ranks out of N that are drawn without knowledge is expected at N / (n + 1), and deviates as much.
    """
    table, seeds, budget = read_landscape("macro", TABLES), 12, 60
    space = table.problem.costs.space
    assert isinstance(space, TableSpace)
    ranks = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        costs = rng.permutation(np.arange(space.size()) + space.size())
        errors = rng.permutation(space.size()) / space.size()
        landscape = from_table("shuffled", TableCosts(space, np.stack([costs, costs], axis=1)), errors)
        found = benchmark.search(landscape, benchmark.STRATEGIES[name], seed, budget)
        ranks.append(found[:, 0].min() * space.size())
    expected = space.size() / (budget + 1)
    assert np.mean(ranks) > expected * (1 - 2.5 / seeds**0.5)


def test_a_table_is_searched_to_its_end() -> None:
    landscape = from_table(
        "tiny", TableCosts(TableSpace(2, 3), np.arange(1, 19).reshape(9, 2)), 1.0 - np.arange(9.0) / 9
    )
    for strategy in STRATEGIES.values():
        assert len(benchmark.search(landscape, strategy, 0, 30)) == 9
    assert landscape.hypervolume(benchmark.search(landscape, strategy, 0, 30)) == pytest.approx(1.0)


@measured
@pytest.mark.parametrize(
    ("name", "ideal", "nadir", "best"),
    [
        ("nb201", (0.3868, 7_783_000), (0.5482, 121_815_640), 0.925592),
        ("macro", (0.068733, 7_713_280), (0.546367, 85_164_544), 1.087046),
    ],
)
def test_exact_fronts(name: str, ideal: tuple[float, ...], nadir: tuple[float, ...], best: float) -> None:
    landscape = read_landscape(name, TABLES)
    assert landscape.ideal == pytest.approx(ideal, rel=1e-5)
    assert landscape.nadir == pytest.approx(nadir, rel=1e-5)
    assert landscape.best == pytest.approx(best, abs=1e-6)


@measured
def test_the_predictor_gives_the_ends_of_the_known_front() -> None:
    landscape = read_landscape("ofa", TABLES)
    space = landscape.problem.space
    smallest, largest = space.encode([space.smallest()]), space.encode([space.largest()])
    assert landscape.error(smallest) == pytest.approx(landscape.nadir[0], abs=1e-6)
    assert landscape.problem.costs.macs(smallest) == landscape.ideal[1]
    assert landscape.problem.costs.macs(largest) == landscape.nadir[1]


@measured
def test_the_command_takes_up_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    words = ["--tables", str(TABLES), "--landscapes", "macro", "--strategies", "random", "regevo", "--json"]
    words += ["--budgets", "60", "30", "--results", str(file), "--plot", str(tmp_path / "search.png")]

    def call(*more: str) -> dict[str, dict[str, dict[str, list[float]]]]:
        monkeypatch.setattr(sys, "argv", ["search.py", *words, *more])
        assert benchmark.main() == 0
        return json.loads(capsys.readouterr().out)

    table = call("--seeds", "3")
    assert set(table) == {"macro"} and set(table["macro"]) == {"random", "regevo"}
    for cells in table["macro"].values():
        assert list(cells) == ["30", "60"]
        for mean, low, high in cells.values():
            assert 0 < low <= mean <= high
        assert cells["30"][0] <= cells["60"][0] < 1
    assert len(file.read_text().splitlines()) == 6
    assert (tmp_path / "search.png").stat().st_size > 1000
    monkeypatch.setattr(benchmark, "_run", None)
    assert call("--seeds", "3") == table
    assert call("--seeds", "2") != table


def test_a_missing_table_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["search.py", "--tables", str(tmp_path)])
    assert benchmark.main() == 2
    assert landscapes.FILES["ofa"] in capsys.readouterr().err
