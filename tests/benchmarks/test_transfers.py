"""The table of finished runs: what stands in front.json, and whether a front is below a control."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from transfers import lines, result

CONTROLS = [
    {"name": "largest subnet", "macs": 9_000_000, "resolution": 64, "test_top1": 0.8},
    {"name": "smallest subnet", "macs": 1_000_000, "resolution": 32, "test_top1": 0.6},
]


def finished(run: Path, high: float) -> Path:
    """A folder with the front.json of a run, whose front is better than the largest subnet by -2 to `high`."""
    net = {"id": "abc", "macs": 5_000_000, "resolution": 64, "test_top1": 0.81}
    compared: dict[str, Any] = {"control": "largest subnet", "net": "abc", "difference": 0.01}
    compared |= {"low": -0.02, "high": high}
    front = {"dataset": "some/flowers", "supernet": "nets/tiny.safetensors", "seconds": 12.0}
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"options": {}, "space": {}, "data": {}}))
    (run / "front.json").write_text(
        json.dumps({**front, "front": [net], "controls": CONTROLS, "comparisons": [compared]})
    )
    return run


@pytest.mark.parametrize(("high", "fine"), [(0.04, True), (-0.01, False)])
def test_a_front_is_below_a_control_where_the_whole_interval_is(tmp_path: Path, high: float, fine: bool) -> None:
    found = result(finished(tmp_path / "run", high))
    assert (found["data"], found["supernet"], found["not_below"]) == ("flowers", "tiny", fine)


def test_lines_have_the_front_then_the_controls_with_differences_in_points(tmp_path: Path) -> None:
    front, smallest, largest = lines(result(finished(tmp_path / "run", 0.04)))
    assert front == ("flowers", "tiny", "abc", "5.0 M", "64 px", "0.810", "")
    assert smallest[2:] == ("smallest subnet", "1.0 M", "32 px", "0.600", "-")
    assert largest[2:] == ("largest subnet", "9.0 M", "64 px", "0.800", "+1.0 (-2.0 to +4.0)")
