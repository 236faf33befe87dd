"""`nat evaluate`: a bundle measured again on its own images, and on others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nat.bundle import load_bundle, save_bundle
from nat.datasets.decode import read_image
from nat.datasets.loading import load_dataset
from nat.datasets.preprocess import Preprocess
from nat.metrics import measure
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet

Command = Callable[..., Any]
CLASSES = ("blue", "green", "red")


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of five images."""
    for number, label in enumerate(CLASSES):
        for image in range(5):
            draw(tmp_path / "photos" / label / f"{image}.png", 10 * number + image)
    return tmp_path / "photos"


@pytest.fixture
def bundle(space: MobileNetSpace, photos: Path, tmp_path: Path) -> Path:
    """A net of random weights that answers now this, now that; measured on the images."""
    torch.manual_seed(0)
    subnet, splits = Subnet(space, space.smallest(), 3).eval(), load_dataset(photos)
    subnet.get_submodule("classifier.linear").weight.data.normal_(0, 30)  # type: ignore[operator, union-attr]
    preprocess = Preprocess.for_resolution(24, 1.0, (0.5,) * 3, (0.2,) * 3)
    data = {"name": "photos", "source": str(photos), "data_root": None, "seed": 0, "skip_corrupt": False}
    metrics: dict[str, Any] = {name: measure(subnet, preprocess, getattr(splits, name)) for name in ("val", "test")}
    metrics |= {"id": subnet.architecture.id, "macs": 1, "params": 1, "resolution": 24, "finetuned": False}
    metrics |= {"supernet": "random", "threads": 1, "data": data | {"fingerprint": splits.fingerprint}}
    save_bundle(tmp_path / "net", subnet, preprocess, CLASSES, metrics)
    return tmp_path / "net"


def share_right(bundle: Path, images: list[Path], label: str) -> float:
    """Share of image files that a net takes for a class, one by one."""
    loaded = load_bundle(bundle)
    right = []
    for path in images:
        batch = loaded.preprocess.normalise(loaded.preprocess.shape(read_image(path))[None])
        with torch.inference_mode():
            right.append(loaded.labels[int(loaded.model(batch).argmax())] == label)
    return float(np.mean(right))


def test_its_own_images_are_known_wherever_they_lie(
    bundle: Path, photos: Path, command: Command, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    for words in ((), ("--data", photos), ("--data", moved)):
        outcome = command("evaluate", bundle, *words, "--json")
        assert outcome.code == 0 and outcome.json["reproduced"] is True, outcome.err
        assert (outcome.json["val"]["images"], outcome.json["test"]["images"]) == (3, 3)
    assert command("evaluate", bundle, "--split", "val").code == 0


def test_all_of_other_images_are_measured_by_the_names_of_their_classes(
    bundle: Path, command: Command, tmp_path: Path
) -> None:
    for seed in range(7):
        draw(tmp_path / "new" / "red" / f"{seed}.png", 100 + seed)
    draw(tmp_path / "new" / "green" / "one.png", 200)
    outcome = command("evaluate", bundle, "--data", tmp_path / "new", "--json")
    assert outcome.code == 0, outcome.err
    found, recalls = outcome.json["all"], outcome.json["all"]["recalls"]
    assert found["images"] == 8 and outcome.json["reproduced"] is None and recalls[0] is None
    files = sorted((tmp_path / "new" / "red").iterdir())
    assert recalls[2] == pytest.approx(share_right(bundle, files, "red"))
    assert recalls[1] == share_right(bundle, [tmp_path / "new" / "green" / "one.png"], "green")
    assert "all 8 of them" in outcome.json["says"] and "none of them is of class 'blue'" in outcome.json["says"]
    table = command("evaluate", bundle, "--data", tmp_path / "new").out
    assert "all" in table and "8" in table


def test_of_images_in_splits_the_test_ones_are_measured(bundle: Path, command: Command, tmp_path: Path) -> None:
    draw(tmp_path / "new" / "test" / "red" / "one.png", 100)
    outcome = command("evaluate", bundle, "--data", tmp_path / "new", "--json")
    assert outcome.code == 0 and outcome.json["test"]["images"] == 1, outcome.err
    for name in range(3):
        draw(tmp_path / "new" / "train" / "unknown" / f"{name}.png", name)
    outcome = command("evaluate", bundle, "--data", tmp_path / "new", "--json")
    assert outcome.json["test"]["images"] == 1 and "(3 others were not looked at)" in outcome.json["says"]


def test_a_list_and_what_is_corrupt(bundle: Path, command: Command, tmp_path: Path) -> None:
    metrics = json.loads((bundle / "metrics.json").read_text())
    metrics["data"]["skip_corrupt"] = True
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    for seed in range(2):
        draw(tmp_path / "new" / f"{seed}.png", seed)
    (tmp_path / "new" / "bad.png").write_text("no image")
    rows = ["path,label", "0.png,red", "1.png,blue", "bad.png,blue"]
    (tmp_path / "new" / "list.csv").write_text("\n".join(rows))
    outcome = command("evaluate", bundle, "--data", tmp_path / "new" / "list.csv", "--json")
    assert outcome.code == 0 and outcome.json["all"]["images"] == 2, outcome.err
    assert "skipped 1 corrupt files, such as" in outcome.json["says"]


def test_images_of_other_classes_are_refused(bundle: Path, command: Command, tmp_path: Path) -> None:
    draw(tmp_path / "new" / "red" / "one.png", 1)
    draw(tmp_path / "new" / "mauve" / "one.png", 2)
    outcome = command("evaluate", bundle, "--data", tmp_path / "new")
    assert outcome.code == 2 and "3 classes (blue, green, red, ...), got also 'mauve'" in outcome.err


def test_added_images_may_have_been_trained_on(bundle: Path, photos: Path, command: Command) -> None:
    draw(photos / "red" / "new.png", 1000)
    for words in ((), ("--data", photos)):
        outcome = command("evaluate", bundle, *words, "--json")
        assert outcome.code == 0 and outcome.json["reproduced"] is None, outcome.err
        assert "may have been trained on" in outcome.json["says"] and set(outcome.json) >= {"val", "test"}
