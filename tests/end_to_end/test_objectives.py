"""A transfer for many objectives under limits: latency, a user's function, what can be picked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nat.archive import Archive
from nat.supernet.costs import CostTable
from nat.supernet.latency import LatencyTable
from nat.supernet.space import MobileNetSpace

Command = Callable[..., Any]
Words = Callable[..., list[str]]
FrontOf = Callable[[Path], dict[str, Any]]
OWN = "def layers(nets):\n    return [sum(net.depths) for net in nets]\n"
NAMES = {"top1_error", "macro_f1_error", "latency_ms", "memory_bytes", "layers"}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def many(command: Command, transfer_words: Words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with five objectives; only to be read."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "own.py").write_text(OWN)
    objectives = f"top1,macro_f1,latency,memory,{folder / 'own.py'}:layers"
    words = ["--objectives", objectives, "--max-memory", "1M", "--set", "algorithm=nsga2"]
    outcome = command(*transfer_words(folder / "run", *words))
    assert outcome.code == 0, outcome.err
    assert "Kendall tau" in outcome.out
    return folder / "run"


def test_every_objective_is_in_the_outputs(many: Path) -> None:
    front, config = read(many / "front.json"), read(many / "config.json")
    table = LatencyTable.from_json(read(many / "latency.json"))
    costs = CostTable(MobileNetSpace.from_json(config["space"]), 10, table)
    assert set(front["objectives"]) == set(front["reference_point"]) == NAMES
    assert 0 < front["hypervolume"] < 1
    assert front["limits"] == {"macs": None, "params": None, "memory_bytes": 1_000_000}
    assert front["latency"]["mape"] == table.error["mape"] and front["latency"]["threads"] == 1
    with Archive(many / "archive.sqlite", read_only=True) as archive:
        evaluations = archive.evaluations()
    for evaluation in evaluations:
        encodings = costs.space.encode([evaluation.architecture])
        assert evaluation.objectives["latency_ms"] == costs.latency_ms(encodings)[0]
        assert evaluation.objectives["memory_bytes"] == costs.memory(encodings)[0] <= 1_000_000
        assert evaluation.objectives["layers"] == sum(evaluation.architecture.depths)
        assert 0 <= evaluation.objectives["macro_f1_error"] <= 1
        assert set(evaluation.objectives) == NAMES | {"macs", "params"}
    found = {(e.architecture.id, e.weights_version): e.objectives for e in evaluations}
    for net in front["front"]:
        assert all(net[name] == found[net["id"], 1][name] for name in NAMES - {"top1_error"})
    assert all(control["latency_ms"] > 0 for control in front["controls"])


def test_a_resumed_run_keeps_its_table(many: Path, command: Command, front_of: FrontOf, tmp_path: Path) -> None:
    """All but the latency table and the settings is done anew: the same table, so the same answers."""
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("config.json", "latency.json"):
        shutil.copy(many / name, copied / name)
    outcome = command("resume", copied)
    assert outcome.code == 0, outcome.err
    assert front_of(copied) == front_of(many)


def test_picking_by_latency_and_accuracy(many: Path, command: Command, tmp_path: Path) -> None:
    nets = read(many / "front.json")["front"]
    fastest = min(nets, key=lambda net: net["latency_ms"])
    words = ["pick", many, "--max-latency-ms", str(fastest["latency_ms"]), "--json"]
    outcome = command(*words, "-o", tmp_path / "picked")
    assert outcome.code == 0, outcome.err
    with Archive(many / "archive.sqlite", read_only=True) as archive:
        known = {e.architecture.id: e.objectives for e in archive.at_version(1)}
    assert known[outcome.json["id"]]["latency_ms"] <= fastest["latency_ms"]
    refused = command(*words, "--min-top1", "0.999", "--max-memory", "1k", "-o", tmp_path / "none")
    assert refused.code == 2
    assert all(word in refused.err for word in ("--max-latency-ms", "--max-memory 1,000", "--min-top1 0.999"))


def test_a_given_table_is_used(many: Path, command: Command, transfer_words: Words, tmp_path: Path) -> None:
    """With a limit that is below all of its sums first, which leaves nothing behind."""
    table = read(many / "latency.json")
    table["ms"] = {key: 2.0 for key in table["ms"]}  # so every subnet takes 4 ms and 2 for each layer
    (tmp_path / "board.json").write_text(json.dumps(table))
    words = ["--latency", str(tmp_path / "board.json"), "--objectives", "top1,macs", "--set", "rounds=0"]
    refused = command(*transfer_words(tmp_path / "run", *words, "--max-latency-ms", "13"))
    assert refused.code == 2 and not (tmp_path / "run").exists()
    assert "of at least 14 (the greatest is 24), got 13" in refused.err
    outcome = command(*transfer_words(tmp_path / "run", *words, "--max-latency-ms", "16"))
    assert outcome.code == 0, outcome.err
    assert all(sum(net["architecture"]["d"]) <= 6 for net in read(tmp_path / "run" / "front.json")["front"])


def test_a_least_accuracy_that_nothing_reaches_says_what_there_was(
    command: Command, transfer_words: Words, tmp_path: Path
) -> None:
    outcome = command(*transfer_words(tmp_path / "run", "--min-top1", "0.999", "--set", "rounds=0"))
    assert outcome.code == 2
    assert "--min-top1 of at most 0." in outcome.err and "the least is 0." in outcome.err
