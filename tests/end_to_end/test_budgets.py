"""Budgets, records, ties, frozen weights and warm starts through the command line."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nat.archive import Archive
from nat.bootstrap import read_correct

Command = Callable[..., Any]
Words = Callable[..., list[str]]


def test_records_of_rounds_are_in_front_json(run: Path, command: Command) -> None:
    report = json.loads((run / "front.json").read_text())
    first, last = report["rounds"]
    assert (first["evaluations"], last["evaluations"]) == (4, 10) == (4, report["evaluations"])
    assert last["hypervolume"] == report["hypervolume"]
    assert (first["compared"], last["compared"]) == (0, 2), "random nets at first, two predicted ones then"
    assert last["bias"] is not None and last["kendall_tau"] is None, "two are too few to rank"
    assert 0 < first["seconds"] < last["seconds"]
    assert last["cost"]["fit"] > 0 and last["cost"]["evolve"] > 0
    assert (run / "rounds.png").read_bytes().startswith(b"\x89PNG")
    shown = command("front", run, "--rounds").out
    assert "hypervolume" in shown and f"{last['hypervolume']:.4f}" in shown
    assert report["failures"] == {"count": 0, "reasons": []}


def test_intervals_and_ties_follow_from_what_each_net_is_right_on(run: Path) -> None:
    report = json.loads((run / "front.json").read_text())
    for net in report["front"]:
        correct = read_correct(run / "subnets" / net["id"])
        assert np.isclose(correct["val"].mean(), net["finetuned_val_top1"])
        assert np.isclose(correct["test"].mean(), net["test_top1"])
        low, high = net["test_interval"]
        assert low <= net["test_top1"] <= high and high - low < 0.2
    assert report["ties"]["cheapest"] in {net["id"] for net in report["front"]}
    assert report["ties"]["says"] in report["verdict"]


def test_a_budget_of_evaluations_is_kept(transfer_words: Words, command: Command, tmp_path: Path) -> None:
    """Seven do not suffice for a round of six behind the first four: they all go to the first."""
    outcome = command(*transfer_words(tmp_path / "run", "--evaluations", "7", "--set", "front=1"), "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["evaluations"] == 7 and len(outcome.json["rounds"]) == 1


def test_a_budget_of_time_is_kept(transfer_words: Words, command: Command, tmp_path: Path) -> None:
    """An hour's work, asked for in so little time that all amounts must shrink."""
    words = transfer_words(tmp_path / "run", "--time", "10s", "--set", "first_training=2000 steps")
    started = time.process_time()
    outcome = command(*words, "--set", "finetuning=5000 steps", "--set", "rounds=40", "--json")
    assert outcome.code == 0, outcome.err
    assert time.process_time() - started < 20, "of this process alone: others may slow it down"
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["final"] and plan["finetuning"] < 5000 and plan["plan"]["rounds"] < 40
    assert len({net["id"] for net in outcome.json["front"]}) >= 1


def test_frozen_weights_and_a_warm_start(run: Path, transfer_words: Words, command: Command, tmp_path: Path) -> None:
    """Both at once, to save a run: the seeds come from another run, and no net is evaluated twice."""
    more = ("--adaptation", "frozen", "--warm-start", str(run), "--seed", "1", "--set", "front=1")
    outcome = command(*transfer_words(tmp_path / "run", *more), "--json")
    assert outcome.code == 0, outcome.err
    with Archive(tmp_path / "run" / "archive.sqlite", read_only=True) as archive:
        rows, seeds = archive.evaluations(), [p for p in archive.proposals(0) if p.mean is not None]
    assert len({row.architecture for row in rows}) == len(rows) == 6
    assert {row.weights_version for row in rows} == {0}
    with Archive(run / "archive.sqlite", read_only=True) as archive:
        earlier = {e.architecture: e.objectives["top1_error"] for e in archive.at_version(1)}
    assert len(seeds) == 2 and all(earlier[seed.architecture] == seed.mean for seed in seeds)
    warm = outcome.json["warm_start"]
    assert (warm["seeds"], warm["fresh"]) == (2, 2)
    assert warm["says"] in outcome.json["verdict"]


def test_a_warm_start_from_nothing_is_refused(transfer_words: Words, command: Command, tmp_path: Path) -> None:
    outcome = command(*transfer_words(tmp_path / "run", "--warm-start", str(tmp_path)))
    assert outcome.code == 2 and str(tmp_path) in outcome.err
    assert not (tmp_path / "run").exists()
