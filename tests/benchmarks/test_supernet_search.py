"""The benchmark of searches on a real supernet: what it takes from runs, and what it prints."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from supernet_search import show, within

FRONT = {
    "front": [
        {"macs": 2, "val_top1": 0.6, "test_top1": 0.7},
        {"macs": 4, "val_top1": 0.5, "test_top1": 0.9},
        {"macs": 8, "val_top1": 0.8, "test_top1": 0.6},
    ]
}


def test_the_search_chooses_within_budgets_and_tests_do_not() -> None:
    nothing, *rest = within(FRONT, (1, 3, 5, 9))
    assert math.isnan(nothing) and rest == [0.7, 0.7, 0.6]


def test_tables_have_means_and_intervals_over_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [{"evaluations": 24, "hypervolume": 0.5}, {"evaluations": 36, "hypervolume": 0.75}]
    searches = [
        {"way": way, "seed": seed, "rounds": rounds, "test_top1": [0.5 + 0.1 * seed], "seconds": 60.0}
        for way in ("nat", "frozen", "random")
        for seed in (0, 1)
    ]
    beside = [{"seed": 0, "net": "largest", "macs": 5_000_000, "test_top1": 0.875, "searched": 0.625}]
    show({"searches": searches, "unsearched": beside}, (3_000_000,))
    said = capsys.readouterr().out
    assert "36: 0.750 ± 0.000" in said and "0.550 ± 0.635" in said and "within 3 M" in said
    assert "0.875" in said and "0.625" in said and "5.0 M" in said
