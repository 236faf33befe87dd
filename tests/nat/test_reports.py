from collections.abc import Callable

from nat.archive import Evaluation
from nat.reports import failed
from nat.supernet.architecture import Architecture


def test_failures_are_grouped_by_reason_the_most_frequent_first(
    architectures: Callable[[int], list[Architecture]],
) -> None:
    first, second, third = architectures(3)
    reasons = ((first, "MemoryError: no room"), (second, "RuntimeError: x\nmore"), (third, "RuntimeError: x"))
    found = failed([Evaluation(net, {}, 0, 0, error=error) for net, error in reasons])
    assert found["count"] == 3
    assert [(reason["error"], reason["count"]) for reason in found["reasons"]] == [
        ("RuntimeError: x", 2),
        ("MemoryError: no room", 1),
    ]
    assert found["reasons"][1]["subnets"] == [first.id]
    assert failed([]) == {"count": 0, "reasons": []}
