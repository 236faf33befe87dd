"""`nat checkpoints import`, on a small ProxylessNAS network that always answers the second of three classes."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import torch

from nat.supernet.space import MobileNetSpace

Command = Callable[..., Any]
MakeImages = Callable[[Mapping[str, int]], Path]


@pytest.fixture
def weights(proxyless_file: Path, tmp_path: Path) -> Path:
    """A copy, which may be damaged."""
    return Path(copy(proxyless_file, tmp_path))


def test_what_is_imported_is_reported_as_json(command: Command, weights: Path, tmp_path: Path) -> None:
    outcome = command("checkpoints", "import", weights, "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    tensors = len(torch.load(weights, weights_only=True)["state_dict"])
    assert (found["name"], found["kind"], found["num_classes"]) == ("net-r32", "proxyless", 3)
    assert found["file"] == str(tmp_path / "out" / "net-r32.safetensors") and Path(found["file"]).is_file()
    counts = {kind: count for kind, count in found["tensors"].items() if kind != "names"}
    assert counts == {"matched": tensors, "missing": 0, "unexpected": 0, "reshaped": 0}
    assert found["space"]["resolutions"] == [32] and "top1" not in found
    assert found["smallest"]["macs"] < found["largest"]["macs"] and found["largest"]["resolution"] == 32
    card = json.loads((tmp_path / "out" / "net-r32.json").read_text())
    assert card["space"] == found["space"] and card["recipe"]["source"] == "net-r32.pth" and card["accuracy"] == {}


def test_what_is_imported_is_reported_as_a_table(command: Command, weights: Path, tmp_path: Path) -> None:
    outcome = command("checkpoints", "import", weights, "--out", tmp_path / "out", "--name", "mine")
    assert outcome.code == 0, outcome.err
    assert all(text in outcome.out for text in ("mine", "ProxylessNAS", "tensors missing", "at 32 px"))
    use = outcome.out.splitlines()[-1]
    assert use.endswith(f"use it with: nat transfer DATA --supernet {tmp_path / 'out' / 'mine.safetensors'}")
    info = command("checkpoints", "info", tmp_path / "out" / "mine.safetensors", "--json").json
    assert info["name"] == "mine" and info["num_classes"] == 3


@pytest.mark.parametrize("inside", ["", "test"])
def test_accuracy_is_measured_in_the_order_of_the_folders(
    command: Command, weights: Path, tmp_path: Path, make_images: MakeImages, inside: str
) -> None:
    folder = make_images({f"{inside}/{name}".lstrip("/"): count for name, count in (("c", 5), ("a", 2), ("b", 3))})
    words = ("checkpoints", "import", weights, "--out", tmp_path / "out", "--data", folder)
    outcome = command(*words, "--resolution", "40", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["top1"], outcome.json["resolution"]) == (0.3, 40)  # 3 of 10 are of class b
    assert outcome.json["space"]["resolutions"] == [32]
    card = json.loads((tmp_path / "out" / "net-r32.json").read_text())
    assert card["accuracy"]["largest"] == {"top1": 0.3, "resolution": 40}
    assert "10 images of 'images'" in card["accuracy"]["measured_on"] and str(tmp_path) not in json.dumps(card)
    table = command(*words, "--name", "again")
    assert "30.00 % at 32 px" in table.out


def refused(command: Command, *words: object) -> str:
    outcome = command("checkpoints", "import", *words)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = [line for line in outcome.err.splitlines() if not line.startswith("reading images: ")]
    assert line.startswith("error: ")
    return str(line)


def test_images_of_other_classes_are_refused_and_nothing_is_written(
    command: Command, weights: Path, tmp_path: Path, make_images: MakeImages
) -> None:
    folder, out = make_images({"a": 1, "b": 1}), tmp_path / "out"
    assert "the 3 classes of the weights, got 2" in refused(command, weights, "--out", out, "--data", folder)
    assert "class sub-folders" in refused(command, weights, "--out", out, "--data", folder / "a")
    assert not out.exists()


def test_bad_words_are_refused_and_nothing_is_written(command: Command, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "expected --data with --resolution" in refused(command, weights, "--out", out, "--resolution", 64)
    assert "expected a --name" in refused(command, weights, "--out", out, "--name", "a/b")
    assert "cannot read" in refused(command, tmp_path / "absent", "--out", out)
    assert "got the folder" in refused(command, tmp_path, "--out", out)
    weights.write_bytes(weights.read_bytes()[:3000])
    assert "damaged" in refused(command, weights, "--out", out)
    assert not out.exists()


def test_nothing_is_overwritten(command: Command, weights: Path, tmp_path: Path) -> None:
    command("checkpoints", "import", weights, "--out", tmp_path / "out", "--name", "mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert "is there already" in refused(command, weights, "--out", tmp_path / "out", "--name", "mine")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


# --- architectures

NET = MobileNetSpace(width=1.2).largest()  # costs in nat.md 1.5
SUBNET = {key: value for key, value in NET.to_json().items() if key != "space"}


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("net.subnet", json.dumps(SUBNET), "net.subnet"),
        ("net.encoding", "16" + "1" + "9" * 20, "encoding"),
        ("mine.json", json.dumps(NET.to_json()), "architecture"),
    ],
)
def test_architectures_are_described(command: Command, tmp_path: Path, name: str, text: str, kind: str) -> None:
    (tmp_path / name).write_text(text)
    found = command("checkpoints", "import", tmp_path / name, "--out", tmp_path / "out", "--json").json
    assert (found["name"], found["kind"], found["space"], found["num_classes"]) == (name, kind, "mobilenetv3", 1000)
    assert (found["macs"], found["params"]) == (1_099_061_760, 10_701_632)
    assert found["architecture"] == NET.to_json() and found["remarks"] == []
    path = tmp_path / "out" / "architecture.json"
    assert found["file"] == str(path) and json.loads(path.read_text()) == NET.to_json()
    assert [file.name for file in path.parent.iterdir()] == ["architecture.json"]
    assert "is there already" in refused(command, tmp_path / name, "--out", tmp_path / "out")
    assert command("macs", path, "--json").json["macs"] == found["macs"]


def test_a_table_shows_the_architecture_and_what_was_assumed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "net.subnet").write_text(json.dumps({**SUBNET, "w": None}))
    outcome = command("checkpoints", "import", tmp_path / "net.subnet", "--out", tmp_path / "out")
    assert outcome.code == 0
    text = re.sub(r"[│\s]+", " ", outcome.out)
    assert "it says no width: 1.0 is assumed" in text
    assert "737,953,536 at 256 px" in text and "7,664,760 with 1000 classes" in text
    assert outcome.out.splitlines()[-1].endswith(f"nat macs {tmp_path / 'out' / 'architecture.json'}")


def test_architectures_have_nothing_to_measure(command: Command, tmp_path: Path, make_images: MakeImages) -> None:
    path, out = tmp_path / "net.subnet", tmp_path / "out"
    path.write_text(json.dumps(SUBNET))
    folder = make_images({"a": 1, "b": 1})
    assert "describes an architecture, without weights" in refused(command, path, "--out", out, "--data", folder)
    path.write_text('{"blocks": 5}')
    assert "net.subnet': expected a net.config of NAT" in refused(command, path, "--out", out)
    path.write_text('{"ks": [3]}')
    assert "net.subnet': expected an architecture with the keys" in refused(command, path, "--out", out)
    assert not out.exists()
