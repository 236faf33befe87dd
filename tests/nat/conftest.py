"""A small space with its costs, and images that can be learnt in a few steps."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from nat.archive import Evaluation
from nat.datasets.cards import DatasetCard
from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits
from nat.objectives import ERROR
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.latency import LatencyTable, parts_of
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace

Evaluate = Callable[[SearchProblem, Sequence[Architecture], Sequence[float]], list[Evaluation]]


@pytest.fixture(scope="session")
def space() -> MobileNetSpace:
    return MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))


@pytest.fixture(scope="session")
def problem(space: MobileNetSpace) -> SearchProblem:
    return SearchProblem(CostTable(space, 3))


@pytest.fixture(scope="session")
def latency(space: MobileNetSpace) -> LatencyTable:
    """Times that follow no rule."""
    keys = dict.fromkeys(key for key, *_ in parts_of(space))
    times = np.random.default_rng(0).uniform(0.1, 1.0, len(keys))
    return LatencyTable(dict(zip(keys, times.tolist(), strict=True)))


@pytest.fixture(scope="session")
def architectures(space: MobileNetSpace) -> Callable[[int], list[Architecture]]:
    """So many distinct architectures, always the same."""

    def draw(count: int) -> list[Architecture]:
        drawn = space.decode(sample_uniform(space, 3 * count, np.random.default_rng(0)))
        return list(dict.fromkeys(drawn))[:count]

    return draw


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """Evaluations of architectures with given errors, of round 0."""

    def make(problem: SearchProblem, nets: Sequence[Architecture], errors: Sequence[float]) -> list[Evaluation]:
        rows = []
        for net, error in zip(nets, errors, strict=True):
            rows.append(Evaluation(net, {ERROR: error, **problem.known_of(net)}, 0, 0))
        return rows

    return make


def coloured(count: int, classes: int, seed: int) -> ImageSet:
    """Noise whose mean colour tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    base = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])[labels]
    noise = rng.integers(-40, 40, (count, 3, 24, 24))
    pixels = np.clip(base[:, :, None, None] + noise, 0, 255).astype(np.uint8)
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels))


@pytest.fixture(scope="session")
def make_splits() -> Callable[[int], Splits]:
    """Splits of coloured noise in two or three classes."""

    def make(classes: int) -> Splits:
        parts = [coloured(count, classes, seed) for seed, count in enumerate((48, 24, 24))]
        card = DatasetCard("colours", "coloured noise", classes, 24, 48, 24, "", "", "", False, 1.0, 0.5)
        return Splits(*parts, tuple(f"class {i}" for i in range(classes)), card, "f" * 64)

    return make
