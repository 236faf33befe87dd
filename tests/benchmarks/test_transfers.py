"""The table of finished runs: means over seeds, and whether a front is below a control."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nat.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from transfers import lines, results

IMAGES = 100


def net(folder: Path, name: str, macs: int, right: int, images: int = IMAGES) -> dict[str, Any]:
    """A row of front.json, of a net that is right on so many of the first test images; its folder is made."""
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    save_file({"test": (np.arange(images) < right).astype(np.uint8)}, path / "correct.safetensors")
    accuracy = right / images
    return {"id": name, "macs": macs, "resolution": 64, "test_top1": accuracy, "finetuned_val_top1": accuracy}


def finished(run: Path, seed: int, best: int, images: int = IMAGES) -> Path:
    """The folder of a run whose best net is right on so many images, beside controls that are on 80 and 60 %."""
    front = [net(run / "subnets", name, macs, right, images) for name, macs, right in (("a", 1, 50), ("b", 5, best))]
    controls = [
        net(run / "controls", "random", 6_000_000, images * 60 // 100, images) | {"name": "random 1", "kind": "random"},
        net(run / "controls", "c", 9_000_000, images * 80 // 100, images) | {"name": "source alone", "kind": "source"},
    ]
    controls[1]["folder"] = f"controls/{controls[1].pop('id')}"
    for each in front:
        each["macs"] *= 1_000_000
    told = {"dataset": "some/flowers", "supernet": "nets/tiny.safetensors", "seconds": 12.0, "seed": seed}
    (run / "config.json").write_text(json.dumps({"options": {}, "space": {}, "data": {}}))
    (run / "front.json").write_text(json.dumps({**told, "front": front, "controls": controls}))
    return run


@pytest.mark.parametrize(("best", "fine"), [(90, True), (79, True), (70, False)])
def test_a_front_is_below_a_control_where_the_whole_interval_is(tmp_path: Path, best: int, fine: bool) -> None:
    (found,) = results([finished(tmp_path / "run", 0, best)])
    assert (found.data, found.supernet, found.not_below) == ("flowers", "tiny", fine)


def test_seeds_are_averaged(tmp_path: Path) -> None:
    (found,) = results([finished(tmp_path / "0", 0, 90), finished(tmp_path / "1", 1, 70)])
    assert (found.seeds, found.best.test_top1) == ([0, 1], pytest.approx(0.8))
    source = found.differences["source"]
    assert (source.mean, source.count) == (pytest.approx(0.0), 2)
    assert source.low < 0 < source.high


def test_the_largest_subnet_that_joined_is_not_compared_with_itself(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", 0, 90)
    front = json.loads((run / "front.json").read_text())
    front["controls"].append({**front["front"][1], "name": "largest subnet", "kind": "largest"})
    (run / "front.json").write_text(json.dumps(front))
    (found,) = results([run])
    assert "largest" in found.controls
    assert "largest" not in found.differences


def test_a_line_has_the_front_and_the_differences_in_points(tmp_path: Path) -> None:
    (found,) = results([finished(tmp_path / "run", 0, 90)])
    line = lines(found)
    assert line[:6] == ["flowers", "tiny", "1", "0.500 at 1.0 M", "0.900 at 5.0 M", "0.900 at 5.0 M"]
    assert line[6].startswith("random 0.600: +30.0 (+2")
    assert "source alone 0.800: +10.0 (+" in line[6]


def test_runs_with_other_test_images_cannot_be_averaged(tmp_path: Path) -> None:
    runs = [finished(tmp_path / "0", 0, 90), finished(tmp_path / "1", 1, 90, images=200)]
    with pytest.raises(InputError, match="same test images"):
        results(runs)
