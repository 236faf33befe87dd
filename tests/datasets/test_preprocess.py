import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from nat.datasets import Preprocess
from nat.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("resolution", "fraction", "resize"), [(224, 0.875, 256), (225, 0.875, 258), (70, 0.7, 100), (32, 1.0, 32)]
)
def test_for_resolution_rounds_the_resize_up(resolution: int, fraction: float, resize: int) -> None:
    preprocess = Preprocess.for_resolution(resolution, fraction, MEAN, STD)
    assert (preprocess.resize, preprocess.crop) == (resize, resolution)


@pytest.mark.parametrize("size", [(50, 80), (80, 50), (40, 40), (9, 31), (33, 32)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_shape_is_torchvisions_resize_and_centre_crop(size: tuple[int, int], interpolation: str) -> None:
    mode = v2.InterpolationMode(interpolation)
    expected = v2.Compose([v2.Resize(32, mode, antialias=True), v2.CenterCrop(28)])(noise(3, *size))
    assert torch.equal(Preprocess(32, 28, MEAN, STD, interpolation).shape(noise(3, *size)), expected)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), crop=st.integers(1, 40), extra=st.integers(0, 9))
def test_any_image_gets_the_crops_size_and_keeps_a_flat_colour(height: int, width: int, crop: int, extra: int) -> None:
    colour = torch.tensor([7, 100, 250], dtype=torch.uint8).view(3, 1, 1)
    shaped = Preprocess(crop + extra, crop, MEAN, STD).shape(colour.expand(3, height, width))
    assert torch.equal(shaped, colour.expand(3, crop, crop))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 30_000)])
def test_extreme_aspect_ratios_are_cheap_and_centred(size: tuple[int, int]) -> None:
    image = torch.zeros((3, *size), dtype=torch.uint8)
    middle = max(size) // 2
    long_axis = 1 + size.index(max(size))
    image.narrow(long_axis, middle - 20, 40).fill_(200)
    shaped = Preprocess(224, 224, MEAN, STD).shape(image)  # the whole strip would take gigabytes
    assert shaped.shape == (3, 224, 224) and (shaped == 200).all()


@pytest.mark.parametrize("length", [111, 112, 500])
def test_trimming_a_long_image_does_not_change_what_is_seen(length: int) -> None:
    image = noise(3, 20, length)  # beyond 4 : 1
    expected = v2.Compose([v2.Resize(40, antialias=True), v2.CenterCrop(32)])(image)
    assert torch.equal(Preprocess(40, 32, MEAN, STD).shape(image), expected)


def test_each_image_of_a_batch_is_shaped_as_it_is_alone() -> None:
    preprocess, batch = Preprocess(20, 16, MEAN, STD), noise(5, 3, 33, 47)
    assert torch.equal(preprocess.shape(batch), torch.stack([preprocess.shape(image) for image in batch]))


def test_normalise_follows_the_formula_and_leaves_its_input() -> None:
    batch = noise(2, 3, 4, 5)
    before = batch.clone()
    expected = (batch / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    result = Preprocess(4, 4, MEAN, STD).normalise(batch)
    assert result.dtype == torch.float32 and result.is_contiguous()
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(batch, before)


def test_json_round_trip() -> None:
    preprocess = Preprocess(256, 224, MEAN, STD, "bicubic")
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 300}, "1 <= crop <= resize, got crop 300, resize 256"),
        ({"interpolation": "nearest"}, "expected interpolation bicubic or bilinear, got 'nearest'"),
        ({"mean": [1, 2]}, "wrong kind"),
        ({"std": [1, 2, 0]}, "stds above 0"),
        ({"resize": "wide"}, "wrong kind"),
        ({"size": 3}, "expected the keys"),
    ],
)
def test_from_json_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    data = Preprocess(256, 224, MEAN, STD).to_json() | change
    with pytest.raises(InputError, match=message):
        Preprocess.from_json(data)


def test_wrong_images_and_fractions_are_refused() -> None:
    with pytest.raises(InputError, match=r"uint8 images \(3, H, W\), got torch.float32 \(3, 4, 4\)"):
        Preprocess(4, 4, MEAN, STD).shape(torch.zeros(3, 4, 4))
    with pytest.raises(InputError, match="crop fraction"):
        Preprocess.for_resolution(32, 0.0, MEAN, STD)
