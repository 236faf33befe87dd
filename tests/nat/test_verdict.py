"""Whether a search has paid: known answers."""

from typing import Any

import numpy as np

from nat.verdict import comparisons, sentences, whether_it_paid


def net(name: str, macs: int, val: float) -> dict[str, Any]:
    return {"id": name, "name": name, "macs": macs, "finetuned_val_top1": val}


def right(share: float, images: int = 400) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The first images are those that are right, so that nets differ on as few as they can."""
    return np.arange(images) < round(share * images)


FRONT = [net("cheap", 10, 0.6), net("dear", 50, 0.8)]
RIGHT = {"cheap": right(0.6), "dear": right(0.8)}


def judged(*controls: tuple[dict[str, Any], float]) -> str:
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
    assert whether_it_paid([], 1.0).startswith("The search (1 s) cannot be judged: no control that began")
    assert "no controls" in whether_it_paid([], 1.0, controlled=False)


def test_the_sentence_is_honest() -> None:
    worse, same, better = (net("worse", 60, 0.1), 0.7), (net("same", 60, 0.1), 0.8), (net("better", 60, 0.1), 0.9)
    paid = judged(worse, same)
    assert paid == (
        "The search (12 s) paid: within the multiply-adds of each control, its best net is better than the worse; "
        "not to be told from the same."
    )
    assert judged(worse, better).startswith("The search (12 s) paid in part:")
    assert judged(better).startswith("The search (12 s) did not pay:")
    assert "worse than the better." in judged(better)
    assert judged(same).startswith("The search (12 s) cannot be said to have paid:")


def told(name: str, macs: int, val: float, test: float) -> dict[str, Any]:
    return {**net(name, macs, val), "params": 7, "test_top1": test}


FRONT_TOLD = [told("cheap", 10, 0.6, 0.6), told("dear", 50, 0.8, 0.8)]
LADDER = [told("cheap", 10, 0.5, 0.97), told("middle", 50, 0.8, 0.71), told("dear", 90, 0.9, 0.72)]


def test_of_each_control_the_cheapest_net_that_is_as_good_on_validation_is_named_or_the_nearest() -> None:
    """Test accuracies are told, and choose nothing: by them, the cheap net would be the rival, and the best."""
    controls = [told("largest subnet", 100, 0.8, 0.78), told("other", 60, 0.95, 0.96)]
    _, first, second = sentences(LADDER, controls, [], {"macs": None, "params": None}, 1.0)
    assert first.startswith("middle reaches the largest subnet on validation") and "0.50x" in first
    assert "0.7100 against 0.7800 on test" in first
    assert "no net reaches the other on validation" in second and "dear" in second and "1.50x" in second
    (judged,) = sentences(LADDER, [], [], {}, 1.0)
    assert "no controls" in judged


def test_a_comparison_names_the_cheapest_net_that_is_as_good_on_validation() -> None:
    """It may cost more than the control; none may reach it; test images choose nothing."""
    controls = [told("first", 20, 0.8, 0.1), told("second", 95, 0.95, 0.1), told("third", 95, 0.5, 0.99)]
    known = {"first": right(0.1), "second": right(0.1), "third": right(0.99)}
    known |= {net["id"]: right(net["test_top1"]) for net in LADDER}
    found = comparisons(LADDER, controls, known)
    assert [(each.net, each.reached_by) for each in found] == [("cheap", "middle"), ("dear", None), ("dear", "cheap")]
    assert len(sentences(LADDER, controls, found, {}, 1.0)) == 1, "the rest is in the comparisons"


def test_a_net_is_not_compared_with_itself() -> None:
    largest = {**told("largest subnet", 90, 0.9, 0.72), "id": "dear"}
    (judged,) = sentences(LADDER, [largest], comparisons(LADDER, [largest], {"dear": right(0.7)}), {}, 1.0)
    assert "cannot be judged" in judged


def test_a_control_over_the_budget_is_said_to_be() -> None:
    controls = [told("largest subnet", 80, 0.9, 0.8), told("smallest subnet", 10, 0.9, 0.8)]
    *_, last = sentences(LADDER, controls, [], {"macs": 40, "params": None}, 1.0)
    assert "largest subnet is over the budget" in last and "does not count" in last
    assert len(sentences(LADDER, controls, [], {"macs": 80, "params": 7}, 1.0)) == 1 + 2
    assert len(sentences(LADDER, controls, [], {"macs": 40, "params": 6}, 1.0)) == 1 + 4


def test_random_weights_tell_nothing_of_a_search_among_trained_ones() -> None:
    """However far a network from scratch is behind, it was not the search that made the difference."""
    lacks = "No pretrained network of timm could be had."
    scratch = {**told("scratch", 60, 0.1, 0.1), "judges": False, "lacks": lacks}
    same = told("same", 60, 0.1, 0.8)
    known = {**RIGHT, "scratch": right(0.1), "same": right(0.8)}

    def said(*controls: dict[str, Any]) -> list[str]:
        return sentences(FRONT_TOLD, controls, comparisons(FRONT_TOLD, controls, known), {}, 12.0)

    first, second, third, *_ = said(scratch, same)
    assert first.startswith("The search (12 s) cannot be said to have paid:") and "scratch" not in first
    assert "began otherwise" in second and "better than the scratch." in second
    assert third == lacks
    assert "cannot be judged" in said(scratch)[0]
    assert said({**scratch, "judges": True})[0].startswith("The search (12 s) paid:")
