import signal
import threading
import time
from collections.abc import Callable

import pytest

from nat.attempts import EvaluationTimeout, attempt, seconds_allowed, time_limit
from nat.objectives import ERROR
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture


def hang(architecture: Architecture) -> dict[str, float]:
    time.sleep(30)
    return {ERROR: 0.5}


def busy(architecture: Architecture) -> dict[str, float]:
    while True:
        sum(range(1000))


def fail(architecture: Architecture) -> dict[str, float]:
    raise OSError("no such disk\nreally")


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        (hang, "EvaluationTimeout: took longer than the limit"),
        (busy, "EvaluationTimeout"),
        (fail, "OSError: no such disk"),
        (lambda _: {ERROR: float("nan")}, "not a finite number"),
        (lambda _: {ERROR: 1 // 0}, "ZeroDivisionError"),
    ],
)
def test_what_goes_wrong_is_a_failure(
    problem: SearchProblem, measure: Callable[[Architecture], dict[str, float]], says: str
) -> None:
    before = signal.getsignal(signal.SIGALRM)
    started = time.monotonic()
    found = attempt(problem, problem.space.smallest(), measure, round=2, version=1, limit=0.2)
    assert time.monotonic() - started < 10
    assert found.failed and says in str(found.error) and not found.objectives
    assert (found.round, found.weights_version) == (2, 1)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_goes_well_has_exact_costs(problem: SearchProblem) -> None:
    net = problem.space.largest()
    found = attempt(problem, net, lambda _: {ERROR: 0.25}, round=0, version=0, limit=None)
    macs, params = problem.costs.of(net)
    assert found.objectives == {ERROR: 0.25, "macs": macs, "params": params} and not found.failed


@pytest.mark.parametrize("raised", [AttributeError("a typo"), KeyError("name"), AssertionError()])
def test_whatever_is_raised_is_recorded_and_a_stop_is_not(problem: SearchProblem, raised: Exception) -> None:
    def fail(architecture: Architecture) -> dict[str, float]:
        raise raised

    def stop(architecture: Architecture) -> dict[str, float]:
        raise KeyboardInterrupt

    found = attempt(problem, problem.space.largest(), fail, round=0, version=0, limit=5)
    assert found.failed and type(raised).__name__ in str(found.error)
    with pytest.raises(KeyboardInterrupt):
        attempt(problem, problem.space.largest(), stop, round=0, version=0, limit=5)


def test_the_limit_ends_with_its_context() -> None:
    with time_limit(0.2):
        pass
    time.sleep(0.3)
    with pytest.raises(EvaluationTimeout), time_limit(0.05):
        time.sleep(1)


def test_other_threads_have_no_limit() -> None:
    ended = []

    def work() -> None:
        with time_limit(0.01):
            time.sleep(0.1)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended


def test_the_limit_follows_what_evaluations_take() -> None:
    assert seconds_allowed("auto", [1.0, 2.0]) == 3600
    assert seconds_allowed("auto", [1.0, 2.0, 90.0]) == 60
    assert seconds_allowed("auto", [10.0, 10.0, 90.0]) == 200
    assert seconds_allowed("off", [1.0] * 9) is None
    assert seconds_allowed(2.5, []) == 2.5
