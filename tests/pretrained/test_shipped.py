"""What the cards of the supernets that come with the package claim, measured again."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.pretrained.catalogue import WEIGHTS, State, list_checkpoints, load_supernet
from nat.progress import Silence
from nat.verification import verify_supernet

SHARED = Path(__file__).resolve().parents[3] / "shared"
SHIPPED = [entry.name for entry in list_checkpoints() if entry.state is State.WITH_PACKAGE]


@pytest.fixture(scope="module")
def tiny_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """Its 100,000 training and 10,000 test images."""
    if not (SHARED / "data" / "tiny200_full_part0of3.npz").exists():
        pytest.skip("no shared image packs beside the repository")
    folder = tmp_path_factory.mktemp("tiny") / "images"
    unpack = SHARED / "tools" / "unpack.py"
    subprocess.run([sys.executable, str(unpack), "tiny200_full", str(folder)], check=True, capture_output=True)
    return load_dataset(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_supernet_reaches_what_its_card_says(name: str, tiny_imagenet: Splits) -> None:
    supernet, card = load_supernet(name)
    found = verify_supernet(supernet, card, tiny_imagenet, torch.device("cpu"), Silence())
    for place, measured in found.items():
        claimed = card.accuracy[place]
        assert measured["macs"] == claimed["macs"]
        assert measured["top1"] == pytest.approx(claimed["top1"], abs=0.003), place


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_small_and_say_where_they_come_from(name: str) -> None:
    card = load_supernet(name)[1]
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size <= (8 if "small" in name else 20) * 2**20
    assert "random weights" in card.trained_on and "non-commercial" in card.licence
    assert card.command.startswith("nat pretrain") and card.recipe
