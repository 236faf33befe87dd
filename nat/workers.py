"""Several networks at once, each with its share of the CPU's threads.

What a thread more gains in an operation on small images is little; as much work again beside it gains more, and does
not wait for a thread that another program has taken away. What comes of a network depends on the threads that it has,
in the last digits, and not on how many are worked on at once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

import torch

from nat.datasets.memory import free_bytes
from nat.progress import Progress, Task

MEMORY = 10e9  # bytes that all may take together
PER_PIXEL = 4000  # bytes of training, for each pixel of a batch; the largest subnet of width 1.2 at 128 px takes 3,900
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """How many networks are worked on at once.

    Attributes:
        count: at once, at least 1.
        threads: CPU threads of each, at least 1.
    """

    count: int
    threads: int

    @classmethod
    def sharing(cls, machine: int, suitable: int, works: int, pixels: int, free: float | None = None) -> "Workers":
        """For a number of networks, as many at once as memory and threads allow.

        Args:
            machine: CPU threads there are.
            suitable: threads that are worth having for one of the networks alone.
            works: networks in all, also those that are done; what each has may not depend on what is left.
            pixels: of a training batch.
            free: bytes of memory, of which half may be taken; None to ask the system, which not every one tells.
        """
        most = max(1, min(works, int(MEMORY / (PER_PIXEL * pixels))))
        threads = max(1, suitable // most)  # whatever is free now: results depend on it
        fitting = (free or free_bytes() or math.inf) / 2 / (PER_PIXEL * pixels)
        return cls(max(1, int(min(most, machine // threads, fitting))), threads)

    def run(
        self, works: Sequence[Callable[[Progress], Result]], progress: Progress, title: str, steps: int
    ) -> list[Result]:
        """Does it, in this process.

        Args:
            works: called with where to report progress; may be called from another thread.
            progress: shows each one by itself if there is one at a time, else all as one task.
            title: of that task.
            steps: that all of them have together.

        Returns:
            What they return, in their order.

        Raises:
            Exception: what the first one to fail raised; the others have stopped by then, at their next step.
        """
        with _threads(self.threads):
            if self.count == 1 or len(works) < 2:
                return [work(progress) for work in works]
            with progress.task(title, steps) as task:
                return self._side_by_side(works, _Part(progress, task))

    def _side_by_side(self, works: Sequence[Callable[[Progress], Result]], part: "_Part") -> list[Result]:
        with ThreadPoolExecutor(self.count) as pool:
            futures = [pool.submit(work, part) for work in works]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
                return [future.result() for future in futures]
            except KeyboardInterrupt:
                part.say("stopping; a net that is being measured is finished first")
                raise
            finally:
                part.stopped.set()
                for future in futures:
                    future.cancel()


class _Part:
    """`Progress` of one of several: all of them advance one task."""

    def __init__(self, whole: Progress, task: Task) -> None:
        self.whole, self.shared = whole, task
        self.stopped = Event()

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        yield self
        self.say(f"{title}: done")

    def advance(self, amount: int = 1, note: str = "") -> None:
        if self.stopped.is_set():
            raise InterruptedError("another one failed, or the user has stopped the work")
        self.shared.advance(amount, note)

    def say(self, text: str) -> None:
        self.whole.say(text)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Lets torch use so many CPU threads, also from threads that begin within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
