"""Everything on a folder made hard on purpose: uneven classes, one of three images, corrupt files, copies of images,
all modes and sizes, nested folders, and names with spaces, other scripts and signs that mean something elsewhere.
"""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nat.bootstrap import read_correct
from nat.predictions import Predictions
from nat.pretrained.card import UNTRAINED

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from hard_images import write_broken, write_class, write_copies

Command = Callable[..., Any]
COMMON = ("blöt chy", "[red]banded", "編 bráided", "a|b <i>c", "100 % $x^2$")
COUNTS = {**dict.fromkeys(COMMON, 40), **dict.fromkeys(("rare 'one'", 'rare "two"', "rare [b]"), 4), "three": 3}
SAID = ("corrupt images", "images of the smallest: see --balance", "near-duplicates of images of another split")


def photograph(rng: np.random.Generator, kind: int) -> Image.Image:
    """Blobs with a stripe whose place tells the class, of any size."""
    pixels = rng.integers(0, 200, (8, 8, 3), dtype=np.uint8)
    pixels[kind % 8] = 255 - 60 * (kind // 8)
    width, height = (int(side) for side in rng.integers(33, 72, 2))
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """215 images, 10 copies of some, a tiny one, and 4 corrupt files."""
    root, rng = tmp_path_factory.mktemp("hard") / "my [b]images $x_ ü$", np.random.default_rng(0)
    for kind, (name, count) in enumerate(COUNTS.items()):
        images = [photograph(rng, kind) for _ in range(count)]
        write_class(root / name, images)
        if name in COMMON:
            write_copies(root / name, [(number, images[number]) for number in (7, 14)])  # in colours, as their modes
    Image.fromarray(np.full((20, 20, 3), 7, np.uint8)).save(root / COMMON[4] / "tiny.png")
    write_broken([root / name for name in COMMON[:4]], 4)
    return root


@dataclass(frozen=True)
class Done:
    """A transfer: where it is, and what it said."""

    run: Path
    said: str
    shown: str


@pytest.fixture(scope="module")
def transfer(
    hard: Path, command: Command, transfer_words: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Done]:
    done: dict[str, Done] = {}

    def make(balance: str) -> Done:
        if balance not in done:
            out = tmp_path_factory.mktemp("runs") / f"with [i]{balance} ü"
            words = transfer_words(out, "--balance", balance, "--set", "front=1", "--controls", "none")
            if balance == "none":  # one whole search is enough
                words += ["--set", "initial=2", "--set", "rounds=0", "--no-flip"]
            outcome = command(*(str(hard) if word == "digits" else word for word in words))
            assert outcome.code == 0, outcome.err
            done[balance] = Done(out, outcome.err, outcome.out)
        return done[balance]

    return make


def bundles_of(run: Path) -> list[Path]:
    return sorted((run / "subnets").iterdir())


def test_info_tells_all_there_is_to_know(hard: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("datasets", "info", hard)
    assert outcome.code == 0, outcome.err
    facts = command("datasets", "info", hard, "--json").json
    assert facts["num_classes"] == len(COUNTS) and sorted(COUNTS) == facts["classes"]
    assert len(facts["corrupt"]) == 4 and all(Path(path).is_file() for path in facts["corrupt"])
    assert facts["corrupt_in_a_transfer"].startswith("4 of 230 files (1.7 %): skipped, and said")
    assert facts["smallest_class"] == {"name": "three", "train_images": 1}
    assert "near-duplicates" in facts["near_duplicates"] and "near_duplicate_pairs" not in outcome.out
    pairs = facts["near_duplicate_pairs"]
    assert pairs and all(Path(one["image"]).is_file() and Path(one["other_image"]).is_file() for one in pairs)
    for name in COUNTS:
        assert name.split()[-1] in outcome.out  # as it is, nothing taken for markup

    listed = tmp_path / "list.csv"
    with listed.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        images = (path for path in sorted(hard.rglob("*.*")) if path.is_file())
        rows.writerows([path, path.relative_to(hard).parts[0]] for path in images)
    again = command("datasets", "info", listed, "--json").json
    assert {key: again[key] for key in ("splits", "classes", "fingerprint")} == {
        key: facts[key] for key in ("splits", "classes", "fingerprint")
    }


def test_each_thing_is_said_once(transfer: Callable[[str], Done]) -> None:
    for balance, times in (("none", 1), ("auto", 0)):
        said = transfer(balance).said
        assert [said.count(text) for text in SAID] == [1, times, 1], said
        assert "bro[i]ken" in said  # a whole path, to be copied
    data = json.loads((transfer("none").run / "config.json").read_text())["data"]
    assert data["unevenness"] > 20 and data["near_duplicates"] > 0 and data["skipped"] == 4
    pairs = json.loads((transfer("none").run / "near_duplicates.json").read_text())
    assert len({one["image"] for one in pairs}) == data["near_duplicates"]


def test_images_that_must_not_be_mirrored_are_not(
    transfer: Callable[[str], Done], command: Command, tmp_path: Path
) -> None:
    flips = {}
    for balance in ("none", "auto"):
        run = transfer(balance).run
        metrics = json.loads((bundles_of(run)[0] / "metrics.json").read_text())
        asked = json.loads((run / "config.json").read_text())["options"]["flip"]
        flips[balance] = asked, metrics["data"]["flip"], metrics["recipe"]["flip"]
    assert flips == {"none": (False, False, False), "auto": (None, None, True)}
    bundle, words = bundles_of(transfer("none").run)[0], ("--amount", "1 steps", "--device", "cpu")
    outcome = command("finetune", bundle, "-o", tmp_path / "longer", *words)
    assert outcome.code == 0, outcome.err
    metrics = json.loads((tmp_path / "longer" / "metrics.json").read_text())
    assert metrics["data"]["flip"] is False and metrics["recipe"]["flip"] is False
    origin = {"trained_on": f"{UNTRAINED}; then {metrics['data']['name']}", "licence": ""}
    assert metrics["supernet_card"] == json.loads((bundle / "metrics.json").read_text())["supernet_card"] == origin


@pytest.mark.parametrize("balance", ["none", "auto"])
def test_metrics_tell_of_uneven_classes(balance: str, transfer: Callable[[str], Done]) -> None:
    run = transfer(balance).run
    for bundle in bundles_of(run):
        metrics = json.loads((bundle / "metrics.json").read_text())
        found = Predictions.read(bundle, len(COUNTS))
        assert found is not None
        recalls = [found.right[found.labels == kind].mean() for kind in range(len(COUNTS))]
        assert metrics["test"]["recalls"] == pytest.approx(recalls)
        assert metrics["test"]["balanced_accuracy"] == pytest.approx(np.mean(recalls))
        assert metrics["test"]["top1"] == pytest.approx(found.top1)
        assert dict(read_correct(bundle))["test"].tolist() == found.right.tolist()
        for split in ("val", "test"):
            assert 0 < metrics[split]["macro_f1"] <= 1 and 0 <= metrics[split]["calibration_error"] <= 1


def test_what_comes_behind_works(
    hard: Path, transfer: Callable[[str], Done], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nat.report.figures.FORMATS", ("svg",))  # drawing takes long, and this format is text
    run, out = transfer("auto").run, tmp_path / "picked [b] ü"
    assert command("front", run).code == 0
    picked = command("pick", run, "-o", out)
    assert picked.code == 0, picked.err
    again = command("evaluate", out, "--json")
    assert again.code == 0 and again.json["reproduced"], again.err
    exported = command("export", out, "--format", "onnx", "--json")
    assert exported.code == 0, exported.err
    (facts,) = exported.json
    assert facts["formats"]["onnx"]["top1"] == facts["bundle_test_top1"]
    image = next((hard / "[red]banded").glob("ímage*.jpg"))
    answered = command("predict", out, image, "--top", "2")
    assert answered.code == 0 and str(image) in answered.out and answered.out.count("%") >= 2
    page = command("report", run, "--out", tmp_path / "report.html", "--figures", tmp_path / "figures")
    assert page.code == 0, page.err
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a|b \\u003ci\\u003ec" in text and "<i>c" not in text
    assert "100 % $x^2$" in (tmp_path / "figures" / "classes.svg").read_text(encoding="utf-8"), "no formula"
