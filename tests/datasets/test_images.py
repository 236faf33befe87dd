import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from nat.datasets import ImageSet, Preprocess, load_dataset, read_image
from nat.datasets import images as images_module
from nat.errors import InputError

MEAN = STD = (0.5, 0.5, 0.5)
SMALL = Preprocess(8, 6, MEAN, STD)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_equal_sizes_are_stacked_and_others_listed() -> None:
    batch = noise(4, 3, 5, 7)
    stacked = ImageSet(list(batch), [0, 1, 0, 1])
    assert isinstance(stacked.images, torch.Tensor) and torch.equal(stacked.images, batch)
    assert stacked.images.is_contiguous(memory_format=torch.channels_last)
    varied = ImageSet([noise(3, 5, 7), noise(3, 7, 5)], [0, 1])
    assert isinstance(varied.images, list) and len(varied) == 2
    assert varied.labels.dtype == torch.int64


@pytest.mark.parametrize("varied", [False, True])
def test_subset_keeps_images_labels_and_paths_together(varied: bool) -> None:
    images = [noise(3, 5, 5 + varied * i) for i in range(4)]
    subset = ImageSet(images, [0, 1, 2, 3], [Path(str(i)) for i in range(4)]).subset([3, 1])
    assert subset.labels.tolist() == [3, 1] and subset.paths == [Path("3"), Path("1")]
    assert torch.equal(subset.images[0], images[3]) and torch.equal(subset.images[1], images[1])
    empty = ImageSet(images, [0, 1, 2, 3]).subset([])
    assert len(empty) == 0 and empty.stored(SMALL).shape == (0, 3, 6, 6)


def test_stored_is_the_shaped_images_and_is_kept() -> None:
    for images in (ImageSet(noise(300, 3, 9, 12), [0] * 300), ImageSet([noise(3, 9, 9), noise(3, 4, 9)], [0, 1])):
        stored = images.stored(SMALL)
        assert torch.equal(stored, torch.stack([SMALL.shape(image) for image in images.images]))
        assert stored.is_contiguous()
        other_norm = Preprocess(8, 6, (0.1, 0.1, 0.1), STD)
        assert images.stored(other_norm) is stored
        assert images.original(SMALL) is stored
        assert images.stored(Preprocess(8, 8, MEAN, STD)).shape[-1] == 8


def test_the_cache_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    images = ImageSet(noise(10, 3, 9, 9), [0] * 10)
    monkeypatch.setattr(images_module, "CACHE_BYTES", 2 * 10 * 3 * 6 * 6)
    first, second = images.stored(SMALL), images.stored(Preprocess(9, 6, MEAN, STD))
    assert images.stored(SMALL) is first  # used again, so now the younger one
    images.stored(Preprocess(7, 6, MEAN, STD))
    assert images.stored(SMALL) is first
    again = images.stored(Preprocess(9, 6, MEAN, STD))
    assert again is not second and torch.equal(again, second)


def test_pickles_carry_the_images_and_not_the_cache() -> None:
    images = ImageSet(noise(50, 3, 4, 4), [1] * 50)
    before = len(pickle.dumps(images))
    images.stored(Preprocess(64, 64, MEAN, STD))
    data = pickle.dumps(images)
    assert len(data) == before
    copy = pickle.loads(data)
    assert torch.equal(copy.images, images.images) and torch.equal(copy.stored(SMALL), images.stored(SMALL))


def test_original_opens_the_files_where_memory_has_less(
    tmp_path: Path, noise: Callable[[int, tuple[int, int]], Image.Image]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            noise(i, (90 + i, 64)).save(tmp_path / name / f"{i}.png")
    preprocess = Preprocess(16, 14, MEAN, STD)
    shrunk = load_dataset(tmp_path, store_size=32).train
    whole = load_dataset(tmp_path, store_size=64).train
    assert shrunk.paths is not None and whole.paths == shrunk.paths
    from_files = torch.stack([preprocess.shape(read_image(path)) for path in shrunk.paths])
    assert torch.equal(shrunk.original(preprocess), from_files)
    assert torch.equal(whole.original(preprocess), from_files)
    assert not torch.equal(shrunk.stored(preprocess), from_files)
    assert shrunk.original(preprocess) is shrunk.original(preprocess)
    shrunk.paths[0].unlink()
    with pytest.raises(InputError, match="No such file"):
        shrunk.original(Preprocess(12, 12, MEAN, STD))


@pytest.mark.parametrize(
    ("images", "labels"),
    [(noise(2, 3, 4, 4), [0]), (noise(2, 1, 4, 4), [0, 0]), (noise(3, 4, 4), [0]), ([torch.zeros(3, 4, 4)], [0])],
)
def test_what_does_not_fit_together_is_refused(images: torch.Tensor, labels: list[int]) -> None:
    with pytest.raises(InputError, match="expected"):
        ImageSet(images, labels)
