"""Where published files are kept, and what tells one from another; `test_download.py` has how they come there."""

import sys
from pathlib import Path

import pytest

from nat.errors import CheckpointError, InputError
from nat.pretrained import cache
from nat.pretrained.cache import PublishedFile, cache_folder, git_blob_id, verified


def test_an_absent_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAT_HOME", str(tmp_path))
    file = PublishedFile("weights_w1.0", "weights", "https://example.org/weights", "0" * 40, "images", "none")
    with pytest.raises(CheckpointError) as caught:
        verified(file)
    place = tmp_path / "checkpoints" / "weights_w1.0"
    assert str(caught.value) == f"expected 'weights_w1.0' at '{place}': run 'nat checkpoints pull weights_w1.0' first."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"), (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a")],
)
def test_blob_ids_are_those_of_git(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert git_blob_id(tmp_path / "file") == expected


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="the places of Linux")
def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.delenv("NAT_HOME", raising=False)
    for variable, there in (("", "me/.cache/nat"), ("relative", "me/.cache/nat"), (str(tmp_path / "x"), "x/nat")):
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
        assert cache_folder() == tmp_path / there
    monkeypatch.setenv("NAT_HOME", "~/mine")
    assert cache_folder() == tmp_path / "me" / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAT_HOME", "mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("NAT_HOME", "~nobody-of-this-name/nat")
    with pytest.raises(InputError, match="NAT_HOME"):
        cache_folder()


def test_no_home_folder_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NAT_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", homeless)
    assert cache_folder().is_absolute()
