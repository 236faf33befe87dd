"""Whether a search has paid: the front against nets that needed none, on the same test images, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nat.bootstrap import Correct, interval, resampled


@dataclass(frozen=True)
class Comparison:
    """The front's best net within a control's multiply-adds against that control.

    Attributes:
        control: name of the control.
        net: id of the front's net, the most accurate on validation images.
        difference: of their accuracies on test images, in [-1, 1]; above 0 where the front's net is better.
        low: lower end of its 95 % interval (paired bootstrap over images).
        high: upper end.
    """

    control: str
    net: str
    difference: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 where the front's net is better by more than chance, -1 where it is worse, 0 where they cannot be told."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def in_words(self) -> str:
        """Like "the largest subnet (+1.2 points, -0.3 to +2.5)"."""
        ends = f"{100 * self.low:+.1f} to {100 * self.high:+.1f}"
        return f"the {self.control} ({100 * self.difference:+.1f} points, {ends})"


def comparisons(
    front: Sequence[Mapping[str, Any]], controls: Sequence[Mapping[str, Any]], right: Mapping[str, Correct]
) -> list[Comparison]:
    """What can be compared: not a control that the front holds as its best net, or that is below all of its costs.

    Args:
        front: rows of front.json.
        controls: likewise.
        right: on which test images nets are right, shape (n,): of the front by id, of controls by name.
    """
    found = [_comparison(front, control, right) for control in controls]
    return [comparison for comparison in found if comparison is not None]


def _comparison(
    front: Sequence[Mapping[str, Any]], control: Mapping[str, Any], right: Mapping[str, Correct]
) -> Comparison | None:
    rivals = [net for net in front if net["macs"] <= control["macs"]]
    if not rivals:
        return None
    net = max(rivals, key=lambda net: (net["finetuned_val_top1"], -net["macs"]))  # test images choose nothing
    ours, theirs = right.get(net["id"]), right.get(control["name"])
    if net["id"] == control.get("id") or ours is None or theirs is None or len(ours) != len(theirs) or not len(ours):
        return None
    accuracies = resampled(np.stack([ours, theirs]))
    low, high = interval(accuracies[:, 0] - accuracies[:, 1])
    return Comparison(control["name"], net["id"], float(ours.mean() - theirs.mean()), low, high)


def whether_it_paid(found: Sequence[Comparison], seconds: float) -> str | None:
    """One sentence on all comparisons, the search's seconds beside them; None where there is nothing to compare."""
    if not found:
        return None
    parts = {sign: [each.in_words() for each in found if each.sign == sign] for sign in (1, 0, -1)}
    verbs = {1: "better than", 0: "not to be told from", -1: "worse than"}
    said = "; ".join(f"{verbs[sign]} {_listed(names)}" for sign, names in parts.items() if names)
    if parts[1]:
        judged = "paid in part" if parts[-1] else "paid"
    else:
        judged = "did not pay" if parts[-1] else "cannot be said to have paid"
    return (
        f"The search ({seconds:.0f} s) {judged}: the front's best net within the multiply-adds of each control is, on "
        f"the same test images (95 % paired bootstrap), {said}."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
