import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from nat.datasets import load_dataset
from nat.datasets.scan import SUFFIXES, scan_folder
from nat.errors import InputError

MakeFolder = Callable[[Mapping[str, int]], Path]
Noise = Callable[[int, tuple[int, int]], Image.Image]


def test_class_folders_are_split_in_three(make_folder: MakeFolder) -> None:
    splits = load_dataset(make_folder({"dog": 10, "cat": 20}))
    assert splits.classes == ("cat", "dog") and splits.num_classes == 2
    assert [len(part) for part in (splits.test, splits.val, splits.train)] == [4 + 2, 3 + 1, 13 + 7]
    seen = [path for part in (splits.train, splits.val, splits.test) for path in part.paths or []]
    assert len(set(seen)) == 30
    for part in (splits.train, splits.val, splits.test):
        assert [path.parent.name for path in part.paths or []] == [splits.classes[i] for i in part.labels]
    card = splits.card
    assert (card.name, card.image_size, card.crop_fraction, card.train_images) == ("data", 10, 1.0, 30)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val", None])
@pytest.mark.parametrize("test", ["test", None])
def test_given_splits_are_kept_and_others_drawn(make_folder: MakeFolder, val: str | None, test: str | None) -> None:
    counts = {f"{name}/{label}": 5 for name in ("train", val, test) if name for label in ("a", "b")}
    splits = load_dataset(make_folder(counts))
    folder_of = [(part.paths or [])[0].parts[-3] for part in (splits.train, splits.val, splits.test)]
    assert folder_of == ["train", val or "train", test or "train"]
    drawn = (val is None) + (test is None)
    assert len(splits.train) == 10 - 2 * drawn
    assert len(splits.val) == (10 if val else 2) and len(splits.test) == (10 if test else 2)


def test_test_may_lack_a_class(make_folder: MakeFolder) -> None:
    splits = load_dataset(make_folder({"train/a": 3, "train/b": 3, "test/b": 2}))
    assert splits.test.labels.tolist() == [1, 1]


def test_a_class_may_be_called_train(make_folder: MakeFolder) -> None:
    assert load_dataset(make_folder({"train": 3, "bus": 3, "test": 3})).classes == ("bus", "test", "train")


def test_all_suffixes_nested_folders_and_what_is_ignored(tmp_path: Path, noise: Noise) -> None:
    for label in ("a", "b"):
        nested = tmp_path / label / "2021" / "summer"
        nested.mkdir(parents=True)
        for i, suffix in enumerate(sorted(SUFFIXES)):
            noise(i, (9, 9)).save(nested / f"{i}{suffix.upper() if label == 'a' else suffix}")
        noise(50, (9, 9)).save(tmp_path / label / "top.png")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "._0.jpg").write_text("left by a Mac")
    (tmp_path / "a" / ".cache").mkdir()
    noise(0, (9, 9)).save(tmp_path / "a" / ".cache" / "x.png")
    (tmp_path / ".DS_Store").write_text("x")
    noise(0, (9, 9)).save(tmp_path / "preview.png")
    splits = load_dataset(tmp_path)
    total = len(splits.train) + len(splits.val) + len(splits.test)
    assert total == 2 * (len(SUFFIXES) + 1) and splits.ignored == 5 and splits.skipped == ()


def test_links_are_followed_but_not_in_circles(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({"a": 3, "b/deep": 3})
    (folder / "b" / "deep" / "up").symlink_to(folder / "b")
    shutil.move(folder / "a", tmp_path / "elsewhere")
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    assert [len(scan_folder(folder).files["train"])] == [6]


def test_spelling_of_accents_does_not_matter(make_folder: MakeFolder) -> None:
    composed, decomposed = (unicodedata.normalize(form, "crème") for form in ("NFC", "NFD"))
    splits = load_dataset(make_folder({f"train/{composed}": 3, "train/z": 3, f"test/{decomposed}": 1, "test/z": 1}))
    assert splits.classes == (composed, "z") and splits.test.labels.tolist() == [0, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are no text")
def test_names_that_are_no_text_can_be_written(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({os.fsdecode(b"caf\xe9"): 3, os.fsdecode(b"caf\xe8"): 3})
    renamed = folder.rename(tmp_path / os.fsdecode(b"old \xff"))
    splits = load_dataset(renamed)
    assert splits.classes == ("caf\\udce8", "caf\\udce9") and splits.card.name == "old \\udcff"
    assert len(splits.train) == 2


def test_order_of_the_file_system_does_not_matter(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder({"a": 9, "b/x": 5, "b/y": 4})
    expected = load_dataset(folder, seed=3)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=True)))
    again = load_dataset(folder, seed=3)
    assert again.val.paths == expected.val.paths and again.test.paths == expected.test.paths
    assert again.train.paths == expected.train.paths and again.fingerprint == expected.fingerprint


def test_fingerprint_is_of_the_content_not_of_the_place_or_seed(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({"a": 3, "b": 3})
    moved = tmp_path / "moved" / "there"
    shutil.copytree(folder, moved)
    first = load_dataset(folder, seed=0).fingerprint
    assert load_dataset(moved, seed=1, store_size=4).fingerprint == first
    Image.new("RGB", (12, 10)).save(moved / "a" / "000.png")
    assert load_dataset(moved).fingerprint != first


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; expected a folder of class sub-folders"):
        load_dataset(tmp_path / "nowhere")
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.zip is a file; expected a folder .* Unpack it first"):
        load_dataset(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x" * 5000, "./" + "x" * 5000])
def test_a_name_that_is_too_long(name: str) -> None:
    for data in (name, Path(name)):
        with pytest.raises(InputError, match=r"cannot read x+: File name too long"):
            load_dataset(data)


@pytest.mark.parametrize(("method", "closed"), [("is_dir", "data"), ("is_dir", "b"), ("iterdir", "b")])
def test_closed_folders_are_named(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, method: str, closed: str
) -> None:
    folder = make_folder({"a": 3, "b": 3})
    look = getattr(Path, method)

    def refusing(path: Path) -> object:
        if path.name == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, method, refusing)
    with pytest.raises(InputError, match=rf"cannot read {folder.parent}/.*{closed}: Permission denied"):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"no images \(0 other files\); expected a folder of class sub-folders"),
        ({"a": 0, "b": 0}, "no images"),
        ({".": 3}, "3 images outside class sub-folders"),
        ({"a": 5}, "one class only, 'a'"),
        ({"a": 5, "b": 0, "c": 5}, "class 'b' has no images"),
        ({"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 0}, "test, class 'b' has no images"),
        ({"train/a": 3, "train/b": 3, "val/c": 1}, "val has 'c', which .*train lacks"),
        ({"train/a": 3, "train/b": 3, "test/a": 1, "test/x": 1, "test/y": 1}, "test has 'x', 'y', which"),
        ({"train/a": 3, "train/b": 3, "test": 4}, "test has no class sub-folders, so its images have no labels"),
        ({"train/a": 3, "train/b": 3, "val/a": 1, "valid/a": 1}, "both val/ and valid/"),
        ({"train/a": 3, "train/b": 3, "extra": 3}, "train/ with sub-folders beside extra/"),
        ({"train": 3, "test": 3}, "test/, train/ but no class sub-folders in train/"),
        ({"test/a": 3, "val/a": 3}, "test/, val/ but no train/"),
        ({"a": 2, "b": 3, "c": 1}, r"at least 3 training images in each class.*'a' \(2\), 'c' \(1\)"),
        ({"train/a": 1, "train/b": 2, "test/b": 1}, r"at least 2 training images .*'a' \(1\)"),
    ],
)
def test_layouts_that_cannot_be_used_say_so(make_folder: MakeFolder, counts: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(make_folder(counts))


def test_too_few_images_are_found_before_any_is_decoded(make_folder: MakeFolder) -> None:
    calls: list[int] = []
    with pytest.raises(InputError, match="too few"):
        load_dataset(make_folder({"a": 2, "b": 9}), progress=lambda done, total: calls.append(done))
    assert calls == []


@pytest.mark.parametrize("where", ["train/a/000.png", "test/b/001.png"])
def test_corrupt_images_are_named_or_skipped_and_counted(make_folder: MakeFolder, where: str) -> None:
    folder = make_folder({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    bad = folder / where
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"1 corrupt image of 12: .*{bad.name} \(.*--skip-corrupt"):
        load_dataset(folder)
    splits = load_dataset(folder, skip_corrupt=True)
    assert splits.skipped == (bad,)
    assert len(splits.train) + len(splits.val) + len(splits.test) == 11


def test_few_corrupt_images_are_skipped_unasked(make_folder: MakeFolder) -> None:
    folder = make_folder({"a": 60, "b": 60})
    bad = [folder / "a" / "007.png", folder / "b" / "008.png"]
    for path in bad:
        path.write_bytes(b"")
    assert load_dataset(folder).skipped == tuple(bad)
    (folder / "b" / "009.png").write_bytes(b"")
    with pytest.raises(InputError, match="3 corrupt images of 120"):
        load_dataset(folder)


def test_many_corrupt_images_make_a_short_message(make_folder: MakeFolder) -> None:
    folder = make_folder({"a": 9, "b": 9})
    for path in (folder / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"9 corrupt images of 18: .*and 6 more"):
        load_dataset(folder)
    with pytest.raises(InputError, match="class 'a' has only corrupt images in train"):
        load_dataset(folder, skip_corrupt=True)


def test_skipping_may_leave_too_few(make_folder: MakeFolder) -> None:
    folder = make_folder({"a": 3, "b": 3})
    (folder / "b" / "001.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"too few in 'b' \(2\), corrupt files left out: 1"):
        load_dataset(folder, skip_corrupt=True)


def test_a_dangling_link_is_reported_not_lost(make_folder: MakeFolder) -> None:
    folder = make_folder({"a": 3, "b": 3})
    (folder / "b" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    with pytest.raises(InputError, match=r"gone\.jpg \(No such file"):
        load_dataset(folder)
