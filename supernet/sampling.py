"""Drawing architectures: uniformly, spread over the costs, like given ones, and by variation. All stay in the space.

Everything here works on encodings (n, 1 + slots) and draws from a generator that is passed in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.errors import BudgetError
from nat.supernet.architecture import Architecture
from nat.supernet.searchable import Costs, SearchSpace
from nat.supernet.space import Encodings, MobileNetSpace

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Upper limits that an architecture must keep; None is no limit.

    Attributes:
        max_macs: multiply-adds.
        max_params: parameters.
        max_memory: bytes of activations that are alive at once.
        max_latency_ms: milliseconds, by a table.
    """

    max_macs: int | None = None
    max_params: int | None = None
    max_memory: int | None = None
    max_latency_ms: float | None = None

    def allow(self, costs: Costs, encodings: Encodings) -> NDArray[np.bool_]:
        """Which of the encodings (n, genes) keep the limits, shape (n,)."""
        return np.less_equal(self.excess(costs, encodings), 0)

    def excess(self, costs: Costs, encodings: Encodings) -> NDArray[np.float64]:
        """By what share of the limits the encodings (n, genes) exceed them, in all; shape (n,), 0 where they do not."""
        total = np.zeros(len(encodings))
        for _, most, values in self._given(costs):
            total += np.maximum(values(encodings) / most - 1, 0)
        return total

    def by_name(self) -> dict[str, float | None]:
        """The limits by the names of the objectives that they are put on."""
        return {
            "macs": self.max_macs,
            "params": self.max_params,
            "memory_bytes": self.max_memory,
            "latency_ms": self.max_latency_ms,
        }

    def _given(self, costs: Costs) -> list[tuple[str, float, Callable[[Encodings], NDArray[Any]]]]:
        """Option, limit, and what it is put on, of each limit there is."""
        every: list[tuple[str, float | None, str]] = [
            ("--max-macs", self.max_macs, "macs"),
            ("--max-params", self.max_params, "params"),
            ("--max-memory", self.max_memory, "memory"),
            ("--max-latency-ms", self.max_latency_ms, "latency_ms"),
        ]
        return [(option, most, getattr(costs, name)) for option, most, name in every if most is not None]

    def check(self, costs: Costs) -> None:
        """Raises `BudgetError`, naming the least and the greatest possible, if no architecture keeps the limits.

        Each limit is looked at on its own, exactly; all that cannot be kept are named at once.
        """
        ends = costs.ends()
        broken = []
        for option, most, values in self._given(costs):
            found = values(ends)
            if most < found.min():
                least = _up(found.min())
                broken.append(f"{option} of at least {least} (the greatest is {_up(found.max())}), got {_up(most)}")
        if broken:
            raise BudgetError(f"expected {'; '.join(broken)}. Raise the budget or allow smaller resolutions.")

    def refusal(self, costs: Costs) -> BudgetError:
        """The error for limits of which each can be kept, but no architecture was found that keeps all."""
        ranges = ", ".join(self.ranges(costs, costs.ends()))
        return BudgetError(f"found no subnet that keeps all limits at once; asked for, and possible: {ranges}.")

    def ranges(self, costs: Costs, encodings: Encodings) -> list[str]:
        """Each limit with the least and the greatest that the encodings (n, genes) have of it, for messages."""
        given = [(option, most, values(encodings)) for option, most, values in self._given(costs)]
        return [f"{option} {_up(most)} ({_up(found.min())} to {_up(found.max())})" for option, most, found in given]


def _up(value: float) -> str:
    """A number for messages; of one that is not whole, a few digits, rounded up so that it can be kept."""
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{math.ceil(1000 * value) / 1000:,.3f}"


def ladder(space: MobileNetSpace, count: int) -> list[Architecture]:
    """Architectures with one kernel size, expand ratio and depth throughout, from the smallest to the largest.

    Args:
        space: which they are of.
        count: at least 2; those between are at even steps through the lists of choices, which are taken one after the
            other: depths, expand ratios, resolutions, kernel sizes. Small spaces have fewer.
    """
    nets = []
    for number in range(count):
        rung = number / (count - 1)

        def choice(values: Sequence[T], lead: float, rung: float = rung) -> T:
            return values[min(len(values) - 1, int(rung * (len(values) - 1) + lead))]

        nets.append(
            space.uniform(
                kernel=choice(space.kernels, 0.0),
                expand=choice(space.expands, 0.5),
                depth=choice(space.depths, 0.75),
                resolution=choice(space.resolutions, 0.25),
            )
        )
    return list(dict.fromkeys(nets))


def sample_uniform(space: SearchSpace, count: int, rng: Generator) -> Encodings:
    """Shape (count, genes), as the space draws; each choice of a mobile network is uniform over its values."""
    return space.draw(count, rng)


def sample_stratified(costs: Costs, count: int, rng: Generator, limits: Limits | None = None) -> Encodings:
    """Distinct architectures whose multiply-adds are spread evenly, on a log scale, over all that the limits allow.

    Uniform sampling crowds the middle of the costs. The first row is one of least cost (unless that breaks a limit on
    latency), the last one the largest or, if that breaks the limits, the most costly one found. Fewer than `count` come
    back only if the space has no more.

    Returns:
        Shape (count, genes), the cheapest first.

    Raises:
        BudgetError: no architecture keeps the limits.
    """
    limits = limits or Limits()
    limits.check(costs)
    space = costs.space
    pool = costs.ends()
    for _ in range(20):
        drawn = sample_uniform(space, (8 if space.ordered else 32) * count, rng)
        if space.ordered:
            drawn = np.concatenate([drawn, _between_ends(space, 24 * count, rng)])
        pool = np.unique(np.concatenate([pool, drawn]), axis=0)
        pool = pool[limits.allow(costs, pool)]
        if not len(pool):
            continue
        near = mutate(space, pool[rng.integers(len(pool), size=4 * count)], rng, 0.1)
        pool = np.unique(np.concatenate([pool, near[limits.allow(costs, near)]]), axis=0)
        if len(pool) >= 4 * count:
            break
    if not len(pool):
        raise limits.refusal(costs)
    pool = rng.permutation(pool)  # so that chance decides between equal costs
    return _spread(pool, np.log(costs.macs(pool)), count)


def _between_ends(space: SearchSpace, count: int, rng: Generator) -> Encodings:
    """Architectures of every size: each leans, by its own degree, to the least or the greatest choices."""
    lean = rng.random((count, 1))
    extreme = np.where(rng.random((count, len(space.upper))) < lean, space.upper, space.lower)
    mixed = rng.random((count, 1)) < 0.5
    free = rng.random(extreme.shape) < 0.5
    return space.repair(np.where(mixed & free, rng.integers(space.lower, space.upper + 1, extreme.shape), extreme))


def _spread(pool: Encodings, log_costs: NDArray[np.float64], count: int) -> Encodings:
    """Both ends of the pool and, for each of the levels between them, the nearest one that is left."""
    order = np.argsort(log_costs, kind="stable")
    pool, log_costs = pool[order], log_costs[order]
    if len(pool) <= count:
        return pool
    chosen = {0, len(pool) - 1} if count > 1 else {0}
    for level in np.linspace(log_costs[0], log_costs[-1], count)[1:-1]:
        nearest = np.argsort(np.abs(log_costs - level), kind="stable")
        chosen.add(int(next(i for i in nearest if int(i) not in chosen)))
    return pool[sorted(chosen)]


def sample_like(space: SearchSpace, encodings: Encodings, count: int, rng: Generator) -> Encodings:
    """Draws each gene on its own from the given encodings, as NAT draws the subnets that adapt the supernet.

    Args:
        space: the space of the encodings.
        encodings: the archive, shape (n, genes), n of at least 1.
        count: how many to draw.
        rng: source of randomness.
    """
    rows = rng.integers(len(encodings), size=(count, encodings.shape[1]))
    return space.repair(encodings[rows, np.arange(encodings.shape[1])])


def mutate(space: SearchSpace, encodings: Encodings, rng: Generator, probability: float) -> Encodings:
    """Encodings (n, genes) with each gene redrawn with the given probability, uniformly over its codes."""
    redrawn = rng.integers(space.lower, space.upper + 1, encodings.shape)
    return space.repair(np.where(rng.random(encodings.shape) < probability, redrawn, encodings))


def vary(space: SearchSpace, encodings: Encodings, rng: Generator, genes: int) -> Encodings:
    """Encodings (n, genes) with so many genes of each redrawn, uniformly; one may come out as it was."""
    places = rng.random(encodings.shape).argsort(axis=1)[:, :genes]
    redrawn = rng.integers(space.lower, space.upper + 1, encodings.shape)
    varied = encodings.copy()
    np.put_along_axis(varied, places, np.take_along_axis(redrawn, places, axis=1), axis=1)
    return space.repair(varied)


def crossover(space: SearchSpace, first: Encodings, second: Encodings, rng: Generator) -> Encodings:
    """Children (n, genes) of parents (n, genes), row by row: each gene is one of the two's, with equal chances."""
    return space.repair(np.where(rng.random(first.shape) < 0.5, first, second))
