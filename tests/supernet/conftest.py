"""A space small enough to build in milliseconds, with everything that the published ones have."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import PROXYLESS, Conventions, Head, Layer, Stage, Structure
from nat.supernet.supernet import Supernet

# a busy machine is no failure
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MakeSupernet = Callable[..., Supernet]


SPACES = {
    "mobilenetv3": MobileNetSpace(0.25, kernels=(3, 5, 7), expands=(2, 3), depths=(1, 2), resolutions=(32, 40, 128)),
    "proxyless": MobileNetSpace(0.25, (3, 5), (2, 3), (1, 2), (32, 40, 128), PROXYLESS),
    # every layer with choices of its own, and all that frameworks do differently
    "own layers": MobileNetSpace(
        1.0,
        kernels=(3, 5, 7),
        expands=(0.5, 1),
        depths=(1, 2, 3),
        resolutions=(32, 40, 128),
        structure=Structure(
            "own",
            stem=8,
            stem_activation="relu6",
            fixed=8,
            fixed_activation="relu",
            stages=(
                Stage(8, 2, False, "relu", layers=(Layer(3, 16), Layer(5, 24))),
                Stage(16, 1, True, "h_swish", layers=(Layer(7, 48),)),
                Stage(16, 2, True, "relu6", layers=(Layer(7, 32), Layer(5, 40, least=1.0), Layer(3, 24))),
            ),
            head=Head(expand=24, mix=32, bias=True, activation="relu"),
            conventions=Conventions(same_padding=True, epsilon=1e-3),
        ),
    ),
}


@pytest.fixture
def space() -> MobileNetSpace:
    return SPACES["mobilenetv3"]


@pytest.fixture(params=SPACES)
def any_space(request: pytest.FixtureRequest) -> MobileNetSpace:
    """One of each kind."""
    return SPACES[request.param]


@pytest.fixture
def make_supernet() -> MakeSupernet:
    """Supernets in which nothing is at its neutral starting value: transforms, statistics, scales and shifts."""

    def make(space: MobileNetSpace, num_classes: int = 7, seed: int = 0) -> Supernet:
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
