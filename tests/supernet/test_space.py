import json
import math
from dataclasses import replace
from itertools import chain, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import crossover, mutate, sample_like, sample_uniform
from nat.supernet.slots import make_divisible
from nat.supernet.space import Encodings, MobileNetSpace, named_spaces
from nat.supernet.structure import MOBILENETV3, PROXYLESS

TINY = MobileNetSpace(0.25, (3,), (2, 3), (1,), (32, 48))


def some_of(*choices: float) -> st.SearchStrategy[tuple[float, ...]]:
    subsets = st.lists(st.sampled_from(choices), min_size=1, unique=True)
    return subsets.map(lambda values: tuple(sorted(values)))


spaces = st.builds(
    MobileNetSpace,
    width=st.sampled_from([0.25, 0.5, 1.0, 1.2]),
    kernels=some_of(1, 3, 5, 7),
    expands=some_of(1, 2.5, 3, 6),
    depths=some_of(1, 2, 3, 4, 6),  # gaps between legal depths included
    resolutions=some_of(32, 33, 48, 128),
    structure=st.sampled_from([MOBILENETV3, PROXYLESS]),
)
seeds = st.integers(0, 2**32 - 1)


def assert_canonical(space: MobileNetSpace, encodings: Encodings) -> None:
    """Every row spells a legal network, and spells it as `encode` does."""
    nets = space.decode(encodings)
    for net in nets:
        space.validate(net)
    assert np.array_equal(space.encode(nets), encodings)


@given(spaces, seeds)
def test_sampling_and_variation_stay_in_the_space(space: MobileNetSpace, seed: int) -> None:
    check_sampling(space, seed)


@pytest.mark.parametrize("seed", range(10))
def test_sampling_stays_within_what_each_layer_allows(any_space: MobileNetSpace, seed: int) -> None:
    check_sampling(any_space, seed)


def check_sampling(space: MobileNetSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = sample_uniform(space, 6, rng), sample_uniform(space, 6, rng)
    assert_canonical(space, first)
    for probability in (0.0, 0.2, 1.0):
        assert_canonical(space, mutate(space, first, rng, probability))
    assert_canonical(space, crossover(space, first, second, rng))
    assert_canonical(space, sample_like(space, first, 9, rng))


@given(spaces, seeds)
def test_repair_makes_anything_canonical_and_canonical_encodings_no_different(space: MobileNetSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wild = rng.integers(-3, 60, (5, 1 + len(space.slots)))
    before = wild.copy()
    repaired = space.repair(wild)
    assert np.array_equal(wild, before)
    assert_canonical(space, repaired)
    assert np.array_equal(space.repair(repaired), repaired)
    assert space.decode(wild) == space.decode(repaired)


@given(spaces, seeds)
def test_json_and_encoding_give_back_space_and_networks(space: MobileNetSpace, seed: int) -> None:
    assert MobileNetSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    for net in space.decode(sample_uniform(space, 3, np.random.default_rng(seed))):
        assert Architecture.from_json(json.loads(json.dumps(net.to_json()))) == net
    ends = [space.smallest(), space.largest()]
    assert space.decode(space.encode(ends)) == ends


def test_repair_keeps_the_layers_before_a_gap() -> None:
    space = MobileNetSpace(depths=(1, 3), kernels=(3,), expands=(2, 3), resolutions=(32,))
    stages = [[1, 0, 2], [2, 1, 0], [2, 1, 2], [0, 2, 2], [9, 9, 9]]
    # by hand: a gap drops what follows; two layers are no legal depth; a first layer is mandatory; codes are clipped
    expected = [[1, 0, 0], [2, 0, 0], [2, 1, 2], [1, 2, 2], [2, 2, 2]]
    repaired = space.repair(np.array([0, *chain(*stages)]))
    assert repaired.tolist() == [[0, *chain(*expected)]]


def test_size_is_the_number_of_distinct_networks() -> None:
    rows = np.array(list(product([0, 1], *[[1, 2]] * 5)))
    assert TINY.size() == len(set(TINY.decode(rows))) == 64
    # (9**2 + 9**3 + 9**4)**5 networks of each of 17 resolutions
    assert MobileNetSpace().size() == 17 * 7371**5


def test_uniform_sampling_meets_every_choice_alike() -> None:
    space = MobileNetSpace(0.25, (3, 5), (2, 3), (1, 2, 4), (32, 48))
    encodings = sample_uniform(space, 6000, np.random.default_rng(0))
    depths = (encodings[:, 1:].reshape(-1, 5, 4) > 0).sum(axis=2)
    # shares of 30,000 and 6,000 draws: 0.01 and 0.03 are over three standard deviations of the largest
    for depth in (1, 2, 4):
        assert np.mean(depths == depth) == pytest.approx(1 / 3, abs=0.01)
    for code in (1, 2, 3, 4):
        assert np.mean(encodings[:, 1] == code) == pytest.approx(1 / 4, abs=0.03)
    assert np.mean(encodings[:, 0]) == pytest.approx(1 / 2, abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": 1.2}, "width 1.0, got width 1.2"),
        ({"d": [2, 2, 2, 2, 1], "ks": [3] * 9, "e": [3] * 9}, "depths 'd' among 2, 3, 4, got 1"),
        ({"ks": [3] * 9 + [9]}, "kernel sizes 'ks' among 3, 5, 7, got 9"),
        ({"e": [3] * 9 + [2.5]}, "expand ratios 'e' among 3, 4, 6, got 2.5"),
        ({"r": 190}, r"a resolution 'r' among 192, 196, \.\.\., 256, got 190"),
        ({"d": [5, 5], "ks": [3] * 10, "e": [3] * 10}, "5 stage depths 'd', got 2"),
    ],
)
def test_illegal_values_are_refused_with_the_legal_ones(change: dict[str, object], message: str) -> None:
    space = MobileNetSpace()
    net = Architecture.from_json({**space.smallest().to_json(), **change})
    for use in (space.validate, lambda a: space.encode([a])):
        with pytest.raises(InputError, match=message):
            use(net)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 0, "width above 0"),
        ("width", float("nan"), "width above 0"),
        ("width", float("inf"), "width above 0"),
        ("width", "wide", "expected a space with width"),
        ("kernels", [3, 4], "odd kernel sizes"),
        ("kernels", [3.5], "whole numbers as kernels"),
        ("kernels", [5, 3], "ascending"),
        ("kernels", [], "ascending"),
        ("kernels", [3, "5"], "expected a space with width"),
        ("expands", [0.5], "at least 1"),
        ("depths", [0, 1], "at least 1"),
        ("resolutions", [4], "at least 8"),
        ("resolutions", [32, 32], "distinct"),
        ("resolutions", None, "expected a space with width"),
        ("family", "resnet", "unknown space 'resnet'"),
    ],
)
def test_spaces_that_nothing_can_be_built_of_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MobileNetSpace.from_json({**TINY.to_json(), field: value})


@pytest.mark.parametrize("data", [[], None, "small", {}])
def test_json_that_is_no_space_is_refused(data: object) -> None:
    with pytest.raises(InputError, match="expected a space"):
        MobileNetSpace.from_json(data)  # type: ignore[arg-type]


def test_channels_are_rounded_as_once_for_all_rounds_them() -> None:
    # the table of channels of the published supernets; 16 * 1.2 = 19.2 would lose over a tenth as 16, hence 24
    bases = (16, 24, 40, 80, 112, 160, 960, 1280)
    assert [MobileNetSpace(width=1.0).channels(base) for base in bases] == list(bases)
    assert [MobileNetSpace(width=1.2).channels(base) for base in bases] == [24, 32, 48, 96, 136, 192, 1152, 1536]
    assert [make_divisible(channels) for channels in (1, 11, 12, 18, 19, 20)] == [8, 16, 16, 24, 24, 24]


def test_other_resolutions_leave_the_rest() -> None:
    moved = TINY.with_resolutions([64, 40, 64])
    assert moved.resolutions == (40, 64)
    assert moved.with_resolutions(TINY.resolutions) == TINY


def test_named_spaces_hold_the_published_ones() -> None:
    names = named_spaces()
    assert set(names) == {"small", "nat-w1.0", "nat-w1.2", "proxyless-w1.3"}
    assert names["nat-w1.2"].resolutions == tuple(range(192, 257, 4))
    assert (names["proxyless-w1.3"].structure, names["proxyless-w1.3"].width) == (PROXYLESS, 1.3)


def test_layers_have_the_choices_that_their_structure_allows(any_space: MobileNetSpace) -> None:
    largest = any_space.largest()
    for index, kernel, expand in any_space.active_slots(largest):
        slot = any_space.slots[index]
        stage = any_space.structure.stages[slot.stage]
        if stage.layers:
            own = stage.layers[slot.layer]
            assert (kernel, slot.mid_channels(expand)) == (own.kernel, own.expanded)
            assert slot.mid_channels(0.5) == make_divisible(own.expanded / 2)
        else:
            assert kernel == any_space.kernels[-1]
    assert [
        len(stage.layers) if stage.layers else stage.most or any_space.depths[-1]
        for stage in any_space.structure.stages
    ] == list(largest.depths)


def test_size_counts_the_distinct_networks(any_space: MobileNetSpace) -> None:
    small = replace(any_space, kernels=(3,), expands=any_space.expands[-1:], resolutions=(32,))
    product_of_depths = math.prod(len(depths) for depths in small.stage_depths)
    assert small.size() == product_of_depths
    assert any_space.size() == brute_force_size(any_space)


def brute_force_size(space: MobileNetSpace) -> int:
    total = len(space.resolutions)
    for stage, depths in enumerate(space.stage_depths):
        slots = [slot for slot in space.slots if slot.stage == stage]
        total *= sum(
            len(list(product(*(range(len(slot.kernels) * len(slot.expands)) for slot in slots[:d])))) for d in depths
        )
    return total


def test_a_structure_comes_along_in_json_unless_its_name_says_it(any_space: MobileNetSpace) -> None:
    data = json.loads(json.dumps(any_space.to_json()))
    assert ("structure" in data) == (any_space.structure.name == "own")
    assert MobileNetSpace.from_json(data) == any_space


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "expected the structure of space 'own', got that of 'other'"),
        ({"stem": "wide"}, "stem"),
        ({"stages": [{"width": 8}]}, "stages.0.stride"),
        ({"head": None}, "head"),
    ],
)
def test_structures_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    structure = replace(PROXYLESS, name="own")
    data = replace(TINY, structure=structure).to_json()
    data["structure"] |= change
    with pytest.raises(InputError, match=message):
        MobileNetSpace.from_json(data)
