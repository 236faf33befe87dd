from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.datasets import stratified_split
from nat.datasets.cards import DatasetCard
from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits, fingerprint, hold_out
from nat.errors import InputError


@settings(max_examples=80, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), max_size=60).map(lambda extra: [0, 1, 2, 3] * 2 + extra),
    fraction=st.floats(0.01, 0.8),
    seed=st.integers(0, 2**32),
)
def test_split_is_a_partition_with_every_class_on_both_sides(labels: list[int], fraction: float, seed: int) -> None:
    rest, held_out = stratified_split(labels, fraction, np.random.default_rng(seed))
    assert sorted([*rest, *held_out]) == list(range(len(labels)))
    assert rest.tolist() == sorted(rest) and held_out.tolist() == sorted(held_out)
    values = np.array(labels)
    for label in range(4):
        count = (values == label).sum()
        held = (values[held_out] == label).sum()
        assert held == max(1, int(count * fraction + 1e-9)) and held < count
    again = stratified_split(labels, fraction, np.random.default_rng(seed))
    assert again[0].tolist() == rest.tolist() and again[1].tolist() == held_out.tolist()


def test_other_seeds_hold_out_other_images() -> None:
    draws = {tuple(stratified_split([0] * 50, 0.2, np.random.default_rng(seed))[1]) for seed in range(5)}
    assert len(draws) == 5 and all(len(draw) == 10 for draw in draws)


def test_exact_shares_do_not_suffer_from_floating_point() -> None:
    assert len(stratified_split([0] * 100, 0.29, np.random.default_rng(0))[1]) == 29


def test_too_small_a_class_and_bad_fractions_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="class 7 has 2 images; holding out 2 would leave none"):
        stratified_split([7, 7], 0.1, rng, at_least=2)
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="fraction between 0 and 1"):
            stratified_split([0, 0], fraction, rng)


def test_fingerprint_sees_names_labels_splits_and_images() -> None:
    base = fingerprint(["a", "b"], {"train": ([0, 1], [b"x", b"y"])})
    others = [
        fingerprint(["a", "c"], {"train": ([0, 1], [b"x", b"y"])}),
        fingerprint(["a", "b"], {"train": ([1, 0], [b"x", b"y"])}),
        fingerprint(["a", "b"], {"test": ([0, 1], [b"x", b"y"])}),
        fingerprint(["a", "b"], {"train": ([0, 1], [b"x", b"z"])}),
    ]
    assert len({base, *others}) == 5 and len(base) == 64


def test_training_images_are_held_out_class_by_class_and_the_same_again() -> None:
    images = ImageSet(torch.zeros(20, 3, 4, 4, dtype=torch.uint8), torch.arange(20) % 2)
    images.images[:] = torch.arange(20, dtype=torch.uint8)[:, None, None, None]
    card = DatasetCard("numbers", "", 2, 4, 20, 1, "", "", "", False, 1.0, 0.5)
    splits = Splits(images, images, images, ("even", "odd"), card, "f")
    shared, held = hold_out(splits, 0.2, seed=3)
    numbers = [[int(image[0, 0, 0]) for image in part.images] for part in (shared, held)]
    assert sorted(numbers[0] + numbers[1]) == list(range(20))
    assert held.labels.bincount().tolist() == [2, 2]
    assert [int(image[0, 0, 0]) for image in hold_out(splits, 0.2, seed=3)[1].images] == numbers[1]
    alone = replace(splits, train=images.subset([0, 1, 3]))
    with pytest.raises(InputError, match=r"too few in 'even' \(1\)"):
        hold_out(alone, 0.2, seed=0)
