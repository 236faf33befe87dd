from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nat.datasets import ImageSet, TrainStream
from nat.datasets import device_stream as module
from nat.datasets.device_stream import DeviceStream, fits, training_stream
from nat.datasets.stream import Batching, Crops
from nat.errors import InputError

OPTIONS: dict[str, Any] = {"flip": True, "min_crop_area": 0.3, "mean": (0.0,) * 3, "std": (1.0,) * 3}
UNIFORM = [(40, 40)] * 24
MIXED = [(30 + 7 * (i % 4), 52 - 9 * (i % 3)) for i in range(24)]
TINY = [(1 + i % 3, 1 + i % 2) for i in range(24)]


def noise(sizes: list[tuple[int, int]]) -> ImageSet:
    """Noise, with black and white patches, whose labels number the images."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.randint(-99, 355, (3, *size), generator=generator).clamp(0, 255).byte() for size in sizes]
    return ImageSet(images, list(range(len(images))))


def pair(images: ImageSet, batch_size: int = 12, seed: int = 0, **options: Any) -> tuple[TrainStream, DeviceStream]:
    """The reference and the stream under test."""
    augment = options.pop("augment", None)
    batching = Batching(batch_size, seed, **OPTIONS | options)
    return TrainStream(images, batching, augment), DeviceStream(images, batching, augment, device="cpu")


def assert_same_bytes(actual: Tensor, expected: Tensor, mean: float = 0.01) -> None:
    """Differences in levels, of images in [0, 1]."""
    difference = (actual - expected).mul(255).abs()
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    assert difference.max() < 1.001 and difference.mean() < mean


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("resolution", [7, 33, 40, 96])  # down, about the same, up
@pytest.mark.parametrize("sizes", [UNIFORM, MIXED, TINY], ids=["uniform", "mixed", "tiny"])
def test_batches_are_those_of_the_train_stream(sizes: list[tuple[int, int]], resolution: int, flip: bool) -> None:
    for seed in (0, 3):
        reference, stream = pair(noise(sizes), seed=seed, flip=flip, min_crop_area=0.1)
        for step in (0, 1, 5):
            expected, expected_labels = reference.batch(step, resolution)
            images, labels = stream.batch(step, resolution)
            assert_same_bytes(images, expected)
            assert images.is_contiguous()
            assert torch.equal(labels, expected_labels) and labels.dtype == torch.int64


@pytest.mark.parametrize("resolution", [1, 2, 5, 31])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20), (20, 1), (2, 3)])
def test_boxes_of_few_pixels_in_large_images(height: int, width: int, resolution: int) -> None:
    reference, stream = pair(noise([(20, 20)] * 4), 4)
    chosen, ones = np.arange(4), np.ones(4, dtype=np.int64)
    top, left = (20 - height) * chosen // 3, (20 - width) * chosen // 3  # from corner to corner
    crops = Crops(top, left, height * ones, width * ones, chosen % 2 == 1)
    expected, actual = (each._resized(chosen, crops, resolution) for each in (reference, stream))
    assert_same_bytes(actual / 255, expected / 255, mean=0.05)  # 24 different pixels at the fewest


def test_a_strong_reduction_keeps_to_the_reference() -> None:
    reference, stream = pair(noise([(500, 300), (300, 500)]), 2)
    assert_same_bytes(stream.batch(0, 3)[0], reference.batch(0, 3)[0], mean=0.06)


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_flat_images_stay_flat_beside_the_padding(level: int) -> None:
    sizes = [(9, 31), (31, 9), (17, 17)]
    images = ImageSet([torch.full((3, *size), level, dtype=torch.uint8) for size in sizes], [0, 1, 2])
    for resolution in (4, 50):
        batch, _ = pair(images, 3)[1].batch(2, resolution)
        torch.testing.assert_close(batch, torch.full_like(batch, level / 255))


def test_whole_images_are_copied_exactly() -> None:
    images = noise(UNIFORM)
    batch, labels = pair(images, flip=False, min_crop_area=1.0)[1].batch(0, 40)
    assert torch.equal(batch.mul(255).round().byte(), torch.as_tensor(images.images)[labels])


@pytest.mark.parametrize("sizes", [UNIFORM, MIXED], ids=["uniform", "mixed"])
def test_rows_are_those_of_the_whole_batch(sizes: list[tuple[int, int]]) -> None:
    _, stream = pair(noise(sizes))
    images, labels = stream.batch(1, 24)
    for rows in (slice(0, 4), slice(4, 12), slice(11, 12), slice(None, None, 5)):
        some, some_labels = stream.batch(1, 24, rows)
        assert torch.equal(some, images[rows]) and torch.equal(some_labels, labels[rows])


def test_little_memory_for_work_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = pair(noise(MIXED))[1].batch(0, 24)
    monkeypatch.setattr(module, "_WORK_BYTES", 5 * 3 * 4 * 51 * 52)  # five images of the largest height and width
    stream = pair(noise(MIXED))[1]
    assert stream._at_once == 5
    assert torch.equal(stream.batch(0, 24)[0], expected)


def test_a_batch_depends_on_seed_step_and_resolution_alone() -> None:
    images = noise(MIXED)
    straight = pair(images)[1]
    expected = {step: straight.batch(step, 16) for step in range(6)}
    jumping = pair(images)[1]
    for step in (5, 2, 2, 0):
        jumping.batch(step, 9)
        batch, labels = jumping.batch(step, 16)
        assert torch.equal(batch, expected[step][0]) and torch.equal(labels, expected[step][1])
    assert not torch.equal(pair(images, seed=1)[1].batch(0, 16)[0], expected[0][0])


def test_the_augmentation_gets_bytes_step_and_first_row() -> None:
    seen = list[tuple[Any, ...]]()

    def inverted(images: Tensor, step: int, first: int) -> Tensor:
        seen.append((images.dtype, tuple(images.shape), step, first))
        return 255 - images

    images = noise(UNIFORM)
    batch, _ = pair(images, augment=inverted)[1].batch(3, 10, slice(4, 9))
    assert seen == [(torch.uint8, (5, 3, 10, 10), 3, 4)]
    torch.testing.assert_close(batch, 1 - pair(images)[1].batch(3, 10, slice(4, 9))[0])


def test_bad_settings_are_refused() -> None:
    for options in ({"batch_size": 0}, {"seed": -1}, {"min_crop_area": 0.0}, {"images": noise(TINY).subset([])}):
        with pytest.raises(InputError):
            pair(**({"images": noise(TINY)} | options))  # type: ignore[arg-type]


def test_the_cpu_keeps_the_train_stream() -> None:
    images = noise(MIXED)
    assert not fits(images, "cpu") and not fits(images, torch.device("cpu"), share=1.0)
    stream = training_stream(images, Batching(12, 0, **OPTIONS), device="cpu")
    assert type(stream) is TrainStream
    assert torch.equal(stream.batch(0, 16)[0], pair(images)[0].batch(0, 16)[0])


def test_padded_bytes_must_fit_into_the_share_of_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    images, padded = noise(MIXED), 24 * 3 * 51 * 52
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * padded, 9 * padded))
    assert fits(images, "cuda") and fits(images, torch.device("cuda", 1), share=0.5)
    assert not fits(images, "cuda", share=0.49)


def test_the_factory_takes_the_device_where_the_images_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fits", lambda images, device: True)
    images = noise(UNIFORM)
    stream = training_stream(images, Batching(12, 0, **OPTIONS), device="cpu")
    assert isinstance(stream, DeviceStream)
    assert torch.equal(stream.batch(0, 16)[0], pair(images)[1].batch(0, 16)[0])


@pytest.mark.gpu
def test_a_gpu_gives_the_bytes_of_the_cpu() -> None:
    images = noise(MIXED)
    stream = training_stream(images, Batching(12, 0, **OPTIONS), device="cuda")
    assert isinstance(stream, DeviceStream)
    for resolution in (7, 40, 96):
        batch, labels = stream.batch(1, resolution)
        expected, expected_labels = pair(images)[1].batch(1, resolution)
        assert batch.is_cuda and labels.is_cuda and torch.equal(labels.cpu(), expected_labels)
        assert_same_bytes(batch.cpu(), expected, mean=0.001)
