"""Controls: nets beside the front, trained on the same data for as many steps by the same recipe, without a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nat.bundle import Bundle
from nat.problem import SearchProblem
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import sample_stratified
from nat.supernet.space import MobileNetSpace

Kind = Literal["largest", "smallest", "random", "timm", "source"]
RANDOM, POOL = 2, 128  # random subnets, and how many are drawn to find some of the right multiply-adds
NEAR = 0.05  # natural logarithm of a ratio of multiply-adds that counts as the same
COUNT = {"none": 0, "ends": 2, "all": 2 + RANDOM + 1}  # nets that are trained, at most
_WORD = 0xC0  # of the seed, so that nothing else draws the same numbers


@dataclass(frozen=True)
class Control:
    """A control that is trained and measured.

    Attributes:
        name: for people.
        kind: what it is.
        path: its folder; a bundle, but of a network of timm.
        metrics: content of metrics.json.
        architecture: of a subnet of the run's space.
    """

    name: str
    kind: Kind
    path: Path
    metrics: dict[str, Any]
    architecture: Architecture | None = None

    @classmethod
    def of(cls, name: str, kind: Kind, bundle: Bundle) -> "Control":
        """A subnet as a control. The source of a grown space is no subnet with the adapted weights: it has no id."""
        metrics = {key: value for key, value in bundle.metrics.items() if kind != "source" or key != "id"}
        return cls(name, kind, bundle.path, metrics, bundle.model.architecture)


def subnets_beside(
    amount: str, problem: SearchProblem, front: Sequence[Architecture], seed: int
) -> list[tuple[str, Kind, Architecture]]:
    """The subnets that are controls: both ends of the space, and with "all" random ones.

    Args:
        amount: "none", "ends" or "all".
        problem: space, costs and limits.
        front: what is reported.
        seed: of the random ones.
    """
    if amount == "none":
        return []
    ends: list[tuple[str, Kind, Architecture]] = [
        largest_within(problem, seed),
        ("smallest subnet", "smallest", problem.space.smallest()),
    ]
    if ends[0][2] == ends[1][2] != problem.space.largest():
        del ends[0]  # the budget leaves one
    if amount == "ends":
        return ends
    drawn = random_subnets(problem, front, seed)
    others: list[tuple[str, Kind, Architecture]] = [
        (f"random subnet {number}", "random", net) for number, net in enumerate(drawn, start=1)
    ]
    return [*ends, *others]


def largest_within(problem: SearchProblem, seed: int) -> tuple[str, Kind, Architecture]:
    """The largest subnet, or what one would take in its place where it breaks the limits: a control is to keep them.

    That is the subnet with the most multiply-adds of those with one kernel size, expand ratio and depth throughout.

    Args:
        problem: space, costs and limits.
        seed: of a random sample, where no such subnet keeps the limits.
    """
    space, largest = problem.space, problem.space.largest()
    if problem.allows(space.encode([largest])).all():
        return "largest subnet", "largest", largest
    assert isinstance(space, MobileNetSpace)  # as that of every transfer
    choices = product(space.kernels, space.expands, space.depths, space.resolutions)
    uniform = space.encode(list(dict.fromkeys(space.uniform(*choice) for choice in choices)))
    within = uniform[problem.allows(uniform)]
    if not len(within):
        within = sample_stratified(problem.costs, POOL, np.random.default_rng([seed, _WORD]), problem.limits)
    (net,) = space.decode(within[[np.argmax(problem.costs.macs(within))]])
    return "largest subnet within the budget", "largest", net


def random_subnets(problem: SearchProblem, front: Sequence[Architecture], seed: int) -> list[Architecture]:
    """Random subnets of as many multiply-adds as nets of the front, and hardly more; none of the front, cheapest first.

    Of `POOL` subnets, stratified by multiply-adds, the next above a net of the front stands beside it: chance decides
    all else. Those nets are spread over the front's multiply-adds, on a log scale, and where few subnets cost as much
    (between two input sizes, say), another one is taken.
    """
    rng, costs = np.random.default_rng([seed, _WORD]), problem.costs
    drawn = problem.space.decode(sample_stratified(costs, POOL, rng, problem.limits))
    known = {*front, largest_within(problem, seed)[2], problem.space.smallest()}
    pool = {net: float(np.log(costs.of(net)[0])) for net in drawn if net not in known}
    left, found = [float(np.log(costs.of(net)[0])) for net in front], dict[Architecture, float]()
    for mark in np.linspace(min(left), max(left), RANDOM + 2)[1:-1]:
        beside = [(macs, _next_above(pool, macs)) for macs in left if pool]
        near = [pair for pair in beside if 0 <= pool[pair[1]] - pair[0] < NEAR] or beside
        if near:
            macs, chosen = min(near, key=lambda pair: abs(pair[0] - float(mark)))
            left.remove(macs)
            found[chosen] = pool.pop(chosen)
    return sorted(found, key=lambda net: found[net])


def _next_above(pool: Mapping[Architecture, float], value: float) -> Architecture:
    """The net with the least value that is not below the given one; where there is none, that with the greatest."""
    return min(pool, key=lambda net: (pool[net] < value, abs(pool[net] - value)))


def shrinks(space: MobileNetSpace) -> bool:
    """Whether the largest subnet of a space grown out of a network is that network."""
    return all(stage.layers for stage in space.structure.stages)
