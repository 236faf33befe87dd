"""A small supernet and its card, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nat.pretrained.card import Card
from nat.pretrained.store import save_supernet
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet


@pytest.fixture(scope="session")
def supernet() -> Supernet:
    space = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(32, 48))
    made = Supernet(space, 6, generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        for _ in range(3):  # statistics of their own
            made(torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1)), space.largest())
    return made.eval()


@pytest.fixture(scope="session")
def card(supernet: Supernet) -> Card:
    return Card("tiny", "a tiny one", supernet.space, 6, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), recipe={"steps": 3})


@pytest.fixture
def saved(tmp_path: Path, supernet: Supernet, card: Card) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_supernet(supernet, card, path)
    return path


@pytest.fixture
def logits_of() -> Callable[[Supernet], torch.Tensor]:
    def logits(network: Supernet) -> torch.Tensor:
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            return network.eval()(images, network.space.largest())

    return logits
