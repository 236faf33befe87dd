"""The table of finished runs: means over seeds, and whether a front is below a control."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nat.errors import InputError
from nat.predictions import Predictions

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from transfers import Result, lines, results

IMAGES = 100


def net(folder: Path, name: str, macs: int, right: int, first: int = 0) -> dict[str, Any]:
    """A row of front.json, of a net that is right on so many of the first test images; its folder is made."""
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    is_right = np.arange(IMAGES) < right
    save_file({"test": is_right.astype(np.uint8)}, path / "correct.safetensors")
    labels = ((np.arange(IMAGES) + first) % 3).astype(np.int32)
    answers = np.where(is_right, labels, (labels + 1) % 3).astype(np.int32)
    Predictions(labels, answers, np.ones(IMAGES, np.float32)).save(path)
    return {"id": name, "macs": macs, "resolution": 64, "test_top1": right / IMAGES, "finetuned_val_top1": right}


def finished(run: Path, best: int = 90, seed: int = 0, effort: str = "quick", first: int = 0) -> Path:
    """The folder of a run whose best net is right on so many images, beside controls that are on 80 and 60."""
    front = [
        net(run / "subnets", name, macs * 10**6, right, first) for name, macs, right in (("a", 1, 50), ("b", 5, best))
    ]
    random, source = (net(run / "controls", name, 6_000_000, right) for name, right in (("c", 60), ("source", 80)))
    controls = [random | {"name": "random subnet 1", "kind": "random"}, source | {"name": "source", "kind": "source"}]
    controls[1]["folder"] = f"controls/{controls[1].pop('id')}"
    told = {"dataset": "some/flowers", "supernet": "nets/tiny.safetensors", "seconds": 12.0, "seed": seed}
    told |= {"num_classes": 3, "limits": {"macs": None}, "front": front, "controls": controls}
    options = {"data": "some/flowers", "seed": seed, "effort": effort}
    (run / "config.json").write_text(json.dumps({"options": options, "space": {}, "data": {}}))
    (run / "front.json").write_text(json.dumps(told))
    return run


def changed(run: Path, **told: Any) -> Path:
    """The run, with other entries in front.json."""
    front = json.loads((run / "front.json").read_text())
    (run / "front.json").write_text(json.dumps(front | told))
    return run


def result(*runs: Path) -> Result:
    (found,) = results(runs)
    return found


@pytest.mark.parametrize(("best", "fine"), [(90, True), (79, True), (70, False)])
def test_a_front_is_below_a_control_where_the_whole_interval_is(tmp_path: Path, best: int, fine: bool) -> None:
    found = result(finished(tmp_path / "run", best))
    assert (found.data, found.supernet, found.not_below) == ("flowers", "tiny", fine)


def test_seeds_are_averaged(tmp_path: Path) -> None:
    found = result(finished(tmp_path / "0", 90), finished(tmp_path / "1", 70, seed=1))
    assert (found.seeds, found.best.test_top1) == ([0, 1], pytest.approx(0.8))
    source = found.differences["source"]
    assert (source.mean, source.count, source.control.test_top1) == (pytest.approx(0.0), 2, 0.8)
    assert source.low < 0 < source.high


def test_the_largest_subnet_that_joined_is_as_good_as_itself(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    front = json.loads((run / "front.json").read_text())
    largest = front["front"][1] | {"name": "largest subnet", "kind": "largest"}
    changed(run, controls=[*front["controls"], largest])
    assert (result(run).differences["largest"].mean, result(run).not_below) == (0.0, True)


def test_a_control_over_the_budget_does_not_count(tmp_path: Path) -> None:
    assert not result(finished(tmp_path / "run", 70)).not_below
    run = changed(tmp_path / "run", limits={"macs": 5_500_000})
    assert result(run).differences == {}


def test_what_began_with_random_weights_is_a_kind_of_its_own(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    front = json.loads((run / "front.json").read_text())
    timm = [front["controls"][1] | {"kind": "timm", "judges": judges} for judges in (True, False)]
    changed(run, controls=timm)
    assert {kind: each.count for kind, each in result(run).differences.items()} == {"timm": 1, "scratch": 1}


def test_a_line_has_the_front_and_the_differences_in_points(tmp_path: Path) -> None:
    line = lines(result(finished(tmp_path / "run")))
    assert line[:6] == ["flowers", "tiny", "1", "0.500 at 1.0 M", "0.900 at 5.0 M", "0.900 at 5.0 M"]
    assert line[6].startswith("random 0.600: +30.0 (+2")
    assert "source alone 0.800: +10.0 (+" in line[6]


def test_only_runs_that_differ_in_their_seed_alone_are_averaged(tmp_path: Path) -> None:
    first = finished(tmp_path / "0")
    twice = Path(shutil.copytree(first, tmp_path / "2"))
    for other in (finished(tmp_path / "1", seed=1, effort="standard"), twice):
        with pytest.raises(InputError, match="differ in their seed alone"):
            results([first, other])
    with pytest.raises(InputError, match="test images of their own"):
        results([first, finished(tmp_path / "3", seed=1, first=1)])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    shutil.rmtree(run / "controls" / "source")
    with pytest.raises(InputError, match=r"right on in .*controls/source"):
        results([run])
