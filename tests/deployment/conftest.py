"""Bundles of random weights of each family, and a folder of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm import create_model
from torch import nn

from nat.bundle import save_bundle
from nat.datasets.loading import load_dataset
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.metrics import measure
from nat.pretrained.timm_models import convert
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve noisy images of several sizes."""
    root, rng = tmp_path_factory.mktemp("images") / "my photos", np.random.default_rng(0)
    for channel, name in enumerate(reversed(CLASSES)):
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 120, (40 + number, 60 - number, 3))
            pixels[:, :, channel] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def splits(photos: Path) -> Splits:
    return load_dataset(photos)


def lively(network: nn.Module) -> nn.Module:
    """Batch norms that do something and logits of some size, as trained networks have them."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.2, 0.6, generator=generator)
    return network.eval()


@pytest.fixture(scope="session")
def describe(photos: Path, splits: Splits) -> Callable[[Subnet, Preprocess], dict[str, Any]]:
    """metrics.json of a network."""

    def make(subnet: Subnet, preprocess: Preprocess) -> dict[str, Any]:
        found = {name: measure(subnet, preprocess, getattr(splits, name)) for name in ("val", "test")}
        data: dict[str, Any] = {"name": "my photos", "source": str(photos), "data_root": None, "seed": 0}
        data |= {"skip_corrupt": False, "fingerprint": splits.fingerprint}
        known = {"id": subnet.architecture.id, "macs": 1, "params": 1, "resolution": preprocess.crop}
        return {**known, "finetuned": False, "supernet": "random", **found, "data": data}

    return make


@pytest.fixture(scope="session")
def bundles(
    describe: Callable[[Subnet, Preprocess], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A bundle of each family: h-swish and squeeze-and-excite; ReLU and "same" padding; MobileNetV2."""
    root, found = tmp_path_factory.mktemp("bundles"), {}
    spaces = {"mobilenetv3": MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(32,))}
    for name, model in (("minimal", "tf_mobilenetv3_large_minimal_100"), ("mobilenetv2", "mobilenetv2_035")):
        torch.manual_seed(0)
        spaces[name] = convert(create_model(model, num_classes=3).eval(), model)[1].space.with_resolutions((32,))
    for name, space in spaces.items():
        torch.manual_seed(0)
        subnet = Subnet(space, space.smallest(), len(CLASSES))
        lively(subnet)
        preprocess = Preprocess.for_resolution(32, 0.875, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
        save_bundle(root / name, subnet, preprocess, CLASSES, describe(subnet, preprocess))
        found[name] = root / name
    return found
