"""`nat latency`: the file it writes, what it says, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nat.pretrained.store import load_supernet_file
from nat.supernet.latency import LatencyTable, SpaceLatency

Command = Callable[..., Any]


def test_a_table_is_written_and_described(command: Command, supernet_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    outcome = command("latency", supernet_file, "--resolutions", "16", "--threads", "1", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    table = LatencyTable.from_json(json.loads(out.read_text()))
    found = SpaceLatency(load_supernet_file(supernet_file)[1].space.with_resolutions([16]), table)
    fastest, slowest = found.ms(found.extremes()).tolist()
    assert (outcome.json["fastest_ms"], outcome.json["slowest_ms"]) == (fastest, slowest)
    assert outcome.json["mape"] == table.error["mape"] > 0 and outcome.json["parts"] == len(table.ms)
    again = command("latency", supernet_file, "--out", out)
    assert again.code == 2 and "latency.json" in again.err
