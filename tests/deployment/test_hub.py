"""Pushing to the hub and pulling from it, against a hub that is a folder."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import errors

import nat.timm_plugin
from nat.bundle import load_bundle

Command = Callable[..., Any]
HTTP: Any = import_module(errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0])  # httpx, or what follows it


class FolderHub:
    """What is used of `HfApi`, on repositories that are folders."""

    root: Path
    damage = ""  # the file that comes damaged

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> str:
        if repo_id.count("/") != 1:
            raise errors.HFValidationError("Repo id must be in the form 'repo_name' or 'namespace/repo_name'")
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        return f"https://hub/{repo_id}"

    def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: str, commit_message: str) -> None:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)

    def model_info(self, repo: str, *, revision: str | None, files_metadata: bool) -> Any:
        if not (self.root / repo).is_dir():
            raise errors.RepositoryNotFoundError("404 Client Error", response=answer(404))
        sums = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.root / repo).glob("*")}
        large = {path: SimpleNamespace(sha256=value) for path, value in sums.items() if path.suffix == ".safetensors"}
        siblings = [SimpleNamespace(rfilename=path.name, lfs=large.get(path)) for path in sums]
        return SimpleNamespace(sha="1234", siblings=siblings)

    def snapshot_download(self, repo: str, *, revision: str, local_dir: str, allow_patterns: list[str]) -> None:
        for name in allow_patterns:
            if (self.root / repo / name).is_file():
                shutil.copy(self.root / repo / name, Path(local_dir) / name)
        (Path(local_dir) / ".cache").mkdir()
        if self.damage:
            path = Path(local_dir) / self.damage
            path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def answer(status: int) -> Any:
    return HTTP.Response(status, request=HTTP.Request("GET", "https://hub/api"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[FolderHub]:
    class Hub(FolderHub):
        root = tmp_path / "hub"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


@pytest.fixture
def bundle(bundles: dict[str, Path]) -> Path:
    return bundles["minimal"]


def test_a_bundle_goes_to_the_hub_and_comes_back(
    hub: type[FolderHub], bundle: Path, command: Command, tmp_path: Path
) -> None:
    pushed = command("push", bundle, "me/flowers", "--license", "apache-2.0")
    assert pushed.code == 0 and pushed.out.strip() == "https://hub/me/flowers", pushed.err
    (hub.root / "me/flowers" / "evil.bin").write_bytes(b"a pickle")
    pulled = command("pull", "me/flowers", tmp_path / "back")
    assert pulled.code == 0 and "verified" in pulled.out, pulled.err
    names = {path.name for path in (tmp_path / "back").iterdir()}
    assert names == {path.name for path in bundle.iterdir()} - {"exports"}
    before, after, images = load_bundle(bundle), load_bundle(tmp_path / "back"), torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(before.model(images), after.model(images))
        model = timm.create_model(f"local-dir:{hub.root / 'me/flowers'}", pretrained=True).eval()
        assert isinstance(model, nat.timm_plugin.TimmSubnet) and torch.equal(model(images), before.model(images))
    assert (after.labels, after.preprocess) == (before.labels, before.preprocess)
    assert after.metrics["data"]["source"] == "my photos"


def test_nothing_of_this_machine_is_pushed(hub: type[FolderHub], bundle: Path, command: Command, photos: Path) -> None:
    assert command("push", bundle, "me/flowers").code == 0
    for path in (hub.root / "me/flowers").iterdir():
        assert str(photos.parent).encode() not in path.read_bytes(), path


def test_the_card_is_filled_in(hub: type[FolderHub], bundle: Path, command: Command) -> None:
    assert command("push", bundle, "me/flowers", "--license", "cc-by-4.0").code == 0
    card = huggingface_hub.ModelCard.load(hub.root / "me/flowers" / "README.md")
    head, test = card.data, load_bundle(bundle).metrics["test"]["top1"]
    assert (head.license, head.pipeline_tag, head.metrics) == ("cc-by-4.0", "image-classification", ["accuracy"])
    assert head.library_name == "neural-architecture-transfer" and head.datasets is None
    assert head.eval_results is not None and head.eval_results[0].metric_value == pytest.approx(test, abs=1e-6)
    assert 'timm.create_model("hf-hub:me/flowers", pretrained=True)' in card.text and "nat pull me/flowers" in card.text
    assert 'nat.load_bundle("flowers")' in card.text


@pytest.mark.parametrize(
    ("source", "named", "kept"),
    [
        ("hf:me/beans:small", "me/beans", "hf:me/beans:small"),
        ("cifar10", "cifar10", "cifar10"),
        ("/x", None, "my photos"),
    ],
)
def test_published_images_are_named_and_own_ones_not(
    source: str, named: str | None, kept: str, hub: type[FolderHub], bundle: Path, command: Command, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["data"]["source"] = source
    (copy / "metrics.json").write_text(json.dumps(metrics))
    assert command("push", copy, "me/flowers").code == 0
    head = huggingface_hub.ModelCard.load(hub.root / "me/flowers" / "README.md").data
    assert head.datasets == (named and [named])
    assert json.loads((hub.root / "me/flowers" / "metrics.json").read_text())["data"]["source"] == kept


def test_a_damaged_download_is_noticed(hub: type[FolderHub], bundle: Path, command: Command, tmp_path: Path) -> None:
    assert command("push", bundle, "me/flowers").code == 0
    hub.damage = "model.safetensors"
    outcome = command("pull", "me/flowers", tmp_path / "back")
    assert outcome.code == 2 and "came damaged" in outcome.err
    assert not (tmp_path / "back").exists()


def test_a_repository_that_is_no_bundle_is_refused(
    hub: type[FolderHub], bundle: Path, command: Command, tmp_path: Path
) -> None:
    (hub.root / "me/other").mkdir(parents=True)
    outcome = command("pull", "me/other", tmp_path / "back")
    assert outcome.code == 2 and "'me/other' holds no sound bundle" in outcome.err and ".draft" not in outcome.err
    assert command("push", bundle, "me/flowers").code == 0
    metrics = hub.root / "me/flowers" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"id": "another"}))
    outcome = command("pull", "me/flowers", tmp_path / "back")
    assert outcome.code == 2 and "put together wrongly" in outcome.err
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.LocalTokenNotFoundError("Token is required"), "run 'hf auth login' first"),
        (errors.OfflineModeIsEnabled("offline mode"), "cannot be reached"),
        (HTTP.ConnectError("Name or service not known"), "cannot be reached (Name or service not known)"),
        (HTTP.ReadTimeout("timed out"), "cannot be reached"),
        (errors.RepositoryNotFoundError("404", response=answer(404)), "there is no repository 'me/flowers'"),
        (errors.GatedRepoError("403", response=answer(403)), "must be granted"),
        (errors.RevisionNotFoundError("404", response=answer(404)), "has no such revision"),
        (errors.HfHubHTTPError("403", response=answer(403)), "does not let you into 'me/flowers' (403)"),
        (errors.HfHubHTTPError("500", response=answer(500)), "answers 500"),
    ],
)
def test_errors_of_the_hub_say_what_to_do(
    error: Exception, said: str, hub: type[FolderHub], bundle: Path, command: Command, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(hub, "create_repo", fail)
    monkeypatch.setattr(hub, "model_info", fail)
    for words in (("push", bundle, "me/flowers"), ("pull", "me/flowers", tmp_path / "back")):
        outcome = command(*words)
        assert outcome.code == 2 and said in outcome.err, outcome.err
    assert not (tmp_path / "back").exists()


def test_bad_words_are_refused_before_any_work(
    hub: type[FolderHub], bundle: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = command("push", tmp_path, "me/flowers")
    assert outcome.code == 2 and "expected a subnet's folder" in outcome.err
    outcome = command("push", bundle, "flowers")
    assert outcome.code == 2 and "expected a repository as USER/NAME, got 'flowers'" in outcome.err
    outcome = command("pull", "me/flowers", tmp_path)
    assert outcome.code == 2 and "is there already" in outcome.err
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    outcome = command("push", bundle, "me/flowers")
    assert outcome.code == 2 and "neural-architecture-transfer[hub]" in outcome.err
