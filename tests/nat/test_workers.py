"""Several networks at once: threads of each, order, failures, memory; and nets that come out the same, however many."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nat.bundling import Bundling, Work
from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.finetuning import train_subnet
from nat.finetuning_recipe import FinetuneRecipe
from nat.progress import Progress, Silence, Task
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.workers import Workers

MakeSplits = Callable[[int], Splits]
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class SomeTuner:
    """What a run has of a tuner before anything is trained."""

    progress: Progress = field(default_factory=Silence)
    recipe: FinetuneRecipe = field(default_factory=lambda: FinetuneRecipe(1, 1e-3))


class Counted:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.steps = 0

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        self.titles.append(f"{title}: {total}")
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.steps += amount

    def say(self, text: str) -> None:
        self.titles.append(text)


@pytest.mark.parametrize(
    ("machine", "suitable", "works", "side", "expected"),
    [
        (2, 2, 9, 64, (2, 1)),
        (1, 1, 9, 64, (1, 1)),
        (16, 16, 9, 64, (9, 1)),
        (16, 16, 3, 64, (3, 5)),
        (7, 7, 9, 64, (7, 1)),
        (16, 16, 9, 128, (2, 8)),  # memory for two
        (16, 16, 9, 224, (1, 16)),
        (16, 1, 9, 32, (9, 1)),  # tiny images: a thread each
        (16, 16, 1, 64, (1, 16)),
        (6, 6, 0, 64, (1, 6)),
        (2, 8, 9, 64, (2, 1)),
    ],
)
def test_what_is_shared_out(machine: int, suitable: int, works: int, side: int, expected: tuple[int, int]) -> None:
    found = Workers.sharing(machine, suitable, works, pixels=64 * side**2, free=1e12)
    assert (found.count, found.threads) == expected


def test_what_is_free_decides_how_many_and_not_the_threads_of_each() -> None:
    room, tight = (Workers.sharing(16, 16, 9, 64 * 64**2, free) for free in (1e12, 5e9))
    assert (room.count, tight.count) == (9, 2)
    assert room.threads == tight.threads


@pytest.mark.parametrize("count", [1, 3])
def test_each_has_its_threads_and_results_come_in_order(count: int) -> None:
    before, progress = torch.get_num_threads(), Counted()

    def work(number: int, part: Progress) -> tuple[int, int]:
        with part.task(f"number {number}", 2) as task:
            task.advance()
            task.advance()
        return number, torch.get_num_threads()

    found = Workers(count, before + 1).run([partial(work, n) for n in range(5)], progress, "all", 10)
    assert found == [(number, before + 1) for number in range(5)]
    assert torch.get_num_threads() == before
    assert progress.steps == 10
    own = [f"number {n}: {'done' if count > 1 else 2}" for n in range(5)]
    assert sorted(progress.titles) == (["all: 10"] if count > 1 else []) + own


def test_a_failure_stops_the_others_at_their_next_step() -> None:
    begun, steps, before = threading.Event(), [], threading.active_count()

    def fail(part: Progress) -> None:
        begun.wait()
        raise ValueError("diverged")

    def go_on(part: Progress) -> None:
        with part.task("endless", 1) as task:
            for _ in range(3000):  # half a minute, if nothing stops it
                task.advance()
                steps.append(1)
                begun.set()
                time.sleep(0.01)

    with pytest.raises(ValueError, match="diverged"):
        Workers(2, 1).run([go_on, fail, go_on], Silence(), "all", 3)
    assert 0 < len(steps) < 3000
    assert threading.active_count() == before


def test_a_net_does_not_depend_on_those_beside_it(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    network, images = Supernet(space, 3), make_splits(3).train
    stream = TrainStream(images, Batching(16, 0, flip=True, min_crop_area=0.5, mean=HALF, std=HALF))
    nets = [space.smallest(), space.largest(), space.smallest()]

    def train(number: int, part: Progress) -> torch.Tensor:
        subnet = network.extract(nets[number], fast=True)
        with part.task("", 3) as task:
            train_subnet(subnet, stream, FinetuneRecipe(3, 1e-2), torch.device("cpu"), task.advance)
        return torch.cat([value.flatten().float() for value in subnet.state_dict().values()])

    works = [partial(train, number) for number in range(3)]
    alone, beside = (Workers(count, 1).run(works, Silence(), "", 9) for count in (1, 3))
    assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))
    assert torch.equal(beside[0], beside[2])


def test_images_are_shaped_once_for_all_threads() -> None:
    made = []
    images = ImageSet(torch.zeros((2, 3, 8, 8), dtype=torch.uint8), torch.zeros(2))

    def shaped() -> torch.Tensor:
        made.append(1)
        threading.Event().wait(0.05)
        return torch.zeros(1)

    def look(part: Progress) -> torch.Tensor:
        return images._cached(("stored", (8, 8, "bilinear")), shaped)

    found = Workers(4, 1).run([look] * 4, Silence(), "", 4)
    assert len(made) == 1
    assert all(each is found[0] for each in found)


def test_what_is_much_larger_than_all_subnets_is_trained_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is not known; the others are trained two at once, the dearest first."""
    log, running = list[tuple[str, int]](), list[str]()
    largest, space = object(), SimpleNamespace(largest=lambda: largest)
    costs = SimpleNamespace(of=lambda net: (100.0, 0.0))
    job: Any = SimpleNamespace(
        workers=lambda nets: Workers(2, 1),
        problem=SimpleNamespace(costs=costs, space=space),
        folder=SimpleNamespace(log=lambda event, seconds, detail: log.append((detail["id"], detail["at_once"]))),
        progress=Silence(),
        evaluator=lambda: None,
    )
    tuner: Any = SomeTuner()
    monkeypatch.setattr(Bundling, "tuner", lambda self: tuner)

    def work(name: str, macs: float) -> Work:
        def do(tuner: Any) -> None:
            running.append(name)
            assert name != "giant" or len(log) == 3, "after all others"

        return Work(name, macs, tmp_path / name, do)

    (tmp_path / "there").mkdir()
    works = [work("giant", 201.0), work("small", 1.0), work("twice", 200.0), work("large", 100.0)]
    assert Bundling(job).tuned({}, [*works, Work("there", 50.0, tmp_path / "there", None)]) == {}
    assert (running[-1], log[-1]) == ("giant", ("giant", 1))
    assert sorted(log[:-1]) == [("large", 2), ("small", 2), ("twice", 2)]
