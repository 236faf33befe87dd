"""Training supernets: both recipes, exact resuming at any step, what the folder holds, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nat.datasets.splits import Splits
from nat.errors import InputError, RunError, TransferError
from nat.pretrained.store import load_supernet_file
from nat.pretraining import training
from nat.pretraining.recipes import PretrainRecipe
from nat.pretraining.run import HISTORY, Labels, TrainingRun, read_history
from nat.pretraining.training import STATE, Checkup, Pretraining
from nat.progress import Silence
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

MakeSplits = Callable[[int], Splits]
SANDWICH = PretrainRecipe(epochs=1, batch_size=8, resolutions=(24, 32), warmup_steps=1, seed=5, ema=0.9)
SHRINKING = replace(
    PretrainRecipe.shrinking(8), epochs=2, resolutions=(24, 32), warmup_steps=1, learning_rate=0.01, ema=0.9
)
RICH = replace(SANDWICH, randaugment=9, mixup=0.2, label_smoothing=0.1)
RECIPES = {"sandwich": SANDWICH, "shrinking": SHRINKING, "sandwich with augmentation": RICH}


class Stop(Exception):
    """Stands for any interruption."""


def same(first: Supernet, second: Supernet) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def answers_of(splits: Splits) -> Tensor:
    """Those of a teacher who is always right."""
    return 5 * torch.nn.functional.one_hot(splits.train.labels, splits.num_classes).half()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("taught", [False, True])
def test_a_training_that_is_stopped_at_any_step_ends_with_the_same_weights(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path, name: str, taught: bool
) -> None:
    splits, recipe = make_splits(3), RECIPES[name]

    def begin() -> Pretraining:
        training = Pretraining(splits, space, recipe)
        training.answers = answers_of(splits) if taught else None
        return training

    whole = begin()
    steps = whole.steps
    assert steps == (12 if recipe.method == "shrinking" else 6)
    losses = list[float]()
    expected = whole.run(lambda checkup: losses.append(checkup.loss))
    assert len(losses) == steps and not same(begin().supernet, whole.supernet)

    def stop(checkup: Checkup) -> None:
        assert checkup.loss == losses[checkup.step - 1]
        stopped.save(tmp_path)
        raise Stop

    stopped = begin()
    for _ in range(steps):
        with pytest.raises(Stop):
            stopped.run(stop)
        stopped = begin()
        stopped.restore(tmp_path)
    assert stopped.step == steps
    assert same(stopped.result, expected) and same(stopped.supernet, whole.supernet)


@pytest.mark.parametrize("name", ["sandwich", "shrinking"])
def test_every_subnet_learns(space: MobileNetSpace, make_splits: MakeSplits, name: str, tmp_path: Path) -> None:
    length, rate = (20, 5e-3) if name == "sandwich" else (40, 0.2)
    recipe = replace(RECIPES[name], epochs=length, learning_rate=rate)
    splits = make_splits(3)
    run = TrainingRun(Pretraining(splits, space, recipe), splits, tmp_path, Labels(), Silence())
    run.run()
    first, *_, last = read_history(tmp_path)
    accuracies = list(last["val_top1"].values())
    assert len(accuracies) == 5 and min(accuracies) > 0.8, "chance is a third"
    assert last["step"] == last["steps"] and last["images_per_second"] > 0 and last["loss"] < first["loss"]


def test_answers_of_a_teacher_are_learnt(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    splits = make_splits(3)
    recipe = replace(SANDWICH, teacher_weight=1.0)
    wrong = answers_of(splits).roll(1, dims=1)  # only the answers count then, not the labels
    training = Pretraining(splits, space, recipe)
    training.answers = wrong
    targets = training._targets(splits.train.labels[training.stream.indices(0)])
    expected = (splits.train.labels[training.stream.indices(0)] + 1) % 3
    assert torch.equal(targets.argmax(1), expected)
    torch.testing.assert_close(targets.sum(1), torch.ones(8))


def test_starting_from_a_supernet_takes_its_weights(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    splits = make_splits(3)
    start = Supernet(space, 7, generator=torch.Generator().manual_seed(9))
    training = Pretraining(splits, space, SANDWICH, start=start)
    taken, given = training.supernet.state_dict(), start.state_dict()
    kept = {name for name in taken if taken[name].shape == given[name].shape and torch.equal(taken[name], given[name])}
    assert set(taken) - kept == {"classifier.linear.weight"} | ({"classifier.linear.bias"} - kept)
    with pytest.raises(InputError, match="of the space that is trained"):
        Pretraining(splits, replace(space, width=0.5), SANDWICH, start=start)


def test_a_training_that_diverges_says_so(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    training = Pretraining(make_splits(3), space, SANDWICH)
    with torch.no_grad():
        training.supernet.classifier.get_submodule("linear").get_parameter("bias").fill_(float("nan"))
    with pytest.raises(TransferError, match="diverged at step 0"):
        training.run()


def test_a_gradient_that_is_not_finite_leaves_the_last_checkpoint(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path
) -> None:
    run = run_in(tmp_path, space, make_splits(3))
    smallest = [p for n, p in run.training.supernet.named_parameters() if "5to3_matrix" in n]  # not of the first net

    def poison(checkup: Checkup) -> None:
        if checkup.step == 3:
            smallest[0].register_hook(lambda gradient: gradient * torch.nan)
        after(checkup, task)

    after, task = run._after, Silence().task("", 1).__enter__()
    run._after = lambda checkup, task: poison(checkup)  # type: ignore[method-assign]
    with pytest.raises(TransferError, match="diverged at step 3"):
        run.run()
    again = Pretraining(make_splits(3), space, SANDWICH)
    again.restore(tmp_path)
    assert again.step == 3


def test_sorting_channels_starts_the_average_anew(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    training = Pretraining(make_splits(3), space, SHRINKING)
    last = training.stages[-1]
    assert last.resort and training.average is not None
    training.teacher = training._teacher()
    with torch.no_grad():
        for parameter in training.average.module.parameters():
            parameter.zero_()
    training._begin(last)
    assert same(training.average.module, training.supernet)


# --- the folder ------------------------------------------------------------------------------------------------------


def run_in(out: Path, space: MobileNetSpace, splits: Splits, recipe: PretrainRecipe = SANDWICH) -> TrainingRun:
    return TrainingRun(
        Pretraining(splits, space, recipe), splits, out, Labels("mine", "nat pretrain X"), Silence(), save_seconds=0
    )


def test_the_folder_ends_with_a_supernet_that_loads(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    run = run_in(out, space, make_splits(3))
    path = run.run()
    supernet, card = load_supernet_file(path)
    assert (path.name, card.name, card.num_classes, card.command) == ("mine.safetensors", "mine", 3, "nat pretrain X")
    assert card.space == space.with_resolutions((24, 32))
    assert card.recipe["seed"] == 5 and "48 images" in card.trained_on and "from random weights" in card.trained_on
    for name, tensor in run.training.result.state_dict().items():
        torch.testing.assert_close(supernet.state_dict()[name], tensor, rtol=2e-3, atol=1e-4)
    stamps = [file.stat().st_mtime_ns for file in (path, out / STATE)]
    run_in(out, space, make_splits(3)).run()
    assert stamps == [file.stat().st_mtime_ns for file in (path, out / STATE)], "what is finished is not done again"


def test_a_killed_run_goes_on_from_its_last_checkpoint_and_its_history_has_no_step_twice(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = make_splits(3)
    whole = load_supernet_file(run_in(tmp_path / "whole", space, splits).run())[0]
    step = training.sandwich_step
    calls = list[int]()

    def interrupted(*args: object, **options: object) -> float:
        calls.append(1)
        if len(calls) == 6:
            raise Stop
        return step(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "sandwich_step", interrupted)
    out = tmp_path / "killed"
    with pytest.raises(Stop):
        run_in(out, space, splits).run()
    assert len(calls) == 6
    assert same(load_supernet_file(run_in(out, space, splits).run())[0], whole)
    assert len(calls) == 7, "five of six steps were done before"
    told = [line["step"] for line in read_history(out)]
    assert told == sorted(set(told)) and told[-1] == 6


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"epochs": 2}, "recipe"), ({"seed": 6}, "recipe"), ({"resolutions": (24, 40)}, "recipe, space")],
)
def test_a_folder_with_another_training_is_refused(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path, changed: dict[str, int], named: str
) -> None:
    splits = make_splits(3)
    run_in(tmp_path, space, splits).run()
    with pytest.raises(RunError, match=f"with other {named}"):
        run_in(tmp_path, space, splits, replace(SANDWICH, **changed)).run()  # type: ignore[arg-type]


def test_other_images_are_refused(space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path) -> None:
    run_in(tmp_path, space, make_splits(3)).run()
    with pytest.raises(RunError, match="with other images"):
        run_in(tmp_path, space, replace(make_splits(3), fingerprint="of others")).run()


def test_a_damaged_checkpoint_is_named(space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path) -> None:
    run_in(tmp_path, space, make_splits(3)).run()
    content = (tmp_path / STATE).read_bytes()
    for broken in (content[: len(content) // 2], b"", b"not a checkpoint"):
        (tmp_path / STATE).write_bytes(broken)
        with pytest.raises(RunError, match=r"training\.pt' cannot be read"):
            run_in(tmp_path, space, make_splits(3)).run()


def test_a_full_disk_leaves_the_last_checkpoint(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path, space, make_splits(3))
    with run._opened():
        run.training.save(tmp_path)
    good = (tmp_path / STATE).read_bytes()

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half of i")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left"):
        run.run()
    assert (tmp_path / STATE).read_bytes() == good
    assert not list(tmp_path.glob(".*draft"))


def test_what_a_kill_leaves_is_put_right(space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path) -> None:
    """Killed while it saves, and between the weights and the card."""
    path = run_in(tmp_path, space, make_splits(3)).run()
    card = path.with_suffix(".json")
    expected = card.read_bytes()
    card.unlink()
    (tmp_path / ".training.pt.1.draft").write_bytes(b"half")
    run_in(tmp_path, space, make_splits(3)).run()
    assert card.read_bytes() == expected
    assert not (tmp_path / ".training.pt.1.draft").exists()
    (tmp_path / STATE).unlink()
    run = run_in(tmp_path, space, make_splits(3))
    with run._opened():
        assert not path.exists() and not card.exists() and read_history(tmp_path) == [], "all of it begins again"


def test_two_at_once_and_other_peoples_folders_are_refused(
    space: MobileNetSpace, make_splits: MakeSplits, tmp_path: Path
) -> None:
    with run_in(tmp_path, space, make_splits(3))._opened(), pytest.raises(RunError, match="another process is at work"):
        run_in(tmp_path, space, make_splits(3)).run()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="a run of nat transfer"):
        run_in(tmp_path, space, make_splits(3)).run()


@pytest.mark.parametrize("name", ["recipe", "a/b", "", ".hidden", "training"])
def test_names_that_cannot_be_a_file_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected a name of letters"):
        Labels(name)


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    (tmp_path / HISTORY).write_text(json.dumps({"step": 1}) + "\n{broken")
    with pytest.raises(InputError, match=r"history\.jsonl' is damaged"):
        read_history(tmp_path)


def test_a_batch_is_shared_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.distributed, "get_rank", lambda group: 2)
    monkeypatch.setattr(training.distributed, "get_world_size", lambda group: 4)
    group: Any = object()
    assert np.arange(8)[training._share(8, group)].tolist() == [4, 5]
    with pytest.raises(InputError, match="that 4 processes can share, got 6"):
        training._share(6, group)
    assert training._share(8, None) == slice(None)
