"""Runs that are killed, with SIGKILL, and taken up again: the same front as the run that nobody disturbed."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from timm import create_model

from nat.archive import Archive
from nat.errors import RunError
from nat.main import main
from nat.pipeline import reopened, resume
from nat.progress import Silence
from nat.reports import JOINS
from nat.run_folder import RunFolder
from nat.workers import Workers

Command = Callable[..., Any]
Words = Callable[..., list[str]]
FrontOf = Callable[[Path], dict[str, Any]]
UNKNOWN = '{"options": {"data": "digits", "nonsense": 1}, "space": {}, "data": {}}'
OTHER = "lcnet_035"
PATIENCE = 240.0  # seconds; imports alone take half a minute on a busy machine


def events(run: Path) -> list[dict[str, Any]]:
    """The whole lines of events.jsonl; a last one that is being written, or was cut off, is none."""
    try:
        lines = (run / "events.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def count(run: Path, event: str, round: int | None = None) -> int:
    return sum(e["event"] == event and (round is None or e["round"] == round) for e in events(run))


Moment = Callable[[Path], bool]
MOMENTS: dict[str, Moment] = {
    "at the start": lambda run: (run / "config.json").is_file(),
    "behind the start": lambda run: count(run, "start") > 0,
    "in round 0's evaluations": lambda run: count(run, "evaluate", 0) >= 2,
    "in round 1's adaptation": lambda run: count(run, "propose", 1) > 0,
    "in round 1's evaluations": lambda run: count(run, "evaluate", 1) >= 3,
    "with everything evaluated": lambda run: (run / "supernet.safetensors").is_file(),
    "in fine-tuning": lambda run: count(run, "finetune") >= 1,
}


@contextmanager
def processes() -> Iterator[Callable[[list[str]], BaseProcess]]:
    """Starts `nat` with words in a process of its own; all are forked from one that has imported torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nat.main", "nat.pipeline"])

    def start(words: list[str]) -> BaseProcess:
        process = context.Process(target=main, args=(words,), daemon=True)
        process.start()
        return process

    yield start


def kill_at(process: BaseProcess, run: Path, moment: Moment) -> None:
    """Waits for a moment of a run and kills its process, which must not have come to its end."""
    deadline = time.monotonic() + PATIENCE
    while not moment(run):
        assert process.is_alive(), f"ended before the moment, with exit code {process.exitcode}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert not (run / "front.json").exists(), "it was killed too late"
    process.close()


def check_same(run: Path, reference: Path, front_of: FrontOf) -> None:
    """The same front.json but for seconds, the same metrics of all bundles, and nothing half-written about."""
    assert front_of(run) == front_of(reference)
    bundles = sorted(path.relative_to(reference) for path in reference.glob("[sc]*/*/"))
    assert len(bundles) >= 2
    assert sorted(path.relative_to(run) for path in run.glob("[sc]*/*/")) == bundles
    for bundle in bundles:
        for name in ("metrics.json", "model.safetensors"):
            assert (run / bundle / name).read_bytes() == (reference / bundle / name).read_bytes(), name
    assert not [path for path in run.rglob("*") if "draft" in path.name]


def test_killed_four_times_gives_the_same_front(
    run: Path, transfer_words: Words, front_of: FrontOf, tmp_path: Path, command: Command
) -> None:
    """One run, killed at its start, while it adapts, while it evaluates and while it fine-tunes."""
    out = tmp_path / "killed"
    words = transfer_words(out)
    with processes() as start:
        for name in (
            "at the start",
            "in round 1's adaptation",
            "in round 1's evaluations",
            "in fine-tuning",
        ):
            kill_at(start(words), out, MOMENTS[name])
            words = ["resume", str(out)]
    before = events(out)
    tuned = [event["id"] for event in before if event["event"] == "finetune"]
    outcome = command(*words, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == json.loads((out / "front.json").read_text())
    check_same(out, run, front_of)
    fresh = events(out)[len(before) :]
    assert events(out)[: len(before)] == before, "what was logged stays"
    assert not [e for e in fresh if e["event"] in ("evaluate", "adapt")], "nothing is done twice"
    again = [event["id"] for event in fresh if event["event"] == "finetune"]
    assert tuned and again and not set(tuned) & set(again)


def test_nets_are_tuned_side_by_side_to_the_same_digits_also_after_a_kill(
    transfer_words: Words, front_of: FrontOf, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subnets, and a network of timm among them."""
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    save_file(create_model(OTHER, pretrained=False).state_dict(), tmp_path / "other.safetensors")
    words = ("--threads", "2", "--control-model", OTHER, "--control-weights", str(tmp_path / "other.safetensors"))
    with processes() as start:
        kill_at(start(transfer_words(killed, *words)), killed, MOMENTS["in fine-tuning"])
    assert [e["at_once"] for e in events(killed) if e["event"] == "finetune"] == [2]
    assert reopened(RunFolder(killed), Silence()).workers(9).count == 2
    outcome = command("resume", killed)
    assert outcome.code == 0, outcome.err
    monkeypatch.setattr(Workers, "sharing", lambda *_: Workers(1, 1))
    outcome = command(*transfer_words(alone, *words))
    assert outcome.code == 0, outcome.err
    assert {e["at_once"] for e in events(alone) if e["event"] == "finetune"} == {1}
    check_same(killed, alone, front_of)
    assert [path.name for path in (killed / "controls").glob("timm*")] == [f"timm-{OTHER}-pretrained-24px"]
    assert count(killed, "control") == 2, "it was made ready before the kill, and again"


def test_a_resumed_run_has_the_machine_that_it_began_with(run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    config = json.loads((copied / "config.json").read_text())
    assert (config["threads"], config["cpus"]) == (1, 1)
    (copied / "config.json").write_text(json.dumps({**config, "cpus": 3}))  # as without --threads, images being small
    found = reopened(RunFolder(copied), Silence()).workers(9)
    assert (found.count, found.threads) == (3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", MOMENTS)
def test_killed_at_any_moment(
    run: Path, transfer_words: Words, front_of: FrontOf, tmp_path: Path, command: Command, name: str
) -> None:
    out = tmp_path / "killed"
    with processes() as start:
        kill_at(start(transfer_words(out)), out, MOMENTS[name])
    assert command("resume", out).code == 0
    check_same(out, run, front_of)


@pytest.mark.slow
def test_killed_ten_times_at_random_moments(
    run: Path, transfer_words: Words, front_of: FrontOf, tmp_path: Path, command: Command
) -> None:
    """One run, killed at ten moments that nobody chose, not even at the edge of an event."""
    rng = np.random.default_rng(0)
    out = tmp_path / "killed"
    words = transfer_words(out)
    with processes() as start:
        for at in sorted(rng.choice(np.arange(1, 18), 10, replace=False)):
            delay = float(rng.uniform(0, 0.1))

            def moment(run: Path, least: int = int(at), delay: float = delay) -> bool:
                return len(events(run)) >= least and time.sleep(delay) is None

            kill_at(start(words), out, moment)
            words = ["resume", str(out)]
    assert command("resume", out).code == 0
    check_same(out, run, front_of)


@pytest.mark.parametrize("write", [3])
def test_killed_in_the_middle_of_a_write_to_the_archive(
    run: Path,
    transfer_words: Words,
    front_of: FrontOf,
    tmp_path: Path,
    command: Command,
    cut_write: str,
    write: int,
) -> None:
    """The evaluation that lacks nothing but its COMMIT is not there, and is made again."""
    out = tmp_path / "killed"
    script = cut_write + "from nat.main import main\nmain(sys.argv[3:])"
    words = [sys.executable, "-c", script, "", str(write), *transfer_words(out)]
    killed = subprocess.run(words, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with Archive(out / "archive.sqlite", read_only=True) as archive:
        assert len(archive) == count(out, "evaluate") == write - 2, "two commits made tables and kept proposals"
    assert command("resume", out).code == 0
    check_same(out, run, front_of)


@pytest.mark.slow
def test_killed_as_users_start_it(run: Path, transfer_words: Words, front_of: FrontOf, tmp_path: Path) -> None:
    """`python -m nat transfer`, killed, then `python -m nat resume`, in a folder outside the checkout."""
    out = tmp_path / "killed"
    here = tmp_path / "elsewhere"
    here.mkdir()
    process = subprocess.Popen([sys.executable, "-m", "nat", *transfer_words(out)], cwd=here)
    try:
        deadline = time.monotonic() + PATIENCE
        while not MOMENTS["in round 1's evaluations"](out):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not (out / "front.json").exists()
    again = subprocess.run([sys.executable, "-m", "nat", "resume", str(out)], cwd=here, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    check_same(out, run, front_of)


def test_resume_of_a_finished_run_changes_nothing(run: Path, command: Command, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    stamps = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    started = time.monotonic()
    outcome = command("resume", copied, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == json.loads((run / "front.json").read_text())
    assert time.monotonic() - started < 2
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == stamps


@pytest.mark.parametrize("content", [None, "{}", "[1]", "{", '{"options": {"data": "digits"}}', UNKNOWN])
@pytest.mark.parametrize("verb", ["resume", "front"])
def test_what_is_no_run_is_refused(command: Command, tmp_path: Path, verb: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    names = sorted(tmp_path.iterdir())
    outcome = command(verb, tmp_path)
    assert outcome.code == 2
    assert str(tmp_path) in outcome.err and len(outcome.err.splitlines()) <= 2
    assert sorted(tmp_path.iterdir()) == names


def test_an_unfinished_run_shows_the_best_so_far_and_gives_nothing_away(
    run: Path, command: Command, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    (copied / "front.json").unlink()
    outcome = command("front", copied, "--rounds")
    assert outcome.code == 0, outcome.err
    assert f"nat resume {copied}" in outcome.out.replace("\n", "")
    so_far, whole = command("front", copied, "--json").json, json.loads((run / "front.json").read_text())
    assert (so_far["finished"], so_far["controls"]) == (False, [])
    for key in ("hypervolume", "evaluations", "rounds", "failures"):
        assert so_far[key] == whole[key], key
    searched = whole["front"][: -1 if JOINS in whole["verdict"] else None]
    assert [net["val_top1"] for net in so_far["front"]] == [net["val_top1"] for net in searched]
    assert not any(net["finetuned"] for net in so_far["front"])
    picked = command("pick", copied, "-o", tmp_path / "picked")
    assert picked.code == 2 and f"nat resume {copied}" in picked.err
    assert not (tmp_path / "picked").exists()


def test_a_run_without_a_result_has_no_front(run: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    outcome = command("front", tmp_path)
    assert outcome.code == 2 and "nothing has been evaluated yet" in outcome.err


def test_a_cut_line_of_events_does_no_harm(run: Path, command: Command, front_of: FrontOf, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    (copied / "front.json").unlink()
    text = (copied / "events.jsonl").read_text()
    (copied / "events.jsonl").write_text(text[:-20])
    assert command("resume", copied).code == 0
    assert front_of(copied) == front_of(run)


def test_resume_refuses_images_that_have_changed(run: Path, transfer_words: Words, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (data / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(data / name / f"{i}.png")
    words = transfer_words(out)
    words[1] = str(data)
    with pytest.raises(SystemExit):
        main([*words, "--set", "rounds=0", "--set", "initial=2", "--set", "front=1"])
    (out / "front.json").unlink()
    Image.new("RGB", (24, 24)).save(data / "cat" / "0.png")
    with pytest.raises(RunError, match="not those that the run started with"):
        resume(out)


def test_a_run_started_with_relative_paths_goes_on_anywhere(
    supernet_file: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "here" / "images" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "here" / "images" / name / f"{i}.png")
    for suffix in (".safetensors", ".json"):
        shutil.copy(supernet_file.with_suffix(suffix), tmp_path / "here" / f"mine{suffix}")
    amounts = {"initial": 2, "rounds": 0, "first_training": "1 step", "batch": 4, "finetuning": "1 step", "front": 1}
    words = [word for name, value in amounts.items() for word in ("--set", f"{name}={value}")]
    monkeypatch.chdir(tmp_path / "here")
    words += ["--data-root", ".", "--resolutions", "24", "--device", "cpu", "--threads", "1"]
    outcome = command("transfer", "images", "--supernet", "mine.safetensors", "--out", "run", *words, "--json")
    assert outcome.code == 0, outcome.err
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "here" / "run"
    for path in (*out.glob("*/*/README.md"), out / "supernet.json"):
        assert "images" in path.read_text() and str(tmp_path) not in path.read_text(), "cards tell no paths"
    assert command("evaluate", next((out / "subnets").iterdir())).code == 0
    (out / "front.json").unlink()
    shutil.rmtree(out / "subnets")
    again = command("resume", out, "--json")
    assert again.code == 0, again.err
    assert [net["test_top1"] for net in again.json["front"]] == [net["test_top1"] for net in outcome.json["front"]]
