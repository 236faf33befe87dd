"""Gaussian process with a Matern kernel and a length scale for each feature: the plain one of the literature."""

import numpy as np

from nat.surrogates.base import ERROR_BOUNDS, Floats, standardised, training_rows
from nat.surrogates.kernels import Matern
from nat.surrogates.posterior import Posterior, fitted

NOISE = (-4.0, 1.0)


class GaussianProcess:
    """Regression with a Matern-3/2 kernel, noise, and a length scale for each feature (Rasmussen and Williams 2006).

    Matern-5/2, the usual one, ranks a little worse on the tables of benchmarks/README.md.

    Targets are standardised inside; the noise is 2 % of their variance or so. The standard deviation is the one of the
    noise-free function: it falls at the training rows, though not to 0.

    Args:
        bounds: smallest and largest mean that is predicted; an error cannot leave [0, 1].
    """

    name = "gp"

    def __init__(self, bounds: tuple[float, float] = ERROR_BOUNDS) -> None:
        self.bounds = bounds
        self._posterior: Posterior | None = None
        self._mean, self._scale = 0.0, 1.0

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`."""
        rows, values = training_rows(features, targets)
        scaled, self._mean, self._scale = standardised(values)
        self._posterior = fitted(Matern(1.5), rows, scaled, NOISE)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        mean, variance = self._known().predict(np.asarray(features, dtype=float))
        return np.clip(self._mean + self._scale * mean, *self.bounds), self._scale * np.sqrt(variance)

    def covariance(self, features: Floats) -> Floats:
        """See `JointSurrogate.covariance`."""
        return self._scale**2 * self._known().covariance(np.asarray(features, dtype=float))

    def _known(self) -> Posterior:
        if self._posterior is None:
            raise RuntimeError("expected a call of fit before predict.")
        return self._posterior
