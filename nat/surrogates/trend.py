"""The default surrogate: a Gaussian process that knows how the errors of elastic networks behave."""

import numpy as np
from scipy.special import expit, logit

from nat.surrogates.base import Floats, standardised, training_rows
from nat.surrogates.kernels import Linear, Matern, Sum
from nat.surrogates.posterior import Posterior, fitted

NOISE = (-6.0, 2.0)
FEW_LEVELS = 8
STEP = 0.3
CATEGORY = 0.5
MANY_ROWS = 100


class TrendGaussianProcess:
    """Effects that add up, plus a smooth function of everything, of the logit of the error.

    Three priors make it better than `GaussianProcess`, and none is about one space:

    - On the scale of the logit, as on that of the logarithm, more of anything helps ever less.
    - Most of what a choice does adds up. A linear kernel has a slope for each column and, with a smaller variance, a
      weight for each step from one level to the next: 7x7 is as far from 5x5 as the data say.
    - The rest is smooth, in the sizes of stages above all: a Matern-5/2 kernel with a length scale for each column. It
      sees which level a column has, too, as a category: what 7x7 does in some place need not be in line with 3x3 and
      5x5, and where it is hardly known, the deviation says so.

    The standard deviation and the covariance are of the noise-free function, to first order from logits to errors.
    """

    name = "trend-gp"

    def __init__(self) -> None:
        self._posterior: Posterior | None = None
        self._levels = _Levels(np.zeros((1, 0)))
        self._mean, self._scale = 0.0, 1.0

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`; errors below 0 or above 1 count as 0 and 1."""
        rows, values = training_rows(features, targets)
        scaled, self._mean, self._scale = standardised(_logits(values))
        self._levels = _Levels(rows)
        kernel = Sum(Linear(), Matern(2.5), columns=self._levels.count)
        self._posterior = fitted(kernel, self._inputs(rows), scaled, NOISE)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        mean, variance = self._known().predict(self._inputs(features))
        errors = expit(self._mean + self._scale * mean)
        return errors, self._slopes(errors) * np.sqrt(variance)

    def covariance(self, features: Floats) -> Floats:
        """See `JointSurrogate.covariance`."""
        slopes = self._slopes(self.predict(features)[0])
        return slopes[:, None] * self._known().covariance(self._inputs(features)) * slopes

    def _inputs(self, features: Floats) -> Floats:
        """Steps, for the linear kernel, beside features and categories for the other."""
        rows = np.asarray(features, dtype=float)
        return np.hstack([self._levels.steps(rows), rows, self._levels.categories(rows)])

    def _slopes(self, errors: Floats) -> Floats:
        """Change of the error with the standardised logit."""
        return self._scale * errors * (1 - errors)

    def _known(self) -> Posterior:
        if self._posterior is None:
            raise RuntimeError("expected a call of fit before predict.")
        return self._posterior


class _Levels:
    """The levels that columns have in the training rows, where they are few.

    Attributes:
        count: number of columns of `steps`.
    """

    def __init__(self, rows: Floats) -> None:
        levels = [np.unique(column) for column in rows.T]
        self._varied = [index for index, found in enumerate(levels) if len(found) > 1]
        self._few = [(index, levels[index]) for index in self._varied if len(levels[index]) <= FEW_LEVELS]
        self._apart = CATEGORY * min(1.0, len(rows) / MANY_ROWS)
        self._centre = np.zeros(1)
        raw = self.steps(rows)
        self._centre, self.count = raw.mean(axis=0), raw.shape[1]

    def steps(self, rows: Floats) -> Floats:
        """Columns, and whether each has reached each of its levels (a thermometer), shape (n, count), of rows (n, d).

        Columns that are constant in the training rows are left out; all are around their means there.
        """
        reached = [STEP * (rows[:, [index]] >= levels[1:]) for index, levels in self._few]
        return np.concatenate([rows[:, self._varied], *reached], axis=1) - self._centre

    def categories(self, rows: Floats) -> Floats:
        """Whether each column is at each of its levels, for columns that have more than two; of rows (n, d).

        The further apart they are, the less one level says of another, and the more must be learned: with fewer than
        `MANY_ROWS` training rows they are nearer.
        """
        at = [self._apart * (rows[:, [index]] == levels) for index, levels in self._few if len(levels) > 2]
        return np.concatenate([np.zeros((len(rows), 0)), *at], axis=1)


def _logits(errors: Floats) -> Floats:
    """Log odds; errors of 0 and 1 as if half as far from there as the nearest other, or 0.001."""
    inside = errors[(errors > 0) & (errors < 1)]
    margin = 0.5 * float(min(inside.min(), 1 - inside.max())) if len(inside) else 1e-3
    odds: Floats = logit(np.clip(errors, margin, 1 - margin))
    return odds
