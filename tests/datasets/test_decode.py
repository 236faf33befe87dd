import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nat.datasets.decode import Decoded, Undecodable, decode_files, read_image
from nat.errors import InputError

Noise = Callable[[int, tuple[int, int]], Image.Image]


def save(tmp_path: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def pixel(path: Path) -> list[int]:
    return read_image(path)[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "colour", "name", "rgb"),
    [
        ("L", 77, "x.png", [77, 77, 77]),
        ("1", 1, "x.png", [255, 255, 255]),
        ("LA", (100, 0), "x.png", [255, 255, 255]),
        ("RGBA", (10, 20, 30, 255), "x.png", [10, 20, 30]),
        ("RGBA", (0, 0, 0, 51), "x.png", [204, 204, 204]),
        ("I;16", 0xFFFF, "x.png", [255, 255, 255]),
        ("I;16", 0x8080, "x.tif", [128, 128, 128]),
        ("I", 0x4040, "x.tiff", [64, 64, 64]),
        ("F", 0.2, "x.tif", [51, 51, 51]),
        ("F", 51.0, "x.tif", [51, 51, 51]),
        ("CMYK", (255, 0, 0, 0), "x.tif", [0, 255, 255]),
        ("RGB", (1, 2, 3), "x.ppm", [1, 2, 3]),
        ("RGB", (1, 2, 3), "x.bmp", [1, 2, 3]),
        ("L", 9, "x.pgm", [9, 9, 9]),
    ],
)
def test_every_mode_becomes_rgb_bytes(
    tmp_path: Path, mode: str, colour: float | tuple[int, ...], name: str, rgb: list[int]
) -> None:
    path = save(tmp_path, Image.new(mode, (3, 2), colour), name)
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (3, 2, 3)
    assert pixel(path) == rgb


def test_cmyk_jpeg_and_palettes_with_transparency(tmp_path: Path) -> None:
    jpeg = save(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "x.jpg", quality=95)
    assert np.abs(np.subtract(pixel(jpeg), [255, 0, 0])).max() <= 3
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([9, 9, 9, 40, 50, 60])
    assert pixel(save(tmp_path, palette)) == [40, 50, 60]
    assert pixel(save(tmp_path, palette, transparency=1)) == [255, 255, 255]
    assert pixel(save(tmp_path, palette, transparency=bytes([255, 0]))) == [255, 255, 255]
    assert pixel(save(tmp_path, palette, "x.gif")) == [40, 50, 60]


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert pixel(save(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])) == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(tmp_path: Path, noise: Noise, orientation: int) -> None:
    upright = noise(0, (5, 3))
    # how a camera that is held so would store this scene: the inverse of what the tag asks for
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    undo |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = upright.transpose(Image.Transpose[undo[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(save(tmp_path, stored, exif=exif))
    assert torch.equal(image, torch.from_numpy(np.array(upright)).permute(2, 0, 1))


def test_broken_exif_is_no_broken_image(tmp_path: Path, noise: Noise) -> None:
    assert read_image(save(tmp_path, noise(0, (4, 4)), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).shape == (3, 4, 4)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp"])
def test_large_images_are_shrunk_and_small_ones_left(tmp_path: Path, noise: Noise, name: str) -> None:
    large = save(tmp_path, noise(0, (90, 60)), name)
    small = save(tmp_path, noise(0, (1, 1)), "small.png")
    calls: list[tuple[int, int]] = []
    results = decode_files([large, small], 20, lambda done, total: calls.append((done, total)))
    assert all(isinstance(result, Decoded) for result in results)
    first, second = (result for result in results if isinstance(result, Decoded))
    assert first.image.shape == (3, 20, 30) and first.short_side == 60 and first.shrunk
    assert second.image.shape == (3, 1, 1) and not second.shrunk
    assert calls == [(1, 2), (2, 2)]


def test_shrinking_keeps_the_mean_colours(tmp_path: Path) -> None:
    gradient = np.linspace(0, 255, 400, dtype=np.uint8)[None, :, None].repeat(300, 0).repeat(3, 2)
    path = save(tmp_path, Image.fromarray(gradient), "x.jpg", quality=95)
    (result,) = decode_files([path], 30)
    assert isinstance(result, Decoded) and result.image.shape == (3, 30, 40)
    expected = torch.linspace(0, 255, 40).expand(3, 30, 40)
    assert (result.image - expected).abs().max() < 8


def test_more_pixels_than_pillow_likes_are_read_without_a_warning(
    tmp_path: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, noise(0, (30, 20)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # 600 pixels: more than this, less than twice
    with pytest.warns(Image.DecompressionBombWarning), Image.open(path):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (3, 20, 30)
        (result,) = decode_files([path], 10)
        assert isinstance(result, Decoded)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
        (result,) = decode_files([path], 10)
    assert isinstance(result, Undecodable) and result.reason == "too many pixels; shrink it first"


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.bmp", "x.tif", "x.gif"])
@pytest.mark.parametrize("store_size", [8, 4000])
def test_truncated_files_are_undecodable(tmp_path: Path, noise: Noise, name: str, store_size: int) -> None:
    path = save(tmp_path, noise(0, (64, 64)), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (result,) = decode_files([path], store_size)
    assert isinstance(result, Undecodable) and result.path == path and result.reason


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*x\.png as an image: .*damaged from its start"):
        read_image(path)
    path.unlink()
    with pytest.raises(InputError, match=r"x\.png as an image: No such file"):
        read_image(path)


def test_an_interrupt_ends_decoding_at_once(tmp_path: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, noise(0, (8, 8)))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    opened: list[str] = []
    real_open = Image.open
    monkeypatch.setattr(Image, "open", lambda data: opened.append("x") or real_open(data))  # type: ignore[func-returns-value]
    with pytest.raises(KeyboardInterrupt):
        decode_files([path] * 2000, 8, stop)
    assert len(opened) < 1900
