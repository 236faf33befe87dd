"""Networks of a few neurons with open choices, and batches for them."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Generator, Tensor, nn

from nat.oneshot.base import Batch
from nat.supernet.mixture import Choices, Mixture, mix

OPTIONS = ("none", "skip_connect", "linear", "wide")
FEATURES = 4


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def smooth_option(name: str) -> nn.Module:
    if name == "none":
        return Nothing()
    if name == "skip_connect":
        return nn.Identity()
    hidden = 2 * FEATURES if name == "wide" else FEATURES
    return nn.Sequential(nn.Linear(FEATURES, hidden), nn.Tanh(), nn.Linear(hidden, FEATURES))


class ToyNetwork(nn.Module):
    """Three edges into one node, smooth everywhere, with a batch norm that keeps running statistics if asked to."""

    def __init__(self, options: tuple[str, ...] = OPTIONS, normalised: bool = True) -> None:
        super().__init__()
        names = tuple(f"normal:{source}->3" for source in range(3))
        self.options = nn.ModuleDict(
            {str(edge): nn.ModuleList([smooth_option(name) for name in options]) for edge in range(3)}
        )
        self.stems = nn.ModuleList([nn.Linear(FEATURES, FEATURES) for _ in range(3)])
        self.norm = nn.BatchNorm1d(FEATURES) if normalised else nn.Identity()
        self.classifier = nn.Linear(FEATURES, 3)
        sizes = tuple(sum(weight.numel() for weight in option.parameters()) for option in self.options["0"])
        self.choices = Choices(
            dict.fromkeys(names, options),
            groups=(names,),
            excluded=frozenset({"none"} & set(options)),
            sizes=dict.fromkeys(names, sizes),
        )

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        total = torch.zeros_like(images)
        for edge, stem in enumerate(self.stems):
            out = mix(mixtures[f"normal:{edge}->3"], list(self.options[str(edge)]), stem(images))  # type: ignore[call-overload]
            total = total if out is None else total + out
        logits: Tensor = self.classifier(self.norm(torch.tanh(total)))
        return logits


MakeNetwork = Callable[..., ToyNetwork]
MakeBatch = Callable[[int], Batch]


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    def make(options: tuple[str, ...] = OPTIONS, normalised: bool = True, seed: int = 0) -> ToyNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return ToyNetwork(options, normalised).double()

    return make


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    def make(seed: int, count: int = 16) -> Batch:
        generator = Generator().manual_seed(seed)
        images = torch.randn(count, FEATURES, generator=generator, dtype=torch.float64)
        return images, (images[:, 0] > 0).long() + (images[:, 1] > 0).long()

    return make
