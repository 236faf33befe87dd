"""The benchmark of differentiable searches: every strategy takes its step, and what is counted is what runs."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import oneshot as benchmark  # noqa: E402


def test_the_command_prints_one_json_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = "--layers 1 --channels 2 --resolution 4 --batch 2 --repeats 1"
    words = f"oneshot.py --json {sizes} --strategies".split()
    monkeypatch.setattr(sys, "argv", [*words, *benchmark.OURS])
    assert benchmark.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert min(found[name] for name in ("darts1", "darts2", "nasp", "gdas")) > 0
    calls = found["calls"]
    assert (calls["darts1"]["forward"], calls["nasp_full"]["forward"]) == (2 * 14 * 7, 14 * 7 + 8)
    assert calls["nasp"] == {"forward": 16, "probe": 14 * 7 - 8, "backward": calls["nasp"]["backward"]}
    assert 0 < calls["gdas"]["backward"] < calls["darts1"]["backward"] < calls["darts2"]["backward"]


def test_a_folder_of_something_else_is_no_peer(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="expected a checkout"):
        benchmark.peer_steps(tmp_path, *[None] * 2, 2, 1)  # type: ignore[arg-type]
