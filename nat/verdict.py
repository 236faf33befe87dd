"""What is said of a front beside its controls: whether the search paid, on the same test images, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nat.bootstrap import Correct, interval, resampled


@dataclass(frozen=True)
class PairedDifference:
    """The front's best net within a control's multiply-adds against that control.

    Attributes:
        control: name of the control.
        net: id of the front's net, the most accurate on validation images.
        difference: of their accuracies on test images, in [-1, 1]; above 0 where the front's net is better.
        low: lower end of its 95 % interval (paired bootstrap over images).
        high: upper end.
        judges: whether the control began as the front's nets did, from trained weights or from random ones; else it
            tells what trained weights are worth, and not whether the search has paid.
    """

    control: str
    net: str
    difference: float
    low: float
    high: float
    judges: bool = True

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
) -> list[PairedDifference]:
    """What can be compared: not a control that the front holds as its best net, or that is below all of its costs.

    Args:
        front: rows of front.json.
        controls: likewise.
        right: on which test images nets are right, shape (n,): of the front by id, of controls by name.
    """
    found = [_difference(front, control, right) for control in controls]
    return [difference for difference in found if difference is not None]


def _difference(
    front: Sequence[Mapping[str, Any]], control: Mapping[str, Any], right: Mapping[str, Correct]
) -> PairedDifference | None:
    rivals = [net for net in front if net["macs"] <= control["macs"]]
    if not rivals:
        return None
    net = max(rivals, key=lambda net: (net["finetuned_val_top1"], -net["macs"]))  # test images choose nothing
    ours, theirs = right.get(net["id"]), right.get(control["name"])
    if net["id"] == control.get("id") or ours is None or theirs is None or len(ours) != len(theirs) or not len(ours):
        return None
    accuracies = resampled(np.stack([ours, theirs]))
    low, high = interval(accuracies[:, 0] - accuracies[:, 1])
    judges = bool(control.get("judges", True))
    return PairedDifference(control["name"], net["id"], float(ours.mean() - theirs.mean()), low, high, judges)


def sentences(
    front: Sequence[Mapping[str, Any]],
    controls: Sequence[Mapping[str, Any]],
    found: Sequence[PairedDifference],
    limits: Mapping[str, float | None],
    seconds: float,
) -> list[str]:
    """What is said of a front and its controls; the first sentence says whether the search has paid.

    Args:
        front: rows of front.json that the search found.
        controls: likewise.
        found: what `comparisons` gave, without the controls that break a limit.
        limits: by the names of their objectives.
        seconds: of the search.
    """
    said = [whether_it_paid([each for each in found if each.judges], seconds, controlled=bool(controls))]
    if beside := [each for each in found if not each.judges]:
        said.append(
            "Beside a control that began otherwise (from random weights, or from trained ones where the front's nets "
            "did not), which tells what trained weights are worth and not the search, the front's best net within its "
            f"multiply-adds is {_judged(beside)}."
        )
    said += [control["lacks"] for control in controls if control.get("lacks")]
    said += [sentence for control in controls if (sentence := _nearest_net(front, control)) is not None]
    over = [control["name"] for control in controls if breaks(control, limits)]
    said += [
        f"The {name} is over the budget, as no net of the front may be: it does not count for whether the search paid."
        for name in over
    ]
    return said


def whether_it_paid(found: Sequence[PairedDifference], seconds: float, *, controlled: bool = True) -> str:
    """One sentence on all comparisons, the search's seconds beside them.

    Args:
        found: those that judge the search.
        seconds: of the search.
        controlled: whether there are controls at all.
    """
    if not found:
        reason = "no control that began as the front's nets did can be compared with another net of the front"
        if not controlled:
            reason = "the run has no controls (--controls)"
        return f"The search ({seconds:.0f} s) cannot be judged: {reason}."
    signs = {each.sign for each in found}
    if 1 in signs:
        judged = "paid in part" if -1 in signs else "paid"
    else:
        judged = "did not pay" if -1 in signs else "cannot be said to have paid"
    return (
        f"The search ({seconds:.0f} s) {judged}: the front's best net within the multiply-adds of each control is, on "
        f"the same test images (95 % paired bootstrap), {_judged(found)}."
    )


def _judged(found: Sequence[PairedDifference]) -> str:
    parts = {sign: [each.in_words() for each in found if each.sign == sign] for sign in (1, 0, -1)}
    verbs = {1: "better than", 0: "not to be told from", -1: "worse than"}
    return "; ".join(f"{verbs[sign]} {_listed(names)}" for sign, names in parts.items() if names)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def breaks(net: Mapping[str, Any], limits: Mapping[str, float | None]) -> bool:
    """Whether a row of front.json breaks a limit; what is not known of it breaks none."""
    return any(limit is not None and net.get(cost) is not None and net[cost] > limit for cost, limit in limits.items())


def _nearest_net(front: Sequence[Mapping[str, Any]], control: Mapping[str, Any]) -> str | None:
    """The cheapest net of the front that is as accurate as a control, or the most accurate one if none is.

    Validation images choose it: chosen by test accuracy, its test accuracy would be too good. None where it is the
    control itself.
    """
    key, name = "finetuned_val_top1", control["name"]
    rivals = [net for net in front if net[key] >= control[key]]
    if rivals:
        net = min(rivals, key=lambda net: net["macs"])
        start = f"{net['id']} reaches the {name} on validation images"
    else:
        net = max(front, key=lambda net: (net[key], -net["macs"]))
        start = f"no net reaches the {name} on validation images; {net['id']} is the nearest"
    if net["id"] == control.get("id"):
        return None
    share, tests = net["macs"] / control["macs"], f"{net['test_top1']:.4f} against {control['test_top1']:.4f}"
    return f"{start}, at {share:.2f}x its multiply-adds: {tests} on test images."
