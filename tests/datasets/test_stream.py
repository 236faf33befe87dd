import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.datasets import ImageSet, TrainStream
from nat.datasets.stream import Batching, random_boxes
from nat.errors import InputError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def numbered(count: int, size: int = 12, varied: bool = False) -> ImageSet:
    """Noise whose labels number the images."""
    generator = torch.Generator().manual_seed(1)
    images = [
        torch.randint(0, 256, (3, size + varied * (i % 3), size), dtype=torch.uint8, generator=generator)
        for i in range(count)
    ]
    return ImageSet(images, list(range(count)))


def stream(
    images: ImageSet, batch_size: int = 8, seed: int = 0, flip: bool = True, min_crop_area: float = 0.3
) -> TrainStream:
    return TrainStream(images, Batching(batch_size, seed, flip, min_crop_area, MEAN, STD))


@pytest.mark.parametrize("varied", [False, True])
def test_a_batch_depends_on_seed_step_and_resolution_alone(varied: bool) -> None:
    images = numbered(30, varied=varied)
    straight = stream(images)
    expected = {step: straight.batch(step, 16) for step in range(8)}
    jumping = stream(images)
    for step in (7, 2, 2, 5, 0):  # across epochs and back, in an object of its own
        jumping.batch(step, 9)
        batch, labels = jumping.batch(step, 16)
        assert torch.equal(batch, expected[step][0]) and torch.equal(labels, expected[step][1])
    assert len({tuple(labels.tolist()) for _, labels in expected.values()}) == 8
    other, _ = stream(images, seed=1).batch(0, 16)
    assert not torch.equal(other, expected[0][0])


def test_stacked_and_listed_images_give_the_same_batches() -> None:
    stacked = numbered(10)
    listed = ImageSet(list(stacked.images), stacked.labels)
    listed.images = list(stacked.images)
    assert torch.equal(stream(stacked).batch(0, 14)[0], stream(listed).batch(0, 14)[0])


def test_shapes_types_and_normalisation() -> None:
    flat = ImageSet(torch.full((9, 3, 8, 8), 51, dtype=torch.uint8), [2] * 9)
    batch, labels = stream(flat, 4).batch(3, 10)
    assert batch.shape == (4, 3, 10, 10) and batch.dtype == torch.float32 and batch.is_contiguous()
    assert labels.tolist() == [2] * 4 and labels.dtype == torch.int64
    expected = (0.2 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(batch, expected.view(3, 1, 1).expand_as(batch), rtol=1e-4, atol=1e-5)


def test_an_epoch_visits_each_image_once_and_the_next_in_another_order() -> None:
    training = stream(numbered(26), 8)
    assert training.steps_per_epoch == 3
    epochs = [torch.cat([training.batch(3 * e + i, 4)[1] for i in range(3)]).tolist() for e in range(3)]
    assert all(len(set(epoch)) == 24 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    left_out = [set(range(26)) - set(epoch) for epoch in epochs]
    assert left_out[0] != left_out[1]  # the partial batch that is dropped is not always the same


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    training = stream(numbered(5), 64)
    assert training.steps_per_epoch == 1 and training.batch_size == 5
    assert sorted(training.batch(11, 4)[1].tolist()) == [0, 1, 2, 3, 4]


def test_without_crop_or_flip_the_images_are_whole() -> None:
    images = numbered(6)
    batch, labels = stream(images, 6, flip=False, min_crop_area=1.0).batch(0, 12)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    restored = ((batch * std + mean) * 255).round().to(torch.uint8)
    assert torch.equal(restored, torch.as_tensor(images.images)[labels])


def test_about_half_of_the_images_are_flipped() -> None:
    images = numbered(400)
    plain, labels = stream(images, 400, flip=False, min_crop_area=0.5).batch(0, 8)
    flipped, same_labels = stream(images, 400, flip=True, min_crop_area=0.5).batch(0, 8)
    assert torch.equal(labels, same_labels)
    kept = (plain == flipped).flatten(1).all(1)
    mirrored = (plain.flip(-1) == flipped).flatten(1).all(1)
    assert (kept | mirrored).all() and 150 < int(mirrored.sum()) < 250


def test_crops_are_the_same_at_every_resolution() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(20, 3, 64, 64)
    training = stream(ImageSet(ramp, [0] * 20), 20, flip=False)
    small, large = training.batch(0, 16)[0], training.batch(0, 64)[0]
    torch.testing.assert_close(small.mean((2, 3)), large.mean((2, 3)), atol=0.02, rtol=0)


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    min_area=st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_boxes_lie_inside_the_image(height: int, width: int, min_area: float, seed: int) -> None:
    uniform = np.random.default_rng(seed).random((4, 50))
    top, left, box_height, box_width = random_boxes(np.full(50, height), np.full(50, width), uniform, min_area)
    assert (top >= 0).all() and (left >= 0).all() and (box_height >= 1).all() and (box_width >= 1).all()
    assert (top + box_height <= height).all() and (left + box_width <= width).all()


def test_area_and_ratio_of_boxes_have_the_stated_distributions() -> None:
    count, side = 20_000, 10_000  # large, so that whole pixels do not matter
    uniform = np.random.default_rng(0).random((4, count))
    top, left, height, width = random_boxes(np.full(count, side), np.full(count, side), uniform, 0.3)
    area = height * width / side**2
    assert area.min() == pytest.approx(0.3, abs=0.005) and area.max() <= 1.0001
    assert np.quantile(area, [0.25, 0.5, 0.75]) == pytest.approx([0.475, 0.65, 0.825], abs=0.01)
    small = area < 0.5  # never clipped by the image
    log_ratio = np.log(width / height)[small]
    assert np.quantile(log_ratio, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        np.log(4 / 3) * np.array([-1, -0.5, 0, 0.5, 1]), abs=0.02
    )
    assert (top / (side - height + 1))[small].mean() == pytest.approx(0.5, abs=0.02)
    assert (left / (side - width + 1))[small].mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch size >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"min_crop_area": 0.0}, "least crop area"),
        ({"images": numbered(1).subset([])}, "got none"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stream(**({"images": numbered(4)} | options))  # type: ignore[arg-type]


def test_bad_steps_are_refused() -> None:
    training = stream(numbered(4))
    for step, resolution in ((-1, 8), (0, 0)):
        with pytest.raises(InputError, match=r"step >= 0|resolution >= 1"):
            training.batch(step, resolution)
