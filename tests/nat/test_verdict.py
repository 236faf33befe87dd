"""Whether a search has paid: known answers."""

from typing import Any

import numpy as np

from nat.verdict import comparisons, whether_it_paid


def net(name: str, macs: int, val: float) -> dict[str, Any]:
    return {"id": name, "name": name, "macs": macs, "finetuned_val_top1": val}


def right(share: float, images: int = 400) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The first images are those that are right, so that nets differ on as few as they can."""
    return np.arange(images) < round(share * images)


FRONT = [net("cheap", 10, 0.6), net("dear", 50, 0.8)]
RIGHT = {"cheap": right(0.6), "dear": right(0.8)}


def judged(*controls: tuple[dict[str, Any], float]) -> str | None:
    known = {**RIGHT, **{control["name"]: right(share) for control, share in controls}}
    return whether_it_paid(comparisons(FRONT, [control for control, _ in controls], known), 12.3)


def test_a_control_is_compared_with_the_best_net_within_its_multiply_adds() -> None:
    found = comparisons(
        FRONT, [net("middle", 49, 0.9), net("large", 50, 0.9)], {**RIGHT, "middle": right(0.5), "large": right(0.7)}
    )
    assert [(each.net, round(each.difference, 6), each.sign) for each in found] == [("cheap", 0.1, 1), ("dear", 0.1, 1)]
    assert all(each.low < each.difference < each.high for each in found)


def test_what_the_front_holds_or_nothing_is_within_is_not_compared() -> None:
    assert comparisons(FRONT, [net("dear", 50, 0.8), net("tiny", 9, 0.2)], {**RIGHT, "tiny": right(0.2)}) == []
    assert comparisons(FRONT, [net("unknown", 60, 0.8)], RIGHT) == []
    assert whether_it_paid([], 1.0) is None


def test_the_sentence_is_honest() -> None:
    worse, same, better = (net("worse", 60, 0.1), 0.7), (net("same", 60, 0.1), 0.8), (net("better", 60, 0.1), 0.9)
    paid = judged(worse, same)
    assert paid is not None and paid.startswith("The search (12 s) paid:")
    assert (
        "better than the worse (+10.0 points, " in paid
        and "not to be told from the same (+0.0 points, +0.0 to +0.0)" in paid
    )
    assert (judged(worse, better) or "").startswith("The search (12 s) paid in part:")
    assert (judged(better) or "").startswith("The search (12 s) did not pay:") and "worse than the better (-10" in (
        judged(better) or ""
    )
    assert (judged(same) or "").startswith("The search (12 s) cannot be said to have paid:")
