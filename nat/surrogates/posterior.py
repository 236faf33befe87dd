"""What a Gaussian process knows: hyperparameters of highest posterior density, and functions given the data.

The density of the hyperparameters is the marginal likelihood times priors. Its gradient by all of them costs one
inverse and a few matrix products, which makes a length scale for each feature affordable. Scikit-learn's regressor
has no priors, and many length scales without priors over-fit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.linalg import LinAlgError
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from nat.surrogates.base import Floats, one_thread
from nat.surrogates.kernels import Kernel, Priors

JITTER = 1e-8
STEPS = 60


@dataclass(frozen=True, slots=True)
class Posterior:
    """A Gaussian process given rows.

    Attributes:
        kernel: covariance function.
        logarithms: its hyperparameters.
        rows: training rows, shape (n, d).
        factor: lower Cholesky factor of the covariance of their noisy targets, shape (n, n).
        weights: inverse of that covariance times the targets, shape (n,).
    """

    kernel: Kernel
    logarithms: Floats
    rows: Floats
    factor: Floats
    weights: Floats

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of the noise-free function for features (m, d), each of shape (m,)."""
        with one_thread():
            across = self.kernel.covariance(self.logarithms, features, self.rows)
            explained = (self._explain(across) ** 2).sum(axis=0)
            variance = self.kernel.variance(self.logarithms, features) - explained
            return across @ self.weights, np.maximum(variance, 0.0)

    def covariance(self, features: Floats) -> Floats:
        """Joint covariance of the noise-free function for features (m, d), shape (m, m)."""
        with one_thread():
            explained = self._explain(self.kernel.covariance(self.logarithms, features, self.rows))
            joint: Floats = self.kernel.covariance(self.logarithms, features, features) - explained.T @ explained
        return joint

    def _explain(self, across: Floats) -> Floats:
        explained: Floats = solve_triangular(self.factor, across.T, lower=True)
        return explained


def fitted(kernel: Kernel, rows: Floats, targets: Floats, noise: tuple[float, float]) -> Posterior:
    """The posterior at the best hyperparameters.

    Args:
        kernel: covariance function.
        rows: shape (n, d).
        targets: standardised, shape (n,).
        noise: mean and deviation of the normal prior on the logarithm of the noise's variance.
    """
    with one_thread():
        found = best_logarithms(kernel, rows, targets, noise)
        covariance = kernel.covariance(found[1:], rows, rows) + (np.exp(found[0]) + JITTER) * np.eye(len(rows))
        factor = cholesky(covariance, lower=True)
        return Posterior(kernel, found[1:], rows, factor, cho_solve((factor, True), targets))


def best_logarithms(kernel: Kernel, rows: Floats, targets: Floats, noise: tuple[float, float]) -> Floats:
    """Logarithm of the noise's variance, then those of the kernel; see `fitted`."""
    own = kernel.priors(rows.shape[1])
    mean, deviation = noise
    priors = Priors(*(np.array([first, *rest]) for first, rest in zip((mean, deviation, mean), own.parts, strict=True)))

    def loss(logarithms: Floats) -> tuple[float, Floats]:
        misfit, slope = negative_log_likelihood(kernel, logarithms, rows, targets)
        penalty, slope_of_penalty = priors.penalty(logarithms)
        return misfit + penalty, slope + slope_of_penalty

    options = {"maxiter": STEPS}
    result = minimize(loss, priors.start, jac=True, method="L-BFGS-B", bounds=priors.limits(), options=options)
    found: Floats = result.x
    return found


def negative_log_likelihood(kernel: Kernel, logarithms: Floats, rows: Floats, targets: Floats) -> tuple[float, Floats]:
    """Of the targets, up to a constant, and its gradient (Rasmussen and Williams 2006, eq. 5.9)."""
    noise = float(np.exp(logarithms[0]))
    covariance, slope = kernel.with_slope(logarithms[1:], rows)
    try:
        factor = cholesky(covariance + (noise + JITTER) * np.eye(len(rows)), lower=True)
    except LinAlgError:  # rounding of nearly equal rows without noise: a step too far, the search turns back
        return 1e10, np.zeros_like(logarithms)
    lower = dpotri(factor, lower=1)[0]
    inverse = np.tril(lower) + np.tril(lower, -1).T
    weights = inverse @ targets
    pull = np.outer(weights, weights) - inverse
    value = 0.5 * targets @ weights + np.log(np.diag(factor)).sum()
    return float(value), -0.5 * np.array([noise * np.trace(pull), *slope(pull)])
