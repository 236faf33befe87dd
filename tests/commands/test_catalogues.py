"""Commands that list and inspect, and the help of all commands."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.main import get_command

from nat.main import app
from nat.pretrained.cache import PublishedFile, git_blob_id
from nat.searchers import SEARCHERS
from nat.supernet.space import MobileNetSpace

Command = Callable[..., Any]
MakeImages = Callable[[Mapping[str, int]], Path]

SMALLEST = MobileNetSpace().uniform(kernel=3, expand=3, depth=2, resolution=224)
SMALLEST_COSTS = (121_278_672, 3_410_792)
LARGEST_DIGITS = "080" + "9" * 20
LARGEST_COSTS = (566_170_656, 7_664_760)
WIDE_DIGITS = "081" + "1100" * 5
WIDE_COSTS = (193_078_200, 4_602_456)
OFA = {"wid": None, "ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "r": [224]}
LINEAR = 1280
WEIGHTS = "ofa_mbv3_d234_e346_k357_w1.0"


def costs(outcome: Any) -> tuple[int, int]:
    assert outcome.code == 0, outcome.err
    return outcome.json["macs"], outcome.json["params"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(SMALLEST.to_json()), SMALLEST_COSTS),
        (json.dumps(OFA), SMALLEST_COSTS),
        ("080" + "1100" * 5, SMALLEST_COSTS),
        ("[8, 0" + ", 1, 1, 0, 0" * 5 + "]", SMALLEST_COSTS),
        (LARGEST_DIGITS, LARGEST_COSTS),
        (WIDE_DIGITS, WIDE_COSTS),
    ],
    ids=["json", "ofa", "digits", "genes", "largest", "wide"],
)
def test_macs_takes_every_spelling(command: Command, tmp_path: Path, text: str, expected: tuple[int, int]) -> None:
    assert costs(command("macs", text, "--json")) == expected
    (tmp_path / "net.subnet").write_text(text + "\n")
    assert costs(command("macs", tmp_path / "net.subnet", "--json")) == expected


def test_macs_counts_the_classifier(command: Command) -> None:
    macs, params = costs(command("macs", LARGEST_DIGITS, "--classes", "10", "--json"))
    assert (LARGEST_COSTS[0] - macs, LARGEST_COSTS[1] - params) == (990 * LINEAR, 990 * (LINEAR + 1))


def test_macs_shows_a_table(command: Command) -> None:
    outcome = command("macs", LARGEST_DIGITS)
    assert outcome.code == 0
    assert all(text in outcome.out for text in ("566,170,656", "7,664,760", "224 px", "1000 classes"))


def test_macs_of_a_file_of_lines(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "nets.jsonl"
    path.write_text("\n".join([json.dumps(OFA), "", WIDE_DIGITS, LARGEST_DIGITS]) + "\n")
    found = command("macs", "--from-jsonl", path, "--json").json
    assert [(net["macs"], net["params"]) for net in found] == [SMALLEST_COSTS, WIDE_COSTS, LARGEST_COSTS]
    assert found[0]["id"] == SMALLEST.id
    assert [net["classes"] for net in found] == [1000] * 3
    assert "193,078,200" in command("macs", "--from-jsonl", path).out


@pytest.mark.parametrize(
    ("text", "fragment"), [("nonsense\n", "line 1"), (f"{LARGEST_DIGITS}\n{{}}\n", "line 2"), ("\n", "has none")]
)
def test_macs_names_the_bad_line(command: Command, tmp_path: Path, text: str, fragment: str) -> None:
    (tmp_path / "nets.jsonl").write_text(text)
    outcome = command("macs", "--from-jsonl", tmp_path / "nets.jsonl")
    assert outcome.code == 2
    assert fragment in outcome.err


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedFile]:
    """The catalogue's published supernet of width 1.0, but served on this machine: some bytes that are no supernet."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / WEIGHTS).write_bytes(b"weights" * 1000)
    monkeypatch.setenv("NAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path / "site"))) as server:
        server.daemon_threads = False
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        blob_id = git_blob_id(tmp_path / "site" / WEIGHTS)
        url = f"http://127.0.0.1:{server.server_port}/{WEIGHTS}"
        file = PublishedFile(WEIGHTS, "once-for-all", url, blob_id, "ImageNet-1k", "none stated")
        monkeypatch.setattr("nat.pretrained.catalogue.PUBLISHED", (file,))
        yield file
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *_: object) -> None:
        pass


def test_checkpoints_list(command: Command, published: PublishedFile) -> None:
    entries = {entry["name"]: entry for entry in command("checkpoints", "list", "--json").json}
    assert {"tiny-small", WEIGHTS, "scratch", "scratch:nat-w1.0", "scratch:nat-w1.2"} <= set(entries)
    assert entries["scratch:nat-w1.2"]["space"]["width"] == 1.2
    states = {name: entry["state"] for name, entry in entries.items()}
    assert states["tiny-small"] == "with the package" and states["scratch"] == "random"
    assert entries[WEIGHTS]["url"] == published.url and states[WEIGHTS] == "to be pulled"
    table = command("checkpoints", "list")
    assert table.code == 0 and all(name in table.out for name in entries), "names are whole, to be copied"
    assert "to be pulled" in " ".join(table.out.split())


def test_checkpoint_info_of_what_is_not_here(command: Command, published: PublishedFile) -> None:
    facts = command("checkpoints", "info", WEIGHTS, "--json").json
    assert facts["state"] == "to be pulled" and facts["git_blob_id"] == published.blob_id
    assert facts["file"] == str(published.path) and facts["url"] == published.url
    assert facts["to_pull"] == f"nat checkpoints pull {WEIGHTS}"
    table = command("checkpoints", "info", WEIGHTS)
    assert table.code == 0 and "ImageNet-1k" in table.out and "nat checkpoints pull" in table.out
    assert not published.path.exists()


def test_checkpoint_pull(command: Command, published: PublishedFile) -> None:
    outcome = command("checkpoints", "pull", WEIGHTS)
    assert outcome.code == 0, outcome.err
    assert published.path.read_bytes() == b"weights" * 1000
    how = f"use it with: nat transfer DATA --supernet {WEIGHTS}"
    assert outcome.out == f"supernet: {published.path} (fetched and verified)   {how}\n"
    assert "7000" in outcome.err and "0.0 of 0.0 MB" in outcome.err
    again = command("checkpoints", "pull", WEIGHTS)
    assert again.out == f"supernet: {published.path} (was there, verified)   {how}\n" and again.err == ""
    listed = command("checkpoints", "list", "--json").json
    assert [entry["state"] for entry in listed if entry["name"] == WEIGHTS] == ["pulled"]


def test_checkpoint_pull_as_json(command: Command, published: PublishedFile) -> None:
    expected = {"name": WEIGHTS, "file": str(published.path), "git_blob_id": published.blob_id}
    assert command("checkpoints", "pull", WEIGHTS, "--json").json == expected | {"fetched": True}
    assert command("checkpoints", "pull", WEIGHTS, "--json").json == expected | {"fetched": False}


def test_checkpoint_pull_of_what_is_gone(command: Command, published: PublishedFile, tmp_path: Path) -> None:
    (tmp_path / "site" / WEIGHTS).unlink()
    outcome = command("checkpoints", "pull", WEIGHTS)
    assert (outcome.code, outcome.out) == (2, "")
    assert "the address is gone" in outcome.err and str(published.path) in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("tiny-small", "nothing to pull: the weights of 'tiny-small' are with the package"),
        ("scratch", "nothing to pull: the weights of 'scratch' are random"),
        ("ofa_mbv3", "unknown supernet 'ofa_mbv3'"),
    ],
)
def test_checkpoint_pull_of_other_names(command: Command, name: str, fragment: str) -> None:
    outcome = command("checkpoints", "pull", name)
    assert outcome.code == 2 and fragment in outcome.err


def test_checkpoint_info_of_a_file(command: Command, supernet_file: Path) -> None:
    facts = command("checkpoints", "info", supernet_file, "--json").json
    assert facts["name"] == "mini" and facts["num_classes"] == 5
    assert facts["smallest"]["macs"] < facts["largest"]["macs"]
    assert facts["smallest"]["params"] < facts["largest"]["params"] <= facts["parameters"]
    choices = 4
    assert facts["subnets"] == (choices + choices**2) ** 5
    table = command("checkpoints", "info", supernet_file)
    assert table.code == 0 and "mini" in table.out and "0.25" in table.out


def test_checkpoint_info_of_a_name(command: Command) -> None:
    facts = command("checkpoints", "info", "scratch", "--json").json
    listed = {card["name"]: card for card in command("checkpoints", "list", "--json").json}
    assert facts["space"] == listed["scratch"]["space"]
    assert facts["state"] == "random" and facts["parameters"] > 0


def test_datasets_list(command: Command) -> None:
    cards = {card["name"]: card for card in command("datasets", "list", "--json").json}
    assert {"digits", "cifar10", "cifar100"} <= set(cards)
    assert cards["digits"]["num_classes"] == 10
    table = command("datasets", "list")
    assert table.code == 0 and "cifar100" in table.out


def test_dataset_info_of_a_name(command: Command) -> None:
    facts = command("datasets", "info", "digits", "--json").json
    assert (facts["train_images"], facts["image_size"], facts["flip"]) == (1797, 8, False)
    assert "CC BY 4.0" in command("datasets", "info", "digits").out
    assert "data_root" not in facts, "they come with scikit-learn"


def test_dataset_info_tells_of_the_data_root(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAT_DATA_ROOT", str(tmp_path / "a" / ".." / "root"))
    facts = command("datasets", "info", "imagenet", "--json").json
    assert facts["data_root"] == str(tmp_path / "root") and facts["in_data_root"] is False
    assert facts["data_root_chosen"].startswith("by NAT_DATA_ROOT")
    assert facts["memory"] == "about 324.7 GiB, at --store-size 256"
    (tmp_path / "root" / "imagenet").mkdir(parents=True)
    assert command("datasets", "info", "imagenet", "--json").json["in_data_root"] is True
    monkeypatch.delenv("NAT_DATA_ROOT")
    assert command("datasets", "info", "dtd", "--json").json["data_root_chosen"].startswith("by default")


def test_dataset_info_of_a_folder(command: Command, make_images: MakeImages) -> None:
    root = make_images({"cat": 10, "dog": 15})
    facts = command("datasets", "info", root, "--json").json
    assert facts["classes"] == ["cat", "dog"]
    assert facts["splits"] == {"train": 17, "val": 3, "test": 5}
    assert len(facts["fingerprint"]) == 64
    table = command("datasets", "info", root)
    assert table.code == 0 and "cat, dog" in table.out
    assert "corrupt_in_a_transfer" not in facts
    assert "too small, 24 pixels" in facts["near_duplicates"] and facts["near_duplicate_pairs"] == []
    assert "not looked for" in table.out and "pairs" not in table.out
    for number in range(2):
        (root / "cat" / f"broken {number}.png").write_bytes(b"no image")
    corrupt = command("datasets", "info", root, "--json").json
    assert len(corrupt["corrupt"]) == 2
    assert corrupt["corrupt_in_a_transfer"].startswith("2 of 27 files (7.4 %): refused, as they are over 2 % of all")


def test_searchers(command: Command) -> None:
    found = command("searchers", "--json").json
    assert {row["name"] for row in found} == set(SEARCHERS) >= {"nat", "random"}
    assert all(row["title"] for row in found)
    table = command("searchers").out
    assert all(name in table for name in SEARCHERS)


def commands() -> Iterator[tuple[list[str], Any]]:
    """Every command with its words, groups left out."""

    def below(words: list[str], found: Any) -> Iterator[tuple[list[str], Any]]:
        children = getattr(found, "commands", None)
        if children is None:
            yield words, found
            return
        for name, child in children.items():
            yield from below([*words, name], child)

    yield from below([], get_command(app))


ALL = {" ".join(words): found for words, found in commands()}


def test_all_commands_are_found() -> None:
    assert {"transfer", "resume", "front", "pick", "evaluate", "pretrain", "macs", "searchers"} <= set(ALL)
    assert {"checkpoints list", "checkpoints info", "checkpoints pull", "datasets list", "datasets info"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_help_has_an_example(command: Command, name: str) -> None:
    outcome = command(*name.split(), "--help")
    assert outcome.code == 0
    assert "Example:" in outcome.out and f"nat {name}" in " ".join(outcome.out.split())


@pytest.mark.parametrize("name", ALL)
def test_examples_are_command_lines_that_parse(name: str) -> None:
    text = " ".join(ALL[name].help.split())
    examples = [part for part in text.split("Example:", 1)[1].split("`")[1::2] if part.startswith("nat ")]
    assert examples
    for example in examples:
        words = shlex.split(example)[1:]
        assert " ".join(words[: len(name.split())]) == name
        ALL[name].make_context(name, words[len(name.split()) :])  # raises on an unknown or missing option


def test_help_of_all_is_quick_and_in_words(command: Command) -> None:
    outcome = command("--help")
    assert outcome.code == 0
    assert all(name.split()[0] in outcome.out for name in ALL) and "Example" in outcome.out


def test_help_as_a_module_does_not_import_torch(tmp_path: Path) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "nat", "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Example: nat transfer" in " ".join(done.stdout.split())
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "nat.main" in imported and "typer" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "scipy", "pymoo", "matplotlib", "numpy"}


def test_importing_the_package_is_quick_too(tmp_path: Path) -> None:
    code = "import sys, nat; assert 'torch' not in sys.modules; nat.Architecture; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
