"""`nat pretrain` and `nat checkpoints verify` as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nat.pretrained.card import Card
from nat.pretrained.store import load_supernet_file, save_supernet
from nat.pretraining.training import STATE
from nat.supernet.costs import CostTable
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

Command = Callable[..., Any]
MakeImages = Callable[[Mapping[str, int]], Path]
SHORT = ("--epochs", "0.5", "--batch-size", "8", "--resolutions", "24,32", "--threads", "1", "--device", "cpu")
PATIENCE = 400.0  # seconds
FOUR = {name: 12 for name in "abcd"}


def test_pretrain_then_verify_then_go_on(command: Command, make_images: MakeImages, tmp_path: Path) -> None:
    images = make_images(FOUR)
    done = command("pretrain", images, "--out", tmp_path / "out", "--name", "mine", *SHORT)
    assert done.code == 0, done.err
    path = tmp_path / "out" / "mine.safetensors"
    assert str(path) in done.out and "val top-1" in done.err
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["num_classes"] == 4 and card["recipe"]["method"] == "sandwich"

    found = command("checkpoints", "verify", path, "--data", images, "--json").json
    assert list(found) == ["smallest", "middle", "largest"]
    assert all(0 <= net["top1"] <= 1 for net in found.values())
    space = load_supernet_file(path)[1].space
    assert found["smallest"]["macs"] == CostTable(space, 4).of(space.smallest())[0]
    assert found["largest"]["macs"] == CostTable(space, 4).of(space.largest())[0]
    assert found["smallest"]["macs"] < found["middle"]["macs"] < found["largest"]["macs"]
    assert "largest" in command("checkpoints", "verify", path, "--data", images).out

    again = command("pretrain", images, "--out", tmp_path / "on", "--resume-from", path, "--no-flip", *SHORT)
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "on" / "recipe.json").read_text())["flip"] is False
    other = command("pretrain", images, "--out", tmp_path / "on", "--resume-from", path, *SHORT)
    assert other.code == 2 and "a training with other flip" in other.err
    card = json.loads((tmp_path / "on" / "supernet.json").read_text())
    assert "from mine" in card["trained_on"] and str(tmp_path) not in json.dumps(card)


def test_it_starts_from_a_single_network_with_the_preprocessing_of_that(
    command: Command, make_images: MakeImages, tmp_path: Path
) -> None:
    space, half = MobileNetSpace(0.25, (3, 5), (2, 3), (1, 2), (24,)), (0.5, 0.5, 0.5)
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "one.safetensors"
    card = Card("one", "a single network", space, 7, half, half, trained_on="ImageNet-1k", elastic=False)
    save_supernet(Supernet(space, 7, generator=generator), card, path)
    assert load_supernet_file(path)[1] == card
    outcome = command("pretrain", make_images(FOUR), "--out", tmp_path / "out", "--from", path, *SHORT)
    assert outcome.code == 0, outcome.err
    assert "fitting batch norm" in outcome.err and "fitting a classifier" in outcome.err
    found = load_supernet_file(tmp_path / "out" / "supernet.safetensors")[1]
    assert (found.mean, found.std, found.num_classes, found.elastic) == (half, half, 4, True)
    assert "from one" in found.trained_on


def test_shrinking_is_a_recipe(command: Command, make_images: MakeImages, tmp_path: Path) -> None:
    words = ("pretrain", make_images(FOUR), "--out", tmp_path / "out", "--recipe", "shrinking", *SHORT)
    done = command(*words, "--epochs", "2")
    assert done.code == 0, done.err
    recipe = json.loads((tmp_path / "out" / "supernet.json").read_text())["recipe"]
    assert (recipe["method"], recipe["optimizer"], recipe["label_smoothing"]) == ("shrinking", "nesterov", 0.1)


def test_verify_refuses_images_of_other_classes(command: Command, make_images: MakeImages, supernet_file: Path) -> None:
    outcome = command("checkpoints", "verify", supernet_file, "--data", make_images({"a": 6, "b": 6}))
    assert outcome.code == 2
    assert "expected images of the 5 classes" in outcome.err and "nat transfer DATA --supernet" in outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "sandwhich"), "Did you mean 'sandwich'?"),
        (("--teacher", "resnet18x"), "name of a timm model"),
        (("--teacher", "resnet18", "--teacher-weights", "nowhere.pth"), "cannot read the teacher's weights"),
        (("--teacher-weights", "nowhere.pth"), "expected --teacher MODEL"),
        (("--name", "recipe"), "expected a name of letters"),
        (("--model", "mobilenetv2_100"), "expected --from FILE"),
        (("--from", "weights.pth", "--model", "mobilenetv2_100"), "expected a file of weights"),
        (("--resume-from", "tiny-smal"), "Did you mean 'tiny-small'?"),
        (("--resume-from", "tiny-small", "--space", "nat-w1.0"), "of the space that is trained"),
        (("--device", "cuda:77"), "cannot be used here"),
        (("--optimizer", "adamv"), "Did you mean 'adam"),
        (("--resolutions", ""), "at least one"),
    ],
)
def test_pretrain_refuses(
    command: Command, make_images: MakeImages, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    outcome = command("pretrain", make_images(FOUR), "--out", tmp_path / "out", *SHORT, *words)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())


def broken(tensors: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    name = "blocks.1.conv.point_linear.conv.conv.weight"
    if how == "shape":
        tensors[name] = tensors[name][:1].contiguous()
    if how == "nan":
        tensors[name][0] = torch.nan
    return tensors


@pytest.mark.parametrize(("how", "said"), [("shape", "of other shapes"), ("nan", "not finite"), ("header", "damaged")])
def test_a_bad_checkpoint_to_start_from_is_named_and_nothing_is_begun(
    command: Command, make_images: MakeImages, tmp_path: Path, how: str, said: str
) -> None:
    space = MobileNetSpace(0.25, (3, 5), (2, 3), (1, 2), (24,))
    supernet, path = Supernet(space, 4), tmp_path / "bad.safetensors"
    save_supernet(supernet, Card("bad", "bad", space, 4), path)
    if how == "header":
        content = path.read_bytes()
        path.write_bytes((len(content) * 1000).to_bytes(8, "little") + content[8:])
    else:
        from safetensors.torch import load_file, save_file

        save_file(broken(load_file(path), how), path)
    outcome = command("pretrain", make_images(FOUR), "--out", tmp_path / "out", "--resume-from", path, *SHORT)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sandwich", "shrinking"])
def test_killed_at_random_moments_and_started_again_it_ends_with_the_same_weights(tmp_path: Path, recipe: str) -> None:
    words = [sys.executable, "-m", "nat", "pretrain", "digits", "--recipe", recipe, *SHORT]
    words += ["--epochs", "0.6", "--ema", "0.9", "--save-seconds", "0.1"]
    rng = np.random.default_rng()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*words, "--out", str(whole)], check=True, capture_output=True, timeout=PATIENCE)
    seen = list[float]()
    for share in (0.0, 0.3, 0.6):
        process = subprocess.Popen([*words, "--out", str(killed)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for_checkpoint(process, killed, share)
        time.sleep(rng.uniform(0, 1))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was killed too late"
        seen.append(checkpointed(killed))
    assert seen == sorted(seen) and seen[0] > 0
    subprocess.run([*words, "--out", str(killed)], check=True, capture_output=True, timeout=PATIENCE)
    for file in ("supernet.safetensors", "recipe.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes()
    assert not [path for path in killed.iterdir() if "draft" in path.name]


def checkpointed(out: Path) -> float:
    """How far the last checkpoint is, 0 to 1; 0 if there is none."""
    if not (out / STATE).exists():
        return 0.0
    state = torch.load(out / STATE, weights_only=True)
    return float(state["step"] / state["steps"])


def wait_for_checkpoint(process: "subprocess.Popen[bytes]", out: Path, share: float) -> None:
    """Returns when a checkpoint beyond that share of the training is there."""
    deadline = time.monotonic() + PATIENCE
    while checkpointed(out) <= share:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(command: Command, make_images: MakeImages, tmp_path: Path) -> None:
    images = make_images(FOUR)
    words = (*SHORT, "--epochs", "2", "--optimizer", "nesterov", "--learning-rate", "0.01", "--ema", "0.9")
    alone, together, begun = tmp_path / "alone", tmp_path / "together", tmp_path / "begun"
    assert command("pretrain", images, "--out", alone, *words).code == 0
    assert command("pretrain", images, "--out", begun, *words, "--learning-rate", "0").code == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nat"]
    done = subprocess.run(
        [*launcher, "pretrain", str(images), "--out", str(together), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("supernet: ") == 1, "one process reports"
    first, one, two = (torch.load(out / STATE, weights_only=True) for out in (begun, alone, together))
    for kind in ("supernet", "average"):
        for name, expected in one[kind].items():
            moved = float((expected - first[kind][name]).float().norm())
            apart = float((two[kind][name] - expected).float().norm())
            assert apart <= 0.1 * moved + 1e-5, f"{kind} {name}"
    ours, theirs = one["supernet"], first["supernet"]
    assert sum("conv.weight" in name and not torch.equal(ours[name], theirs[name]) for name in ours) > 20
