"""Mixing of batches: what the images and the weights of the classes become, and that both follow from the step."""

import pytest
import torch
from torch import Tensor

from nat.datasets.augment import Mixing

LABELS = torch.tensor([0, 1, 2, 3])
IMAGES = torch.arange(1.0, 5.0)[:, None, None, None].expand(4, 3, 16, 16).contiguous()  # image i is i + 1 everywhere


def shares(weights: Tensor) -> tuple[float, float]:
    """Of the image itself and of its neighbour, which are the same in the whole batch."""
    own, other = weights[range(4), LABELS], weights[range(4), LABELS.roll(1)]
    assert torch.equal(own, own[:1].expand(4)) and torch.equal(other, other[:1].expand(4))
    assert torch.allclose(weights.sum(1), torch.ones(4))
    return float(own[0]), float(other[0])


def test_mixup_adds_each_image_to_its_neighbour_by_the_share_of_the_weights() -> None:
    images, weights = Mixing(0.4, 0.0, 4, 0)(IMAGES, LABELS, 3)
    own, other = shares(weights)
    assert 0 < own < 1
    assert torch.allclose(images, own * IMAGES + other * IMAGES.roll(1, 0))


@pytest.mark.parametrize("step", range(6))
def test_cutmix_puts_a_box_of_the_neighbour_in_by_the_share_of_the_weights(step: int) -> None:
    images, weights = Mixing(0.0, 1.0, 4, 0)(IMAGES, LABELS, step)
    own, other = shares(weights)
    kept = images == IMAGES
    assert torch.equal(images[~kept], IMAGES.roll(1, 0)[~kept])
    assert float(kept.float().mean()) == pytest.approx(own, abs=1e-6) and own + other == pytest.approx(1)
    cut = (~kept)[0, 0].nonzero()
    if len(cut):
        height, width = (cut.max(0).values - cut.min(0).values + 1).tolist()
        assert len(cut) == height * width, "it is one box"


def test_with_both_each_step_has_one_of_them() -> None:
    both = Mixing(0.4, 1.0, 4, 0)
    whole = [bool((both(IMAGES, LABELS, step)[0] % 1 == 0).all()) for step in range(40)]
    assert 10 < sum(whole) < 30  # boxes keep whole numbers, sums do not


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_numbers_follow_from_seed_and_step_and_nothing_else_is_drawn(mixup: float, cutmix: float) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    mixing = Mixing(mixup, cutmix, 4, 7)
    drawn = [mixing(IMAGES, LABELS, step)[1] for step in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    again = [Mixing(mixup, cutmix, 4, 7)(IMAGES, LABELS, step)[1] for step in reversed(range(8))]
    assert all(torch.equal(one, other) for one, other in zip(drawn, reversed(again), strict=True))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(Mixing(mixup, cutmix, 4, 8)(IMAGES, LABELS, 0)[1], drawn[0])


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_soft_targets_are_mixed_as_labels_are(mixup: float, cutmix: float) -> None:
    mixing, soft = Mixing(mixup, cutmix, 4, 0), torch.eye(4)
    for step in range(4):
        (images, weights), (same, mixed) = mixing(IMAGES, LABELS, step), mixing(IMAGES, soft, step)
        assert torch.equal(images, same) and torch.equal(weights, mixed)
