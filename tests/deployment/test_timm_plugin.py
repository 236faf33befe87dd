"""Bundles as models of timm: same logits, same preprocessing, and the ways of timm's own models."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import nat.timm_plugin
from nat.bundle import load_bundle
from nat.datasets.decode import read_image
from nat.datasets.preprocess import Preprocess
from nat.errors import InputError
from nat.timm_config import crop_fraction

FAMILIES = ("mobilenetv3", "minimal", "mobilenetv2")
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def load(path: Path, **words: Any) -> nat.timm_plugin.TimmSubnet:
    model = timm.create_model(f"local-dir:{path}", pretrained=True, **words)
    assert isinstance(model, nat.timm_plugin.TimmSubnet)
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_timm_gives_the_same_logits(family: str, bundles: dict[str, Path]) -> None:
    bundle, model = load_bundle(bundles[family]), load(bundles[family])
    with torch.inference_mode():
        expected = bundle.model(IMAGES)
        assert torch.equal(model(IMAGES), expected)
        assert torch.equal(model.forward_head(model.forward_features(IMAGES)), expected)
        vectors = load(bundles[family], num_classes=0)(IMAGES)
        assert torch.equal(model.get_classifier()(vectors), expected)
    assert vectors.shape == (2, model.num_features)
    assert float(expected.std()) > 1e-3


def test_timm_prepares_images_as_the_bundle_does(bundles: dict[str, Path], photos: Path) -> None:
    path = photos / "red" / "3.png"
    bundle, model = load_bundle(bundles["minimal"]), load(bundles["minimal"])
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, 32, 32) and tuple(config["mean"]) == bundle.preprocess.mean
    theirs = timm.data.create_transform(**config)(Image.open(path))
    ours = bundle.preprocess.normalise(bundle.preprocess.shape(read_image(path))[None])[0]
    level = 1 / 255 / min(bundle.preprocess.std)  # Pillow and PyTorch may round a resized pixel apart
    assert theirs.shape == ours.shape
    assert float((theirs - ours).abs().max()) < 1.01 * level


def test_labels_and_features_are_where_timm_has_them(bundles: dict[str, Path]) -> None:
    model = load(bundles["mobilenetv2"])
    assert model.pretrained_cfg["label_names"] == ["blue", "green", "red"]
    assert model.pretrained_cfg["num_classes"] == model.num_classes == 3


def test_another_number_of_classes_gives_a_new_classifier(bundles: dict[str, Path]) -> None:
    model = load(bundles["mobilenetv3"], num_classes=7)
    assert model(IMAGES).shape == (2, 7)
    old = load_bundle(bundles["mobilenetv3"]).model
    assert torch.equal(model.first_conv.get_submodule("conv").weight, old.first_conv.get_submodule("conv").weight)


@pytest.mark.parametrize("words", [{"in_chans": 1}, {"global_pool": "max"}])
def test_what_subnets_do_not_have_is_refused(words: dict[str, Any], bundles: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="expected in_chans 3 and global_pool 'avg'"):
        load(bundles["mobilenetv3"], **words)


def test_a_model_without_a_bundle_says_how_it_is_made() -> None:
    with pytest.raises(InputError, match="local-dir:BUNDLE"):
        timm.create_model("nat_subnet")


def test_one_source_file_registers() -> None:
    home = Path(nat.timm_plugin.__file__)
    root = home.parent
    folders = [root, *(root.parent / name for name in ("supernet", "datasets", "pretrained"))]
    found = [path for folder in folders for path in folder.rglob("*.py") if "register_model" in path.read_text("utf-8")]
    assert found == [home]


@pytest.mark.slow
def test_only_the_plugin_registers() -> None:
    code = "import nat, nat.bundle, nat.pretrained.timm_models, timm; raise SystemExit(timm.is_model('nat_subnet'))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(crop=st.integers(1, 512), fraction=st.floats(0.3, 1.0))
def test_timm_comes_to_the_same_size(crop: int, fraction: float) -> None:
    preprocess = Preprocess.for_resolution(crop, fraction, (0.5,) * 3, (0.5,) * 3)
    assert int(np.floor(crop / crop_fraction(preprocess))) == preprocess.resize


def test_the_architecture_is_that_of_the_bundle(bundles: dict[str, Path], command: Callable[..., Any]) -> None:
    """config.json of a bundle does not make it a run."""
    outcome = command("front", bundles["mobilenetv3"])
    assert outcome.code == 2 and "is not the config of a run" in outcome.err
