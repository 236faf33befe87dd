"""Gaussian process with a Matern kernel and a length scale for each feature.

The hyperparameters maximise the posterior density (marginal likelihood times priors), whose gradient with respect to
all length scales costs one matrix product here, which makes them affordable: 300 points of 40 features in a
third of a second on one core. Scikit-learn's regressor has no priors, and many length scales without priors over-fit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.linalg import LinAlgError
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from nat.surrogates.base import ERROR_BOUNDS, Floats, one_thread, standardised, training_rows

JITTER = 1e-8
STEPS = 100


@dataclass(frozen=True, slots=True)
class _Priors:
    """Normal priors on the logarithms of the hyperparameters, for standardised targets and features in [0, 1].

    The vector of logarithms is: common length scale, signal variance, noise variance, then how much the
    length scale of each feature differs from the common one.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, dimensions: int) -> "_Priors":
        """Length scales that grow with the number of features, and noise of 2 % of the variance or so.

        Hvarfner et al. 2024 (https://arxiv.org/abs/2402.02229) give every length scale a LogNormal(sqrt 2 + log(d) / 2,
        sqrt 3) of its own. Here the common one has it, and those of single features differ from it by a factor of e^0.5
        or so, because features describe layers of one kind.
        """
        deviations = np.zeros(dimensions)
        return cls(
            np.array([np.sqrt(2) + np.log(dimensions) / 2, 0.0, -4.0, *deviations]),
            np.array([np.sqrt(3), 2.0, 1.0, *(deviations + 0.5)]),
        )

    def penalty(self, logarithms: Floats) -> tuple[float, Floats]:
        """Negative log density, up to a constant, and its gradient."""
        distance = (logarithms - self.mean) / self.deviation
        return 0.5 * float(distance @ distance), distance / self.deviation


@dataclass(frozen=True, slots=True)
class _Posterior:
    """What `GaussianProcess` keeps: scaled training rows `(n, d)`, the factor of their covariance, and weights."""

    lengths: Floats
    variance: float
    rows: Floats
    factor: Floats
    weights: Floats
    mean: float
    scale: float


class GaussianProcess:
    """Regression with a Matern-3/2 kernel, noise, and a length scale for each feature (Rasmussen and Williams 2006).

    On 842 measured subnets of the once-for-all supernet this kernel ranks unseen ones better than Matern-5/2, with one
    length scale or many (`benchmarks/surrogates.py`). Targets are standardised inside. The standard deviation is the
    one of the noise-free function: it falls at the training rows, though not to 0.

    Args:
        bounds: smallest and largest mean that is predicted; an error cannot leave [0, 1].
    """

    name = "gp"

    def __init__(self, bounds: tuple[float, float] = ERROR_BOUNDS) -> None:
        self.bounds = bounds
        self._posterior: _Posterior | None = None

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`."""
        rows, values = training_rows(features, targets)
        scaled, mean, scale = standardised(values)
        with one_thread():
            lengths, variance, noise = _natural(_fitted(rows, scaled))
            covariance = variance * _matern(_squares(rows / lengths, rows / lengths))[0]
            factor = cholesky(covariance + (noise + JITTER) * np.eye(len(rows)), lower=True)
            weights = cho_solve((factor, True), scaled)
        self._posterior = _Posterior(lengths, variance, rows / lengths, factor, weights, mean, scale)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        if (fitted := self._posterior) is None:
            raise RuntimeError("expected a call of fit before predict.")
        rows = np.asarray(features, dtype=float) / fitted.lengths
        covariance = fitted.variance * _matern(_squares(rows, fitted.rows))[0]
        with one_thread():
            mean = fitted.mean + fitted.scale * (covariance @ fitted.weights)
            explained = (solve_triangular(fitted.factor, covariance.T, lower=True) ** 2).sum(axis=0)
        deviation = np.sqrt(np.maximum(fitted.variance - explained, 0.0))
        return np.clip(mean, *self.bounds), fitted.scale * deviation

    def covariance(self, features: Floats) -> Floats:
        """Covariance of the predictions for features (m, d), shape (m, m); its diagonal is their squared deviation."""
        if (fitted := self._posterior) is None:
            raise RuntimeError("expected a call of fit before covariance.")
        rows = np.asarray(features, dtype=float) / fitted.lengths
        across = fitted.variance * _matern(_squares(rows, fitted.rows))[0]
        with one_thread():
            explained = solve_triangular(fitted.factor, across.T, lower=True)
            joint: Floats = fitted.variance * _matern(_squares(rows, rows))[0] - explained.T @ explained
        return fitted.scale**2 * joint


def _natural(logarithms: Floats) -> tuple[Floats, float, float]:
    """Length scales `(d,)`, signal variance and noise variance."""
    common, variance, noise = logarithms[:3]
    return np.exp(common + logarithms[3:]), float(np.exp(variance)), float(np.exp(noise))


def _squares(left: Floats, right: Floats) -> Floats:
    squares: Floats = cdist(left, right, "sqeuclidean")
    return squares


def _matern(squares: Floats) -> tuple[Floats, Floats]:
    """Matern-3/2 correlation at squared distances, and its derivative by the squared distance."""
    distance = np.sqrt(3.0 * squares)
    decay = np.exp(-distance)
    return (1.0 + distance) * decay, -1.5 * decay


def _fitted(rows: Floats, targets: Floats) -> Floats:
    """Logarithms of the hyperparameters of highest posterior density, found from the mean of the priors."""
    priors = _Priors.of(rows.shape[1])
    limits = list(zip(priors.mean - 4 * priors.deviation, priors.mean + 4 * priors.deviation, strict=True))

    def loss(logarithms: Floats) -> tuple[float, Floats]:
        misfit, slope = _misfit(logarithms, rows, targets)
        penalty, slope_of_penalty = priors.penalty(logarithms)
        return misfit + penalty, slope + slope_of_penalty

    start = priors.mean.copy()
    start[0] = np.log(rows.shape[1]) / 2  # the diagonal of the unit cube; longer ones have flat gradients
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": STEPS})
    found: Floats = result.x
    return found


def _misfit(logarithms: Floats, rows: Floats, targets: Floats) -> tuple[float, Floats]:
    """Negative log marginal likelihood, up to a constant, and its gradient (Rasmussen and Williams 2006, eq. 5.9).

    The gradient by a log length scale, l, sums q_ab (x_a - x_b)^2 / l^2 over all pairs of rows, which equals
    2 (sum_a q_a. x_a^2 - x' q x) / l^2: no tensor of shape `(n, n, d)` is needed.
    """
    lengths, variance, noise = _natural(logarithms)
    scaled = rows / lengths
    correlation, slope = _matern(_squares(scaled, scaled))
    identity = np.eye(len(rows))
    try:
        factor = cholesky(variance * correlation + (noise + JITTER) * identity, lower=True)
    except LinAlgError:  # rounding of nearly equal rows without noise: a step too far, the search turns back
        return 1e10, np.zeros_like(logarithms)
    inverse = cho_solve((factor, True), identity)
    weights = inverse @ targets
    value = 0.5 * targets @ weights + np.log(np.diag(factor)).sum()
    pull = np.outer(weights, weights) - inverse
    pairs = variance * pull * slope
    by_length = 2 * (pairs.sum(axis=1) @ scaled**2 - (scaled * (pairs @ scaled)).sum(axis=0))
    by_variance = -0.5 * variance * (pull * correlation).sum()
    by_noise = -0.5 * noise * np.trace(pull)
    return float(value), np.array([by_length.sum(), by_variance, by_noise, *by_length])
