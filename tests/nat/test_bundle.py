"""Bundles: what is written, and what is said of damaged ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from nat.bundle import copy_bundle, load_bundle, save_bundle
from nat.datasets.preprocess import Preprocess
from nat.errors import CheckpointError
from nat.model_card import model_card
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet

MEASURED = {"images": 3, "top1": 0.5, "top5": 1, "loss": 0.25}
METRICS: dict[str, Any] = {
    "id": "1a2b",
    "macs": 1,
    "params": 2,
    "resolution": 24,
    "finetuned": True,
    "supernet": "mini.safetensors",
    "val": MEASURED,
    "test": MEASURED,
    "data": {
        "name": "flowers",
        "source": "/home/me/flowers",
        "data_root": None,
        "seed": 0,
        "skip_corrupt": False,
        "fingerprint": "f" * 64,
    },
}


@pytest.fixture
def bundle(space: MobileNetSpace, tmp_path: Path) -> Path:
    subnet = Subnet(space, space.smallest(), 2)
    preprocess = Preprocess.for_resolution(24, 1.0, (0.5,) * 3, (0.5,) * 3)
    save_bundle(tmp_path / "net", subnet, preprocess, ("cat", "dog"), METRICS)
    return tmp_path / "net"


def test_a_bundle_comes_back(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert (loaded.labels, loaded.metrics) == (("cat", "dog"), METRICS)


def test_the_card_names_the_images_and_not_where_they_lie(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert "| data | flowers (fingerprint" in card and "/home/me" not in card


def test_a_name_stays_in_its_cell_of_the_card(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    metrics = {**METRICS, "data": {**METRICS["data"], "name": "a|b\n<script>"}}
    card = model_card(loaded.model, loaded.preprocess, loaded.labels, metrics, "net")
    assert "| data | a&#124;b &lt;script> (fingerprint" in card


def test_the_card_loads_the_folder_that_it_lies_in(bundle: Path, tmp_path: Path) -> None:
    assert 'nat.load_bundle("net")' in (bundle / "README.md").read_text()
    copy_bundle(bundle, tmp_path / 'my "8M"')
    assert 'nat.load_bundle("my \\"8M\\"")' in (tmp_path / 'my "8M"' / "README.md").read_text()


def test_the_card_says_what_the_supernet_was_made_of(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert "supernet:" not in (bundle / "README.md").read_text()
    origin = {"trained_on": "Tiny ImageNet", "licence": "for non-commercial research"}
    metrics = {**METRICS, "supernet_card": origin}
    card = model_card(loaded.model, loaded.preprocess, loaded.labels, metrics, "net")
    assert "| supernet: trained on | Tiny ImageNet |\n| supernet: licence | for non-commercial research |" in card
    assert "holds for them, too." in card


def without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != name}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.json", 3, "tuple"),
        ("labels.json", {"cat": 0}, "tuple"),
        ("labels.json", [1, 2], "string"),
        ("labels.json", [], "at least 1"),
        ("metrics.json", [], "dictionary"),
        ("metrics.json", without(METRICS, "data"), "data: Field required"),
        ("metrics.json", METRICS | {"data": without(METRICS["data"], "seed")}, "data.seed: Field required"),
        ("metrics.json", METRICS | {"val": MEASURED | {"top1": "0.5"}}, "val.top1"),
        ("metrics.json", METRICS | {"macs": None}, "macs"),
        ("metrics.json", METRICS | {"threads": 0}, "threads"),
        ("architecture.json", 3, "JSON object"),
        ("preprocess.json", 3, "preprocess.json"),
        ("preprocess.json", {}, "keys"),
    ],
)
def test_a_broken_file_is_named_with_what_to_do(bundle: Path, name: str, content: object, said: str) -> None:
    (bundle / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="Take the bundle again") as error:
        load_bundle(bundle)
    assert str(bundle / name) in str(error.value) and said in str(error.value)


@pytest.mark.parametrize("name", ["labels.json", "metrics.json", "preprocess.json"])
@pytest.mark.parametrize("text", [None, "{"])
def test_a_file_that_is_missing_or_no_json_is_named(bundle: Path, name: str, text: str | None) -> None:
    (bundle / name).unlink()
    if text:
        (bundle / name).write_text(text)
    with pytest.raises(CheckpointError, match=name):
        load_bundle(bundle)


def test_a_path_that_cannot_be_is_no_bundle() -> None:
    with pytest.raises(CheckpointError, match="File name too long"):
        load_bundle("x" * 5000)
