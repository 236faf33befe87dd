"""A transfer with all controls: what stands beside the front, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nat.controls import timm_costs

Command = Callable[..., Any]
Words = Callable[..., list[str]]


@pytest.mark.slow
def test_all_controls_are_trained_alike_and_compared(command: Command, transfer_words: Words, tmp_path: Path) -> None:
    out = tmp_path / "run"
    outcome = command(*transfer_words(out, "--controls", "all"))
    assert outcome.code == 0, outcome.err
    front = json.loads((out / "front.json").read_text())
    kinds = [control["kind"] for control in front["controls"]]
    assert kinds == ["largest", "smallest", "random", "random", "timm"]
    *subnets, timm = front["controls"]
    ids = [control["id"] for control in subnets]
    assert len({*ids}) == 4 and not {*ids[2:]} & {net["id"] for net in front["front"]}
    assert "id" not in timm and "from scratch" in timm["name"]
    folder = next((out / "controls").glob("timm-*"))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert timm["test_top1"] == metrics["test"]["top1"] and metrics["recipe"]["steps"] == 3
    assert (timm["macs"], timm["params"]) == timm_costs(metrics["timm"], 24, 10)
    assert all(control["test_interval"] for control in front["controls"])
    assert front["verdict"][0].startswith(f"The search ({front['search_seconds']:.0f} s) ")
    assert timm["name"] in front["verdict"][0] or timm["macs"] < front["front"][0]["macs"]
    (out / "front.json").unlink()
    again = command("resume", out, "--json")
    assert again.code == 0 and again.json["controls"] == front["controls"]
