"""A transfer with all controls: what stands beside the front, and what is said of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm import create_model

from nat.pretrained import timm_hub
from nat.pretrained.store import load_supernet_file, save_supernet
from nat.timm_controls import timm_costs

Command = Callable[..., Any]
Words = Callable[..., list[str]]
MODEL = "tf_mobilenetv3_small_minimal_100"


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


@pytest.fixture(scope="module")
def photographic(supernet_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet whose card says that it was trained on ImageNet."""
    supernet, card = load_supernet_file(supernet_file)
    path = tmp_path_factory.mktemp("supernet") / "photographic.safetensors"
    save_supernet(supernet, replace(card, trained_on="ImageNet-1k"), path)
    return path


def test_features_of_imagenet_are_compared_with_such_features(
    photographic: Path, command: Command, transfer_words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network with published weights, which stand in here; without them one from scratch, which does not judge."""

    def published(model: str, *, pretrained: bool, **_: Any) -> torch.nn.Module:
        assert pretrained
        network: torch.nn.Module = create_model(model, pretrained=False)
        return network

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr("nat.outsider.PRETRAINED", (MODEL,))
    monkeypatch.setattr(timm_hub, "get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(timm_hub, "create_model", published)
    out = tmp_path / "run"
    words = transfer_words(out, "--set", "front=1", "--controls", "all")
    outcome = command(*(photographic if word.endswith("mini.safetensors") else word for word in words))
    assert outcome.code == 0, outcome.err
    *_, control = json.loads((out / "front.json").read_text())["controls"]
    assert (control["kind"], control["name"]) == ("timm", f"pretrained {MODEL} of timm")
    metrics = json.loads((out / "controls" / f"timm-{MODEL}-pretrained-24px" / "metrics.json").read_text())
    assert metrics["weights"] == "published" and metrics["recipe"]["steps"] == 3
    preprocess = json.loads((out / "controls" / f"timm-{MODEL}-pretrained-24px" / "preprocess.json").read_text())
    assert preprocess["mean"] == [0.5, 0.5, 0.5], "its own, not the supernet's"

    monkeypatch.setattr(timm_hub, "create_model", unreachable)
    (out / "front.json").unlink()
    shutil.rmtree(out / "controls" / f"timm-{MODEL}-pretrained-24px")
    again = command("resume", out)
    assert again.code == 0, again.err
    assert again.err.count("No pretrained network of timm could be had as a control") == 1
    assert "no route to the hub" in again.err and f"--control-weights FILE --control-model {MODEL}" in again.err
    front = json.loads((out / "front.json").read_text())
    instead = front["controls"][-1]
    assert "from scratch" in instead["name"] and instead["judges"] is False
    assert instead["lacks"] in front["verdict"] and instead["name"] not in front["verdict"][0]
    assert all(control["judges"] for control in front["controls"][:-1])


def test_a_control_of_ones_own_choice(command: Command, transfer_words: Words, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "my weights.safetensors"
    save_file(create_model("lcnet_035", pretrained=False).state_dict(), weights)
    words = ("--set", "front=1", "--controls", "none", "--control-model", "lcnet_035", "--control-weights")
    outcome = command(*transfer_words(tmp_path / "run", *words, str(weights)))
    assert outcome.code == 0, outcome.err
    (control,) = json.loads((tmp_path / "run" / "front.json").read_text())["controls"]
    assert control["name"] == "pretrained lcnet_035 of timm" and control["name"] in outcome.out
    wrong = command(*transfer_words(tmp_path / "wrong", *words, str(tmp_path / "nowhere.safetensors")))
    assert wrong.code == 2 and "nowhere.safetensors" in wrong.err and not (tmp_path / "wrong").exists()
