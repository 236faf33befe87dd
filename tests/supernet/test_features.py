import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.supernet.costs import CostTable
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import Encodings, MobileNetSpace
from nat.supernet.structure import MOBILENETV3, PROXYLESS

seeds = st.integers(0, 2**32 - 1)
spaces = st.builds(
    MobileNetSpace,
    width=st.sampled_from([0.25, 1.0, 1.2]),
    kernels=st.sampled_from([(3,), (1, 5), (3, 5, 7)]),
    expands=st.sampled_from([(6,), (2.5, 3), (1, 3, 6)]),
    depths=st.sampled_from([(1,), (1, 3), (2, 3, 4)]),
    resolutions=st.sampled_from([(32,), (33, 48, 128)]),
    structure=st.sampled_from([MOBILENETV3, PROXYLESS]),
)


def parts(space: MobileNetSpace, encodings: Encodings) -> list[np.ndarray]:
    """Resolution, kernels, expand ratios, multiply-adds and channels of the stages, multiply-adds in all."""
    slots, stages = len(space.slots), space.num_stages
    return np.split(space.features(encodings), np.cumsum([1, slots, slots, stages, stages]), axis=1)


def check(space: MobileNetSpace, seed: int) -> None:
    encodings = np.unique(sample_uniform(space, 20, np.random.default_rng(seed)), axis=0)
    features = space.features(encodings)
    assert features.shape == (len(encodings), 2 + 2 * len(space.slots) + 2 * space.num_stages)
    assert features.min() >= -1e-12 and features.max() <= 1 + 1e-12
    assert len(np.unique(features.round(9), axis=0)) == len(encodings)
    _, kernels, expands, *_ = parts(space, encodings)
    for column in (kernels, expands):
        assert np.array_equal(column > 0, encodings[:, 1:] > 0)
    smallest, largest = space.encode([space.smallest()]), space.encode([space.largest()])
    for least, greatest in zip(parts(space, smallest)[3:], parts(space, largest)[3:], strict=True):
        assert np.allclose(least, 0)
        assert (np.isclose(greatest, 1) | (greatest == 0)).all()  # 0 where the space has one choice only


@given(spaces, seeds)
def test_features_tell_networks_apart_within_the_unit_cube(space: MobileNetSpace, seed: int) -> None:
    check(space, seed)


@pytest.mark.parametrize("seed", range(5))
def test_features_of_grown_spaces(any_space: MobileNetSpace, seed: int) -> None:
    check(any_space, seed)


@given(seeds, st.sampled_from([0.5, 1.0, 1.2]))
def test_stages_grow_with_every_choice(seed: int, width: float) -> None:
    space = MobileNetSpace(width)
    encodings = sample_uniform(space, 1, np.random.default_rng(seed))
    gene = 1 + np.random.default_rng(seed).integers(len(space.slots))
    wider = encodings.copy()
    wider[:, gene] += 3  # the next expand ratio, with the same kernel
    if encodings[0, gene] == 0 or wider[0, gene] > space.upper[gene]:
        return
    before, after = parts(space, encodings), parts(space, wider)
    stage = space.slots[gene - 1].stage
    for less, more in zip(before[3:5], after[3:5], strict=True):
        assert np.flatnonzero(less != more).tolist() == [stage] and more[0, stage] > less[0, stage]
    assert after[5] > before[5]


def test_the_last_column_ranks_as_exact_multiply_adds_do() -> None:
    space = MobileNetSpace()
    encodings = sample_uniform(space, 200, np.random.default_rng(0))
    exact = np.log(CostTable(space, 1000).macs(encodings))
    assert np.corrcoef(space.features(encodings)[:, -1], exact)[0, 1] > 0.99
