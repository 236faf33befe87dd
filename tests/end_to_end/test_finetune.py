"""`nat finetune`: a subnet of a run trained further, on its own images and on others."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import nat
from nat.bundle import load_bundle
from nat.pretrained.store import load_supernet_file

Command = Callable[..., Any]
EXTRAS = ("--ema", "0.9", "--mixup", "0.2", "--randaugment", "5", "--drop-path", "0.2", "--balance", "loss")
LATER = ("--cutmix", "1", "--layer-decay", "0.8", "--distill", "0.5")


def folder_of_images(root: Path, names: tuple[str, ...], seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for image in range(10):
            pixels = rng.integers(0, 80, (24, 24, 3)) + np.eye(3, dtype=int)[number % 3] * 150
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{image}.png")
    return root


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    return next((run / "subnets").iterdir())


def test_a_bundle_is_trained_further_on_its_own_images(command: Command, bundle: Path, tmp_path: Path) -> None:
    words = ("finetune", bundle, "-o", tmp_path / "better", "--amount", "4 steps", "--device", "cpu", *EXTRAS, *LATER)
    outcome = command(*words, "--json")
    assert outcome.code == 0, outcome.err
    found, metrics = outcome.json, json.loads((tmp_path / "better" / "metrics.json").read_text())
    claim = load_bundle(bundle).metrics
    assert found["before"]["test"] == claim["test"]
    assert found["after"]["test"] == metrics["test"]
    assert metrics["data"]["fingerprint"] == claim["data"]["fingerprint"]
    errors = dict(found["history"])
    assert errors[found["best_step"]] == min(errors.values()) and 0 in errors
    recipe = metrics["recipe"]
    assert (recipe["steps"], recipe["ema"], recipe["mixup"], recipe["drop_path"]) == (4, 0.9, 0.2, 0.2)
    assert (recipe["cutmix"], recipe["layer_decay"], recipe["distill"]) == (1, 0.8, 0.5)
    assert len(recipe["class_weights"]) == 10
    assert (recipe["batch"], recipe["flip"], recipe["evenness"]) == (64, False, 0) and recipe["min_crop_area"] > 0.3
    assert metrics["finetuning"]["balance"] == "loss" and metrics["finetuning"]["by"] == "balanced_error"
    largest = load_supernet_file(bundle.parents[1] / "supernet.safetensors")[1].space.largest()
    assert metrics["finetuning"]["teacher"] == largest.id
    assert command("evaluate", tmp_path / "better", "--json").json["reproduced"] is True


def test_other_classes_get_a_fresh_classifier_and_a_table(command: Command, bundle: Path, tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", ("blue", "green", "red"))
    words = ("finetune", bundle, "--data", images, "-o", tmp_path / "out", "--amount", "6 steps", "--batch-size", "8")
    outcome = command(*words, "--device", "cpu", "--learning-rate", "0.002")
    assert outcome.code == 0, outcome.err
    assert "fresh classifier" in outcome.out and "after" in outcome.out and "6 steps of adamw" in outcome.err
    made = nat.load_bundle(tmp_path / "out")
    assert made.labels == ("blue", "green", "red")
    assert made.model.architecture == load_bundle(bundle).model.architecture
    assert made.metrics["data"]["source"] == str(images)


def test_any_bundle_of_the_same_classes_can_teach(command: Command, bundle: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(bundle, tmp_path / "alone"))
    words = ("finetune", alone, "--amount", "3 steps", "--device", "cpu", "--distill", "0.5")
    outcome = command(*words, "-o", tmp_path / "out")
    assert outcome.code == 2 and "lies in no run" in outcome.err and "--teacher BUNDLE" in outcome.err
    outcome = command(*words, "-o", tmp_path / "out", "--teacher", bundle)
    assert outcome.code == 0, outcome.err
    assert "distill 0.5" in outcome.err and "the teacher is" in outcome.err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["finetuning"]["teacher"] == load_bundle(bundle).metrics["id"]


def test_a_teacher_of_other_classes_is_refused(command: Command, bundle: Path, tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", ("blue", "green", "red"))
    words = ("finetune", bundle, "--data", images, "-o", tmp_path / "out", "--amount", "2 steps", "--device", "cpu")
    outcome = command(*words, "--batch-size", "8", "--distill", "0.5")
    assert outcome.code == 2 and "expected a teacher of the images' 3 classes" in outcome.err
    assert not (tmp_path / "out").exists()


def test_the_benchmark_of_recipes_takes_up_what_it_has_measured(run: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import finetuning as benchmark

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    app, results = typer.Typer(), tmp_path / "results.jsonl"
    app.command()(benchmark.main)
    words = [str(run), "--share", "1", "--steps", "2", "--results", str(results), "--json", "--recipes"]
    first = CliRunner().invoke(app, [*words, "base,distill+layers,crop"])
    assert first.exit_code == 0, first.output
    rows = {row["recipe"]: row for row in json.loads(first.stdout)}
    assert set(rows) == {"base", "distill+layers", "crop"}
    assert rows["distill+layers"]["says"].endswith("layer decay 0.85, distill 0.5")
    assert all(0 <= row["val"] <= 1 and row["cpu_seconds"] > 0 for row in rows.values())
    again = CliRunner().invoke(app, [*words, "base,distill+layers,crop"])
    assert again.stdout == first.stdout and len(results.read_text().splitlines()) == 3
    wrong = CliRunner().invoke(app, [*words, "bass"])
    assert wrong.exit_code == 2 and "base" in wrong.output
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_what_cannot_be_used_is_said(command: Command, bundle: Path, tmp_path: Path) -> None:
    def refused(*words: Any) -> str:
        outcome = command("finetune", *words, "-o", tmp_path / "out")
        assert outcome.code == 2 and not (tmp_path / "out").exists()
        return str(outcome.err)

    assert "expected a subnet's folder" in refused(tmp_path / "nowhere")
    assert "Did you mean 'adamw'" in refused(bundle, "--optimizer", "adamww")
    assert "unknown balance 'lots'" in refused(bundle, "--balance", "lots")
    assert "expected an amount of training" in refused(bundle, "--amount", "much")
    assert "at least 1 step" in refused(bundle, "--amount", "0 steps")
    assert "expected --distill SHARE" in refused(bundle, "--teacher", bundle)
    assert "--layer-decay" in refused(bundle, "--layer-decay", "0")
    assert "expected a subnet's folder" in refused(bundle, "--distill", "0.5", "--teacher", tmp_path / "nobody")
    assert "learning rate above 0" in refused(bundle, "--learning-rate", "0")


def test_the_same_images_by_name_keep_their_splits(command: Command, bundle: Path, tmp_path: Path) -> None:
    """With another seed of the training, too: else the bundle's training images would be among the test images."""
    words = ("finetune", bundle, "--data", "digits", "--seed", "3", "--amount", "1 steps", "--device", "cpu", "--json")
    outcome = command(*words, "-o", tmp_path / "out", "--min-crop-area", "0.25", "--flip")
    assert outcome.code == 0, outcome.err
    assert outcome.json["before"]["test"] == load_bundle(bundle).metrics["test"]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["recipe"]["min_crop_area"], metrics["recipe"]["flip"]) == (0.25, True)
    assert metrics["finetuning"]["by"] == "top1_error"
    assert "split anew" not in outcome.err


def test_images_that_were_added_are_said_to_be_split_anew(command: Command, bundle: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    metrics = json.loads((changed / "metrics.json").read_text())
    metrics["data"]["fingerprint"] = "0" * 64
    (changed / "metrics.json").write_text(json.dumps(metrics))
    words = ("finetune", changed, "--data", "digits", "--amount", "1 steps", "--device", "cpu")
    outcome = command(*words, "-o", tmp_path / "out")
    assert outcome.code == 0 and "are split anew" in outcome.err


def test_changed_images_are_refused(command: Command, bundle: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    metrics = json.loads((changed / "metrics.json").read_text())
    metrics["data"]["fingerprint"] = "0" * 64
    (changed / "metrics.json").write_text(json.dumps(metrics))
    outcome = command("finetune", changed, "-o", tmp_path / "out", "--amount", "1 steps", "--device", "cpu")
    assert outcome.code == 2 and "changed ones" in outcome.err and "--data digits" in outcome.err
