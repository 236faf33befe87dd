from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nat.datasets.catalogue import find_dataset
from nat.datasets.memory import bytes_of, check_memory
from nat.errors import InputError

GIB = 1 << 30


def test_what_does_not_fit_is_refused_with_a_size_that_does(
    tmp_path: Path, noise: Callable[[int, tuple[int, int]], Image.Image]
) -> None:
    noise(0, (400, 300)).save(tmp_path / "a.png")
    paths = [tmp_path / "a.png"] * 50_000
    needed = 50_000 * 3 * 256 * 256 * 400 / 300  # 13.1e9 bytes
    check_memory(paths, 256, available=int(needed / 0.79))
    with pytest.raises(
        InputError, match=r"50,000 images to fit into 8.0 GiB .* 256 pixels they take 12.2 GiB.*size 160;"
    ):
        check_memory(paths, 256, available=8 * GIB)
    check_memory(paths, 160, available=8 * GIB)
    with pytest.raises(InputError, match="fewer images"):
        check_memory(paths, 256, available=GIB // 64)


def test_a_system_that_does_not_tell_and_files_that_are_none(tmp_path: Path) -> None:
    check_memory([], 256, available=1)
    check_memory([tmp_path / "absent.png"], 256, available=1)
    check_memory([tmp_path / "absent.png"], 256)


def test_memory_of_published_data_sets() -> None:
    assert bytes_of(find_dataset("cifar10"), 256) == 60_000 * 3 * 32 * 32
    assert bytes_of(find_dataset("cifar10"), 16) == 60_000 * 3 * 16 * 16
    assert bytes_of(find_dataset("imagenet"), 256) == 1_331_167 * 3 * 256 * 341
