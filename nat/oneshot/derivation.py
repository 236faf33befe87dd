"""From architecture parameters to one option of each choice, as DARTS and GDAS do it; what is said of the result."""

from collections.abc import Mapping

from torch import Tensor

from nat.oneshot.relaxation import Parameters, Winners
from nat.supernet.mixture import Choices

SKIP = "skip_connect"


def strongest(parameters: Parameters, choices: Choices) -> dict[str, int | None]:
    """Of each choice the option with the greatest softmax weight; of each group the choices where that is greatest.

    Options that are excluded (`none`) are neither chosen nor do they rank, but they have their share of the softmax
    (Liu et al., ICLR 2019, section 2.4). The first of equal ones wins.

    Args:
        parameters: of the architecture.
        choices: what there is to choose.

    Returns:
        Index of an option, or None for choices that a group drops.
    """
    weights = {name: values.detach().softmax(0) for name, values in parameters.items()}
    best = {name: _best(weights[name], choices.options[name], choices.excluded) for name in parameters}
    winners: dict[str, int | None] = {name: index for name, (index, _) in best.items()}
    for group in choices.groups:
        ranked = sorted(group, key=lambda name: -best[name][1])
        winners.update(dict.fromkeys(ranked[choices.kept :]))
    return winners


def named(winners: Winners, choices: Choices) -> dict[str, str | None]:
    """Options by their names."""
    return {name: None if index is None else choices.options[name][index] for name, index in winners.items()}


def count_skips(derived: Mapping[str, str | None]) -> int:
    """How many choices are skip connections: the collapse of DARTS shows in it."""
    return sum(option == SKIP for option in derived.values())


def ranking(parameters: Parameters) -> dict[str, list[int]]:
    """Options of each choice from the greatest to the least parameter."""
    return {name: values.detach().argsort(descending=True, stable=True).tolist() for name, values in parameters.items()}


def _best(weights: Tensor, options: tuple[str, ...], excluded: frozenset[str]) -> tuple[int, float]:
    allowed = [index for index, option in enumerate(options) if option not in excluded]
    index = max(allowed, key=lambda index: float(weights[index]))
    return index, float(weights[index])
