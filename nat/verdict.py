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
        reached_by: id of the front's cheapest net that is as accurate as the control on validation images; None where
            none is. Test images choose nothing: the accuracy of what they chose would be too good.
        judges: whether the control began as the front's nets did, from trained weights or from random ones; else it
            tells what trained weights are worth, and not whether the search has paid.
    """

    control: str
    net: str
    difference: float
    low: float
    high: float
    reached_by: str | None = None
    judges: bool = True

    @property
    def sign(self) -> int:
        """1 where the front's net is better by more than chance, -1 where it is worse, 0 where they cannot be told."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


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
    judges, reaching = bool(control.get("judges", True)), _reaching(front, control)
    reached_by, difference = None if reaching is None else reaching["id"], float(ours.mean() - theirs.mean())
    return PairedDifference(control["name"], net["id"], difference, low, high, reached_by, judges)


def _reaching(front: Sequence[Mapping[str, Any]], control: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The front's cheapest net that is as accurate as a control on validation images."""
    rivals = [net for net in front if net["finetuned_val_top1"] >= control["finetuned_val_top1"]]
    return min(rivals, key=lambda net: net["macs"], default=None)


def sentences(
    front: Sequence[Mapping[str, Any]],
    controls: Sequence[Mapping[str, Any]],
    found: Sequence[PairedDifference],
    limits: Mapping[str, float | None],
    seconds: float,
) -> list[str]:
    """What is said of a front and its controls; the first sentence says whether the search has paid.

    The numbers of what can be compared are in `found`; of other controls a sentence says which net is near.

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
            "did not), which tells what trained weights are worth and not the search, the best net within its "
            f"multiply-adds is {_judged(beside)}."
        )
    said += [control["lacks"] for control in controls if control.get("lacks")]
    others = [control for control in controls if control["name"] not in {each.control for each in found}]
    said += [sentence for control in others if (sentence := _nearest_net(front, control)) is not None]
    over = [control["name"] for control in controls if breaks(control, limits)]
    said += [
        f"The {name} is over the budget, as no net of the front may be: it does not count for whether the search paid."
        for name in over
    ]
    return said


def whether_it_paid(found: Sequence[PairedDifference], seconds: float, *, controlled: bool = True) -> str:
    """One sentence on all comparisons, on test images and by 95 % intervals, the search's seconds beside them.

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
    best = f"within the multiply-adds of each control, its best net is {_judged(found)}"
    return f"The search ({seconds:.0f} s) {judged}: {best}."


def _judged(found: Sequence[PairedDifference]) -> str:
    parts = {sign: [f"the {each.control}" for each in found if each.sign == sign] for sign in (1, 0, -1)}
    verbs = {1: "better than", 0: "not to be told from", -1: "worse than"}
    return "; ".join(f"{verbs[sign]} {_listed(names)}" for sign, names in parts.items() if names)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def breaks(net: Mapping[str, Any], limits: Mapping[str, float | None]) -> bool:
    """Whether a row of front.json breaks a limit; what is not known of it breaks none."""
    return any(limit is not None and net.get(cost) is not None and net[cost] > limit for cost, limit in limits.items())


def _nearest_net(front: Sequence[Mapping[str, Any]], control: Mapping[str, Any]) -> str | None:
    """The net that reaches a control, or the most accurate one if none does; None where it is the control itself."""
    key, name, net = "finetuned_val_top1", control["name"], _reaching(front, control)
    if net is not None:
        start = f"{net['id']} reaches the {name} on validation images"
    else:
        net = max(front, key=lambda net: (net[key], -net["macs"]))
        start = f"no net reaches the {name} on validation images; {net['id']} is the nearest"
    if net["id"] == control.get("id"):
        return None
    share, tests = net["macs"] / control["macs"], f"{net['test_top1']:.4f} against {control['test_top1']:.4f}"
    return f"{start}, at {share:.2f}x its multiply-adds: {tests} on test images."
