"""Kernels of Gaussian processes: covariances, priors on the logarithms of their hyperparameters, gradients by them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nat.surrogates.base import Floats, squared_distances


@dataclass(frozen=True, slots=True)
class Priors:
    """Independent normal priors on logarithms, for standardised targets and features in [0, 1].

    Attributes:
        mean: of each, shape (p,).
        deviation: of each, shape (p,).
        start: where the search for the best begins, shape (p,).
    """

    mean: Floats
    deviation: Floats
    start: Floats

    @property
    def parts(self) -> tuple[Floats, Floats, Floats]:
        """Mean, deviation and start."""
        return self.mean, self.deviation, self.start

    def penalty(self, logarithms: Floats) -> tuple[float, Floats]:
        """Negative log density, up to a constant, and its gradient."""
        distance = (logarithms - self.mean) / self.deviation
        return 0.5 * float(distance @ distance), distance / self.deviation

    def limits(self) -> list[tuple[float, float]]:
        """Four standard deviations to either side."""
        return list(zip(self.mean - 4 * self.deviation, self.mean + 4 * self.deviation, strict=True))


Slope = Callable[[Floats], Floats]


class Kernel(Protocol):
    """A covariance function of rows of features, with a vector of logarithms as hyperparameters."""

    def priors(self, dimensions: int) -> Priors:
        """On the logarithms, for rows of that many features."""

    def covariance(self, logarithms: Floats, left: Floats, right: Floats) -> Floats:
        """Between rows (n, d) and (m, d), shape (n, m)."""

    def variance(self, logarithms: Floats, rows: Floats) -> Floats:
        """Of each row: the diagonal of `covariance(rows, rows)`, shape (n,)."""

    def with_slope(self, logarithms: Floats, rows: Floats) -> tuple[Floats, Slope]:
        """`covariance(rows, rows)`; and what takes symmetric q (n, n) to the gradient of `sum(q * covariance)`."""


class Matern:
    """Matern-3/2 or -5/2, with a length scale for each feature (Rasmussen and Williams 2006, eq. 4.17).

    The logarithms are: common length scale, variance, then how much the length scale of each feature differs from
    the common one. Hvarfner et al. 2024 (https://arxiv.org/abs/2402.02229) give every length scale a
    LogNormal(sqrt 2 + log(d) / 2, sqrt 3) of its own. Here the common one has it, and those of single features differ
    from it by a factor of e^0.5 or so, because features describe layers of one kind.

    Args:
        smoothness: 1.5 or 2.5.
    """

    def __init__(self, smoothness: float) -> None:
        self.smoothness = smoothness

    def priors(self, dimensions: int) -> Priors:
        """See `Kernel.priors`. The start is the diagonal of the unit cube: longer scales have flat gradients."""
        columns = np.zeros(dimensions)
        return Priors(
            mean=np.array([np.sqrt(2) + np.log(dimensions) / 2, 0.0, *columns]),
            deviation=np.array([np.sqrt(3), 2.0, *(columns + 0.5)]),
            start=np.array([np.log(dimensions) / 2, 0.0, *columns]),
        )

    def covariance(self, logarithms: Floats, left: Floats, right: Floats) -> Floats:
        """See `Kernel.covariance`."""
        lengths, variance = _lengths(logarithms)
        return variance * self._correlation(squared_distances(left / lengths, right / lengths))[0]

    def variance(self, logarithms: Floats, rows: Floats) -> Floats:
        """See `Kernel.variance`."""
        return np.full(len(rows), np.exp(logarithms[1]))

    def with_slope(self, logarithms: Floats, rows: Floats) -> tuple[Floats, Slope]:
        """See `Kernel.with_slope`.

        The gradient by a log length scale, l, sums p_ab (x_a - x_b)^2 / l^2 over all pairs of rows, which equals
        2 (sum_a p_a. x_a^2 - x' p x) / l^2: no tensor of shape `(n, n, d)` is needed.
        """
        lengths, variance = _lengths(logarithms)
        scaled = rows / lengths
        correlation, falling = self._correlation(squared_distances(scaled, scaled))
        covariance = variance * correlation

        def slope(pull: Floats) -> Floats:
            pairs = -2 * variance * pull * falling
            columns = 2 * (pairs.sum(axis=1) @ scaled**2 - (scaled * (pairs @ scaled)).sum(axis=0))
            return np.array([columns.sum(), (pull * covariance).sum(), *columns])

        return covariance, slope

    def _correlation(self, squares: Floats) -> tuple[Floats, Floats]:
        """Correlation at squared distances, and its derivative by the squared distance."""
        distance = np.sqrt(2 * self.smoothness * squares)
        decay = np.exp(-distance)
        if self.smoothness == 1.5:
            return (1 + distance) * decay, -1.5 * decay
        return (1 + distance + distance**2 / 3) * decay, -5 / 6 * (1 + distance) * decay


def _lengths(logarithms: Floats) -> tuple[Floats, float]:
    return np.exp(logarithms[0] + logarithms[2:]), float(np.exp(logarithms[1]))


class Linear:
    """Sums of features with independent normal weights: an automatic ridge regression.

    The logarithms are: common variance of the weights, then how much that of each feature differs from it.

    Args:
        differences: standard deviation of the latter's prior.
    """

    def __init__(self, differences: float = 1.0) -> None:
        self.differences = differences

    def priors(self, dimensions: int) -> Priors:
        """See `Kernel.priors`. The weights together explain about as much as there is."""
        columns = np.zeros(dimensions)
        mean = np.array([-np.log(max(dimensions, 1)), *columns])
        return Priors(mean=mean, deviation=np.array([2.0, *(columns + self.differences)]), start=mean)

    def covariance(self, logarithms: Floats, left: Floats, right: Floats) -> Floats:
        """See `Kernel.covariance`."""
        covariance: Floats = (left * np.exp(logarithms[0] + logarithms[1:])) @ right.T
        return covariance

    def variance(self, logarithms: Floats, rows: Floats) -> Floats:
        """See `Kernel.variance`."""
        variances: Floats = rows**2 @ np.exp(logarithms[0] + logarithms[1:])
        return variances

    def with_slope(self, logarithms: Floats, rows: Floats) -> tuple[Floats, Slope]:
        """See `Kernel.with_slope`."""
        variances = np.exp(logarithms[0] + logarithms[1:])

        def slope(pull: Floats) -> Floats:
            columns = variances * (rows * (pull @ rows)).sum(axis=0)
            return np.array([columns.sum(), *columns])

        return (rows * variances) @ rows.T, slope


class Sum:
    """One kernel of the first columns plus another of the rest: what they explain is independent.

    The logarithms of the first come first. Without columns for the first, the second is all there is.

    Args:
        first: of the first columns.
        second: of the other columns.
        columns: how many the first has.
    """

    def __init__(self, first: Kernel, second: Kernel, columns: int) -> None:
        self.first, self.second, self.columns = first, second, columns
        self._logarithms = len(first.priors(columns).mean)

    def _parts(self, logarithms: Floats, *rows: Floats) -> Iterator[tuple[Kernel, Floats, *tuple[Floats, ...]]]:
        """Each kernel with its logarithms and its columns."""
        yield self.first, logarithms[: self._logarithms], *(r[:, : self.columns] for r in rows)
        yield self.second, logarithms[self._logarithms :], *(r[:, self.columns :] for r in rows)

    def priors(self, dimensions: int) -> Priors:
        """See `Kernel.priors`."""
        first, second = self.first.priors(self.columns), self.second.priors(dimensions - self.columns)
        return Priors(*(np.concatenate(both) for both in zip(first.parts, second.parts, strict=True)))

    def covariance(self, logarithms: Floats, left: Floats, right: Floats) -> Floats:
        """See `Kernel.covariance`."""
        first, second = (kernel.covariance(*of) for kernel, *of in self._parts(logarithms, left, right))
        return first + second

    def variance(self, logarithms: Floats, rows: Floats) -> Floats:
        """See `Kernel.variance`."""
        first, second = (kernel.variance(*of) for kernel, *of in self._parts(logarithms, rows))
        return first + second

    def with_slope(self, logarithms: Floats, rows: Floats) -> tuple[Floats, Slope]:
        """See `Kernel.with_slope`."""
        (first, slope), (second, other) = (kernel.with_slope(*of) for kernel, *of in self._parts(logarithms, rows))
        return first + second, lambda pull: np.concatenate([slope(pull), other(pull)])
