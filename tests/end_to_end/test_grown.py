"""From a network of timm to a transfer: the commands, and the folder of a run in a space of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm import create_model

import nat

Command = Callable[..., Any]
Words = Callable[..., list[str]]
MODEL = "mobilenetv2_035"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(create_model(MODEL, pretrained=False, num_classes=5).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def run(weights: Path, command: Command, transfer_words: Words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "grown"
    outcome = command(*transfer_words(out, "--supernet", weights, "--model", MODEL, "--resolutions", "32"))
    assert outcome.code == 0, outcome.err
    return out


def test_a_transfer_grows_its_supernet(run: Path, weights: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["model"] == MODEL and config["options"]["supernet"] == str(weights)
    assert config["space"]["structure"]["name"] == MODEL
    assert config["options"]["overrides"]["fit_classifier"] is True  # though its images have five classes
    front = json.loads((run / "front.json").read_text())
    assert {net["architecture"]["space"] for net in front["front"]} == {MODEL}
    largest = next(control for control in front["controls"] if control["name"] == "largest subnet")
    with torch.device("meta"):
        plain = create_model(MODEL, pretrained=False, num_classes=10)
    assert largest["params"] == sum(parameter.numel() for parameter in plain.parameters())


@pytest.mark.slow
def test_the_source_alone_is_a_control(weights: Path, command: Command, transfer_words: Words, tmp_path: Path) -> None:
    out, words = tmp_path / "run", ("--supernet", weights, "--model", MODEL, "--resolutions", "32")
    outcome = command(*transfer_words(out, *words, "--controls", "all"))
    assert outcome.code == 0, outcome.err
    controls = json.loads((out / "front.json").read_text())["controls"]
    largest, source = controls[0], controls[-1]
    assert (source["kind"], source["name"]) == ("source", "source network alone") and "id" not in source
    assert (source["macs"], source["params"]) == (largest["macs"], largest["params"])
    assert nat.load_bundle(out / "controls" / "source").metrics["recipe"]["steps"] == 3


def test_bundles_bring_their_structure_along(run: Path, command: Command) -> None:
    for bundle in sorted((run / "subnets").iterdir()):
        assert json.loads((bundle / "architecture.json").read_text())["structure"]["name"] == MODEL
        assert nat.load_subnet(bundle)(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    outcome = command("evaluate", bundle, "--json")
    assert outcome.code == 0 and outcome.json["reproduced"] is True, outcome.err


def test_costs_of_a_bundle_are_counted_from_its_file(run: Path, command: Command) -> None:
    net = json.loads((run / "front.json").read_text())["front"][0]
    outcome = command("macs", run / "subnets" / net["id"] / "architecture.json", "--classes", "10", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["macs"], outcome.json["params"]) == (net["macs"], net["params"])


def test_the_adapted_supernet_can_be_picked_from_and_used_again(
    run: Path, command: Command, transfer_words: Words, tmp_path: Path
) -> None:
    outcome = command("pick", run, "-o", tmp_path / "picked", "--json")
    assert outcome.code == 0, outcome.err
    words = transfer_words(tmp_path / "again", "--supernet", run / "supernet.safetensors", "--resolutions", "32")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err


def test_grow_writes_a_supernet_and_says_what_it_is(weights: Path, command: Command, tmp_path: Path) -> None:
    words = ["checkpoints", "grow", weights, "--model", MODEL, "--out", tmp_path / "out", "--resolution", "64"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert "logits differ by" in outcome.out and f"{MODEL}.safetensors" in outcome.out
    again = command(*words)
    assert again.code == 2 and "there already" in again.err
    outcome = command("checkpoints", "info", tmp_path / "out" / f"{MODEL}.safetensors", "--json")
    assert outcome.code == 0 and outcome.json["space"]["structure"]["name"] == MODEL


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet18",), "MobileNetV3-Large or MobileNetV2 of timm"),
        (("mobilenetv9",), "name of a timm model, got 'mobilenetv9'"),
        (("nowhere.safetensors", "--model", MODEL), "nowhere.safetensors"),
    ],
)
def test_bad_sources_end_with_one_sentence(
    words: tuple[str, ...], message: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    outcome = command("checkpoints", "grow", *words, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())
    assert not (tmp_path / "out").exists()
