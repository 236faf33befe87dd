"""One evaluation, whatever goes wrong with it: an error, no number, no end; what fails is recorded as failed."""

import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from nat.archive import Evaluation
from nat.errors import TransferError
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture

LEAST_LIMIT, TIMES_MEDIAN, UNKNOWN_LIMIT, LEAST_KNOWN = 60.0, 20.0, 3600.0, 3  # seconds; of evaluations


def attempt(
    problem: SearchProblem,
    architecture: Architecture,
    measure: Callable[[Architecture], dict[str, float]],
    *,
    round: int,
    version: int,
    limit: float | None,
) -> Evaluation:
    """Evaluates one architecture.

    Args:
        problem: objectives and exact costs.
        architecture: what to evaluate.
        measure: gives its errors by the names of the objectives.
        round: of the search.
        version: of the weights.
        limit: seconds that it may take; see `time_limit`.

    Returns:
        The evaluation, a failed one where `measure` raises anything, gives no finite number or takes too long. A
        mistake in code fails with every architecture, which ends a search; with one, the others are worth having.
    """
    started = time.perf_counter()
    objectives, error = dict[str, float](), None
    try:
        with time_limit(limit):
            errors = measure(architecture)
        if not all(map(math.isfinite, errors.values())):
            raise TransferError("the error is not a finite number")
        objectives = errors | problem.known_of(architecture)
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"[:500]
    return Evaluation(
        architecture=architecture,
        objectives=objectives,
        round=round,
        weights_version=version,
        seconds=time.perf_counter() - started,
        error=error,
    )


class EvaluationTimeout(TransferError):
    """An evaluation took longer than its limit."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises `EvaluationTimeout` in what runs longer than so many seconds.

    A timer's signal raises as soon as Python has control: between two operations of PyTorch, in a sleep, in a wait for
    another process. One operation that does not come back (a kernel that hangs on a GPU, a library that holds the
    interpreter) is not stopped; it counts as failed once it has ended. Without effect in threads other than the main
    one, and on Windows, which has no such timer.

    Args:
        seconds: the limit, or None for none.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = True

    def stop(number: int, frame: FrameType | None) -> None:
        if armed:
            raise EvaluationTimeout(f"took longer than the limit of {seconds:.0f} s (evaluation_limit)")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def seconds_allowed(setting: float | str, earlier: Sequence[float]) -> float | None:
    """What an evaluation may take.

    Args:
        setting: seconds; "off" for any time; "auto" for 20 times the median of the earlier ones and a minute at
            least, an hour as long as there are fewer than three.
        earlier: seconds that evaluations have taken.
    """
    if isinstance(setting, float | int):
        return float(setting)
    if setting == "off":
        return None
    return max(LEAST_LIMIT, TIMES_MEDIAN * statistics.median(earlier)) if len(earlier) >= LEAST_KNOWN else UNKNOWN_LIMIT
