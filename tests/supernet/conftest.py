"""A space small enough to build in milliseconds, with everything that the published ones have."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from nat.supernet.space import MobileNetV3Space
from nat.supernet.supernet import Supernet

# a busy machine is no failure
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MakeSupernet = Callable[..., Supernet]


@pytest.fixture
def space() -> MobileNetV3Space:
    return MobileNetV3Space(0.25, kernels=(3, 5, 7), expands=(2, 3), depths=(1, 2), resolutions=(32, 40, 128))


@pytest.fixture
def make_supernet() -> MakeSupernet:
    """Supernets in which nothing is at its neutral starting value: transforms, statistics, scales and shifts."""

    def make(space: MobileNetV3Space, num_classes: int = 7, seed: int = 0) -> Supernet:
        generator = torch.Generator().manual_seed(seed)
        supernet = Supernet(space, num_classes, generator=generator)
        with torch.no_grad():
            for name, tensor in supernet.state_dict().items():
                noise = torch.randn(tensor.shape, generator=generator)
                if name.endswith("_matrix"):
                    tensor.add_(0.1 * noise)
                elif name.endswith("running_var") or (".bn" in name and name.endswith("weight")):
                    tensor.copy_(0.5 + noise.abs())
                elif name.endswith(("running_mean", "bias")):
                    tensor.copy_(0.3 * noise)
                elif name == "classifier.linear.weight":
                    tensor.copy_(0.2 * noise)
        return supernet.eval()

    return make


@pytest.fixture
def shared_folder() -> Path:
    """Reference material that is not part of the repository and may be absent."""
    folder = Path(__file__).parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip(f"reference material {folder} is absent")
    return folder
