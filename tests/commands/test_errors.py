"""What the user gets wrong: exit code 2, a line or two that say what to do, and nothing left behind."""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nat.pretrained.store import load_supernet_file
from nat.supernet.costs import costs_of

Command = Callable[..., Any]
MakeImages = Callable[[Mapping[str, int]], Path]
Refused = Callable[..., str]
TINY = {
    "initial": 2,
    "rounds": 0,
    "first_training": "1 step",
    "batch": 4,
    "calibration_images": 8,
    "validation_images": 8,
    "finetuning": "1 step",
    "front": 1,
}
TINY_WORDS = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in a folder, neither of which may appear."""
    return tmp_path / "runs" / "run"


@pytest.fixture
def refused(command: Command, out: Path, supernet_file: Path) -> Refused:
    """Runs a transfer that must be refused; gives what it said."""

    def run(*words: str | Path, fragments: tuple[str, ...] = ()) -> str:
        given = list(words)
        if "--supernet" not in given:
            given += ["--supernet", supernet_file]
        if "--out" not in given:
            given += ["--out", out]
        if "--device" not in given:
            given += ["--device", "cpu"]
        return check(command("transfer", *given), *fragments)

    def check(outcome: Any, *fragments: str) -> str:
        assert outcome.code == 2, outcome.err
        lines = [line for line in outcome.err.splitlines() if not line.startswith("reading images")]
        assert 1 <= len(lines) <= 2, outcome.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in outcome.err and outcome.out == ""
        for fragment in fragments:
            assert fragment in outcome.err
        assert not out.parent.exists(), "something was left behind"
        return str(outcome.err)

    return run


# --- images ------------------------------------------------------------------------------------------------------


def test_missing_folder(refused: Refused, tmp_path: Path) -> None:
    refused(tmp_path / "flowers", fragments=(str(tmp_path / "flowers"), "class sub-folders"))


def test_no_images(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "images" / "cat").mkdir(parents=True)
    refused(tmp_path / "images", fragments=("no images",))


def test_one_class(refused: Refused, make_images: MakeImages) -> None:
    refused(make_images({"cat": 4}), fragments=("'cat'", "at least 2"))


def test_empty_class(refused: Refused, make_images: MakeImages) -> None:
    refused(make_images({"cat": 4, "dog": 4, "empty": 0}), fragments=("'empty'",))


def test_too_few_images_for_the_splits(refused: Refused, make_images: MakeImages) -> None:
    refused(make_images({"cat": 4, "dog": 2}), fragments=("'dog' (2)", "at least 3"))


def test_corrupt_image_is_named(refused: Refused, make_images: MakeImages) -> None:
    root = make_images({"cat": 5, "dog": 5})
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    refused(root, fragments=(str(root / "cat" / "0.png"), "--skip-corrupt"))


def test_skip_corrupt_counts_and_skips(
    command: Command, make_images: MakeImages, out: Path, supernet_file: Path
) -> None:
    root = make_images({"cat": 6, "dog": 6})
    (root / "dog" / "0.png").write_bytes(b"no image")
    words = ["transfer", root, "--out", out, "--supernet", supernet_file, "--skip-corrupt", "--device", "cpu"]
    outcome = command(*words, *TINY_WORDS)
    assert outcome.code == 0, outcome.err
    assert "reading images: 12 in" in outcome.err
    data = json.loads((out / "config.json").read_text())["data"]
    assert data["skipped"] == 1
    assert data["train"] + data["val"] + data["test"] == 11
    bundle = next((out / "subnets").iterdir())
    assert command("evaluate", bundle).code == 0


# --- names -------------------------------------------------------------------------------------------------------


def test_unknown_data_set(refused: Refused) -> None:
    refused("digts", fragments=("'digts'", "Did you mean 'digits'?"))


@pytest.mark.parametrize("words", [("",), ("digits", "--supernet", "")])
def test_empty_names(refused: Refused, words: tuple[str, ...]) -> None:
    refused(*words, fragments=("expected a name or a path, got ''",))


def test_unknown_searcher(refused: Refused) -> None:
    refused("digits", "--searcher", "randm", fragments=("'randm'", "Did you mean 'random'?"))


def test_a_budget_too_small_for_a_level_of_pnas(refused: Refused) -> None:
    words = ("digits", "--searcher", "pnas")
    for most in ("2", "9"):
        refused(*words, "--evaluations", most, fragments=("at least 1 round", "--searcher pnas", "more --evaluations"))
    refused(*words, "--set", "rounds=0", fragments=("at least 1 round", "--set rounds=4"))


def test_unknown_supernet(refused: Refused) -> None:
    refused("digits", "--supernet", "scrach", fragments=("'scrach'", "Did you mean 'scratch'?"))


def test_unknown_objective(refused: Refused) -> None:
    refused("digits", "--objectives", "top1,mac", fragments=("'mac'", "Did you mean 'macs'?"))


@pytest.mark.parametrize("objectives", ["top1", "macs,params", "top1,top1,macs", ","])
def test_objectives_that_make_no_trade(refused: Refused, objectives: str) -> None:
    refused("digits", "--objectives", objectives, fragments=("top1", "macs", "params", f"'{objectives}'"))


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--max-macs", "--max-params"])
def test_budget_below_the_smallest(refused: Refused, option: str, supernet_file: Path) -> None:
    space = load_supernet_file(supernet_file)[1].space
    least = costs_of(space.smallest(), 10)[option == "--max-params"]
    refused("digits", "--resolutions", "24", option, str(least - 1), fragments=(f"{least:,}", f"{least - 1:,}"))


def test_all_budgets_below_the_smallest_are_named_at_once(refused: Refused, supernet_file: Path) -> None:
    space = load_supernet_file(supernet_file)[1].space
    macs, params = costs_of(space.smallest(), 10)
    words = ["--max-macs", "5", "--max-params", "6", "--max-memory", "7"]
    said = ("--max-macs", f"{macs:,}", "got 5", "--max-params", f"{params:,}", "got 6", "--max-memory", "got 7")
    refused("digits", "--resolutions", "24", *words, fragments=said)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--min-top1", "1.5"], ("min_top1", "less than 1")),
        (["--max-latency-ms", "0"], ("max_latency_ms", "greater than 0")),
        (["--objectives", "top1,nowhere:cost"], ("nowhere:cost", "module:function")),
        (["--latency", "nowhere.json"], ("nowhere.json",)),
        (["--set", "algorithm=nsga4"], ("algorithm", "nsga3", "nsga2")),
    ],
)
def test_objectives_and_limits_that_cannot_be(refused: Refused, words: list[str], fragments: tuple[str, ...]) -> None:
    refused("digits", "--resolutions", "24", *words, fragments=fragments)


@pytest.mark.parametrize("value", ["abc", "0", "-5M", "nan", "", "1e400"])
@pytest.mark.parametrize("option", ["--max-macs", "--max-params", "--max-memory"])
def test_budget_that_is_no_number(refused: Refused, option: str, value: str) -> None:
    refused("digits", f"{option}={value}", fragments=(f"'{value}'", "30M"))


@pytest.mark.parametrize("value", ["x", "24,big", "24.5"])
def test_resolutions_that_are_no_numbers(refused: Refused, value: str) -> None:
    refused("digits", "--resolutions", value, fragments=(f"'{value}'",))


@pytest.mark.parametrize("value", ["4", "-24", "0,24"])
def test_resolutions_that_are_too_small(refused: Refused, value: str) -> None:
    refused("digits", f"--resolutions={value}", fragments=("at least 8",))


def test_unknown_device(refused: Refused) -> None:
    refused("digits", "--device", "toaster", fragments=("'toaster'", "cuda"))


@pytest.mark.parametrize(("option", "value"), [("--seed", "-1"), ("--threads", "0"), ("--effort", "huge")])
def test_options_out_of_range(refused: Refused, option: str, value: str) -> None:
    refused("digits", f"{option}={value}", fragments=(option[2:], value))


def test_all_bad_options_are_named_at_once(refused: Refused) -> None:
    words = ["--effort", "huge", "--seed=-1", "--threads=0", "--max-macs=x", "--resolutions=y", "--set", "rouns=3"]
    refused("digits", *words, fragments=("effort", "seed", "threads", "max_macs", "resolutions", "rouns"))


def test_all_bad_amounts_are_named_at_once(refused: Refused) -> None:
    bad = ["rouns=3", "initial=x", "front=0", "finetuning=5 moons"]
    words = [word for pair in bad for word in ("--set", pair)]
    refused("digits", *words, fragments=("rouns", "initial", "front", "finetuning", "5 moons", "5 epochs"))


def test_an_unknown_amount_shows_those_there_are(refused: Refused) -> None:
    refused("digits", "--set", "rouns=3", fragments=("rouns", "rounds", "per_round"))


def test_set_without_a_value(refused: Refused) -> None:
    refused("digits", "--set", "rounds", fragments=("NAME=VALUE", "'rounds'"))


# --- where to ----------------------------------------------------------------------------------------------------


def test_missing_out_and_missing_data(command: Command) -> None:
    for words, fragment in ((["transfer", "digits"], "--out"), (["transfer", "--out", "never-made"], "DATA")):
        outcome = command(*words)
        assert outcome.code == 2
        assert fragment in outcome.err and len(outcome.err.splitlines()) == 1
    assert not Path("never-made").exists()


def test_out_is_below_a_file(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused("digits", "--out", tmp_path / "file" / "run", fragments=(str(tmp_path / "file"),))
    refused("digits", "--out", tmp_path / "file", fragments=(str(tmp_path / "file"),))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_out_in_a_folder_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        refused("digits", fragments=(str(tmp_path), "cannot write"))
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a place where even root cannot make a folder")
def test_out_where_no_folder_can_be_made(refused: Refused) -> None:
    refused("digits", "--out", "/proc/run", "--resolutions", "24", fragments=("/proc", "--out"))


@pytest.mark.parametrize("name", ["notes.txt", "config.json"])
def test_out_is_used(refused: Refused, tmp_path: Path, name: str) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / name).write_text("mine")
    refused("digits", "--out", used, fragments=(str(used), "nat resume" if name == "config.json" else "in use"))
    assert [path.name for path in used.iterdir()] == [name]
    assert (used / name).read_text() == "mine"


# --- checkpoints -------------------------------------------------------------------------------------------------


def test_missing_checkpoint(refused: Refused, tmp_path: Path) -> None:
    refused("digits", "--supernet", tmp_path / "none.safetensors", fragments=(str(tmp_path / "none.safetensors"),))


def test_truncated_checkpoint(refused: Refused, supernet_file: Path, tmp_path: Path) -> None:
    data = supernet_file.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    shutil.copy(supernet_file.with_suffix(".json"), tmp_path / "cut.json")
    refused("digits", "--supernet", tmp_path / "cut.safetensors", fragments=("cut.safetensors", "truncated"))


def test_checkpoint_without_a_card(refused: Refused, supernet_file: Path, tmp_path: Path) -> None:
    shutil.copy(supernet_file, tmp_path / "bare.safetensors")
    refused("digits", "--supernet", tmp_path / "bare.safetensors", fragments=("bare.json", "card"))


@pytest.mark.parametrize("name", ["text.safetensors", "text.pth"])
def test_no_checkpoint_at_all(refused: Refused, supernet_file: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("These are not the weights you are looking for.\n" * 10)
    shutil.copy(supernet_file.with_suffix(".json"), tmp_path / "text.json")
    refused("digits", "--supernet", tmp_path / name, fragments=(name,))


def test_checkpoint_for_other_shapes(refused: Refused, supernet_file: Path, tmp_path: Path) -> None:
    shutil.copy(supernet_file, tmp_path / "wide.safetensors")
    card = json.loads(supernet_file.with_suffix(".json").read_text())
    card["space"]["width"] = 0.5
    (tmp_path / "wide.json").write_text(json.dumps(card))
    refused("digits", "--supernet", tmp_path / "wide.safetensors", fragments=("wide.safetensors", "other shapes"))


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.target, "w")


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy"])
def test_a_pickle_that_wants_to_run_code_does_not(refused: Refused, tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "owned", tmp_path / "weights.pth"
    content = {"state_dict": Attack(str(target))}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
        pickle.loads(path.read_bytes())["state_dict"].close()
        assert target.exists(), "the attack works where it is let"
        target.unlink()
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refused("digits", "--supernet", path, fragments=("weights.pth", "refused"))
    assert not target.exists()


# --- settings files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "fragment"),
    [
        ("a.json", "{", "TOML or JSON"),
        ("a.toml", "seed = ", "TOML or JSON"),
        ("a.json", "[1]", "settings by name"),
        ("a.toml", "sed = 1", "sed"),
        ("a.json", '{"options": 3}', "settings"),
    ],
)
def test_bad_settings_file(refused: Refused, tmp_path: Path, name: str, text: str, fragment: str) -> None:
    (tmp_path / name).write_text(text)
    refused("digits", "--config", tmp_path / name, fragments=(fragment,))


def test_missing_settings_file(refused: Refused, tmp_path: Path) -> None:
    refused("digits", "--config", tmp_path / "none.toml", fragments=("none.toml",))


# --- other commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "x" * 5000], "too long"),
        (["front", "x" * 5000], "too long"),
        (["datasets", "info", "x" * 5000], "too long"),
        (["evaluate", "nowhere", "--split", "train"], "'train'"),
        (["pick", "nowhere", "-o", "never-made"], "nowhere"),
        (["pick", "nowhere", "-o", "never-made", "--max-macs", "many"], "'many'"),
        (["front", "nowhere"], "nowhere"),
        (["resume", "nowhere"], "nowhere"),
        (["macs"], "ARCHITECTURE"),
        (["macs", "nowhere.json"], "nowhere.json"),
        (["macs", "0801"], "23 digits"),
        (["macs", "{}"], "ks"),
        (["macs", "[1, 2]"], "22"),
        (["macs", "--from-jsonl", "nowhere.jsonl"], "nowhere.jsonl"),
        (["checkpoints", "info", "scrach"], "Did you mean 'scratch'?"),
        (["datasets", "info", "digts"], "Did you mean 'digits'?"),
        (["pretrain", "digts", "--out", "never-made"], "Did you mean 'digits'?"),
        (["pretrain", "digits", "--out", "never-made", "--space", "smal"], "Did you mean 'small'?"),
        (["pretrain", "digits", "--out", "never-made", "--resolutions", "x"], "'x'"),
    ],
)
def test_other_commands_refuse_in_words(command: Command, words: list[str], fragment: str) -> None:
    outcome = command(*words)
    assert outcome.code == 2, outcome.err
    assert fragment in outcome.err
    assert len(outcome.err.splitlines()) <= 2
    assert outcome.out == ""
    assert not Path("never-made").exists()


@pytest.mark.parametrize(
    "words", [["transfr"], ["front"], ["front", "--nonsense"], ["pick", "run"], ["macs", "--classes", "0"]]
)
def test_a_wrong_command_line_ends_without_a_traceback(command: Command, words: list[str]) -> None:
    outcome = command(*words)
    assert outcome.code == 2
    assert "Usage: nat" in outcome.err and "Traceback" not in outcome.err


def test_debug_shows_the_error_itself() -> None:
    from nat.errors import RunError
    from nat.main import main

    with pytest.raises(RunError):
        main(["front", "nowhere", "--debug"])


def test_messages_keep_their_brackets(command: Command) -> None:
    """Square brackets are markup to the library that prints."""
    assert "[red]x[/red]" in command("evaluate", "[red]x[/red]").err


def test_stopping_from_the_keyboard_ends_with_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nat.pipeline.transfer", stop)
    assert command("transfer", "digits", "--out", "never-made").code == 130


def test_info_of_a_folder_lists_corrupt_images(command: Command, make_images: MakeImages) -> None:
    root = make_images({"cat": 4, "dog": 4})
    Image.new("L", (3, 3)).save(root / "dog" / "9.png")
    assert command("datasets", "info", root, "--json").json["num_classes"] == 2
    (root / "dog" / "9.png").write_bytes(b"")
    outcome = command("datasets", "info", root, "--json")
    assert outcome.code == 0 and outcome.json["corrupt"] == [str(root / "dog" / "9.png")]
