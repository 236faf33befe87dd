"""Categories as categories: their encodings, and the exact mean of the multiply-adds of what is drawn from them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nat.supernet.categories import Categories, ExpectedMacs
from nat.supernet.costs import CostTable
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import Conventions, Head, Stage, Structure

SMALL = MobileNetSpace(
    kernels=(3, 5),
    expands=(1, 2),
    depths=(1, 2),
    resolutions=(32, 47),
    structure=Structure(
        *("one stage", 8, "relu", 8, "relu"),
        stages=(Stage(16, 2, True, "relu"),),
        head=Head(expand=16, mix=16, bias=True, activation="relu"),
        conventions=Conventions(),
    ),
)


def random_probabilities(space: MobileNetSpace, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    options = Categories(space).options
    return {name: torch.randn(n, generator=generator).double().softmax(0) for name, n in options.items()}


def picks_of(space: MobileNetSpace, grid: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    columns = np.array(grid).T
    return dict(zip(Categories(space).options, columns, strict=True))


@pytest.mark.parametrize("row", [0, 1])
def test_expected_macs_are_the_mean_over_all_architectures(row: int) -> None:
    choices, costs = Categories(SMALL), CostTable(SMALL, 10)
    grid = list(itertools.product(*(range(n) for n in choices.options.values())))
    assert len(grid) == 2**5
    probabilities = random_probabilities(SMALL, row)
    encodings = choices.encodings(picks_of(SMALL, grid), np.full(len(grid), row))
    assert len(np.unique(encodings, axis=0)) == SMALL.size() // 2
    shares = [math.prod(float(p[i]) for p, i in zip(probabilities.values(), pick, strict=True)) for pick in grid]
    assert sum(shares) == pytest.approx(1, rel=1e-12)
    mean = float(np.dot(shares, costs.macs(encodings)))
    assert float(ExpectedMacs(costs)(probabilities, row)) == pytest.approx(mean, rel=1e-12)


def test_expected_macs_are_the_mean_of_many_draws(any_space: MobileNetSpace) -> None:
    choices, costs = Categories(any_space), CostTable(any_space, 10)
    probabilities = random_probabilities(any_space, 1)
    shares = {name: values.numpy() for name, values in probabilities.items()}
    picks = choices.draw(shares, 20_000, np.random.default_rng(0))
    macs = costs.macs(choices.encodings(picks, np.full(20_000, 1)))
    spread = macs.std() / math.sqrt(len(macs))
    assert abs(float(ExpectedMacs(costs)(probabilities, 1)) - macs.mean()) < 4 * spread


def test_expected_macs_of_one_architecture_are_its_own(any_space: MobileNetSpace) -> None:
    choices, costs = Categories(any_space), CostTable(any_space, 10)
    rng, expected = np.random.default_rng(0), ExpectedMacs(CostTable(any_space, 10))
    picks = {name: rng.integers(n, size=20) for name, n in choices.options.items()}
    for row in range(len(any_space.resolutions)):
        macs = costs.macs(choices.encodings(picks, np.full(20, row)))
        for i in range(20):
            one_hot = {n: torch.eye(k)[picks[n][i]] for n, k in choices.options.items()}
            assert expected(one_hot, row).item() == macs[i]


def test_expected_macs_have_the_right_gradients() -> None:
    expected = ExpectedMacs(CostTable(SMALL, 10))
    names = list(Categories(SMALL).options)

    def mean(*values: Tensor) -> Tensor:
        return expected(dict(zip(names, values, strict=True)), 1) / 1e5

    values = [p.requires_grad_() for p in random_probabilities(SMALL, 3).values()]
    assert torch.autograd.gradcheck(mean, values)


def test_encodings_are_canonical_and_reach_every_architecture(any_space: MobileNetSpace) -> None:
    choices, rng = Categories(any_space), np.random.default_rng(0)
    picks = {name: rng.integers(n, size=50) for name, n in choices.options.items()}
    encodings = choices.encodings(picks, rng.integers(len(any_space.resolutions), size=50))
    assert (any_space.repair(encodings) == encodings).all()
    for depth in (0, -1):
        ends = {name: np.array([range(n)[depth]]) for name, n in choices.options.items()}
        encoding = choices.encodings(ends, np.array([range(len(any_space.resolutions))[depth]]))
        end = any_space.smallest() if depth == 0 else any_space.largest()
        assert any_space.decode(encoding) == [end]
    assert sample_uniform(any_space, 3, rng).shape[1] == encodings.shape[1]


def test_draws_follow_the_probabilities() -> None:
    choices = Categories(SMALL)
    shares = {name: np.array([0.2, 0.8]) for name in choices.options}
    picks = choices.draw(shares, 5000, np.random.default_rng(0))
    assert all(abs(values.mean() - 0.8) < 0.03 for values in picks.values())
