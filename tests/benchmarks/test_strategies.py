"""The benchmark of regret: its numbers on a small table, its command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import strategies as benchmark  # noqa: E402
from landscapes import Landscape, TableCosts, TableSpace, from_table  # noqa: E402

SPACE = TableSpace(3, 3)


def tiny(name: str, folder: Path) -> Landscape:
    errors = np.random.default_rng(0).random(27)
    return from_table(name, TableCosts(SPACE, np.arange(54).reshape(27, 2) + 1), errors)


@pytest.mark.parametrize("name", ["random", "regevo", "reinforce", "nat"])
def test_regret_falls_to_zero_as_a_table_is_exhausted(name: str) -> None:
    landscape = tiny("tiny", Path())
    run = benchmark.run_of(landscape, name, 0, (5, 20, 27))
    regrets = list(run["reached"].values())
    assert regrets == sorted(regrets, reverse=True)
    assert regrets[0] > 0 and regrets[-1] == pytest.approx(0.0, abs=1e-12)
    again = benchmark.run_of(landscape, name, 0, (5, 20, 27))
    assert again["reached"] == run["reached"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(benchmark, "read_landscape", tiny)
    words = [
        "--landscapes",
        "nb201",
        "--strategies",
        "random",
        "reinforce",
        "--budgets",
        "20",
        "10",
        "--seeds",
        "3",
        "0",
    ]
    words += ["0", "--results", str(tmp_path / "runs.jsonl"), "--plot", str(tmp_path / "regret.png")]

    def call(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["strategies.py", *words, *more])
        assert benchmark.main() == 0
        return capsys.readouterr().out

    table = json.loads(call("--json"))
    assert list(table["nb201"]) == ["random", "reinforce"]
    mean, low, high = table["nb201"]["random"]["10"]
    assert low < mean < high and mean > table["nb201"]["random"]["20"][0]
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 6
    assert (tmp_path / "regret.png").stat().st_size > 1000
    monkeypatch.setattr(benchmark, "run_of", None)
    assert "| random |" in call(), "what is there is not run again"


def test_a_missing_table_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["strategies.py", "--tables", str(tmp_path)])
    assert benchmark.main() == 2
    assert "mini-nasbench201" in capsys.readouterr().err
