"""Bayesian linear regression on one-hot codes: each choice of each layer has an effect of its own, and they add up."""

import numpy as np
from sklearn.linear_model import BayesianRidge

from nat.surrogates.base import ERROR_BOUNDS, Floats, one_thread, standardised, training_rows

MOST_LEVELS = 8


class OneHotRidge:
    """Scikit-learn's `BayesianRidge` (MacKay 1992) on one-hot codes of columns with few values and the others as is.

    The standard deviation is that of the weights and the noise together.

    Args:
        bounds: smallest and largest mean that is predicted; an error cannot leave [0, 1].
    """

    name = "ridge"

    def __init__(self, bounds: tuple[float, float] = ERROR_BOUNDS) -> None:
        self.bounds = bounds
        self._levels: list[Floats] = []
        self._model: BayesianRidge | None = None
        self._mean, self._scale = 0.0, 1.0

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`."""
        rows, values = training_rows(features, targets)
        scaled, self._mean, self._scale = standardised(values)
        self._levels = [np.unique(column) for column in rows.T]
        with one_thread():
            self._model = BayesianRidge().fit(self._coded(rows), scaled)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        if self._model is None:
            raise RuntimeError("expected a call of fit before predict.")
        rows = np.asarray(features, dtype=float)
        if not len(rows):
            return np.zeros(0), np.zeros(0)
        with one_thread():
            mean, deviation = self._model.predict(self._coded(rows), return_std=True)
        return np.clip(self._mean + self._scale * mean, *self.bounds), self._scale * deviation

    def _coded(self, rows: Floats) -> Floats:
        """A column for each level of a column with few; levels that training had not are all zeros."""
        columns = []
        for column, levels in zip(rows.T, self._levels, strict=True):
            few = len(levels) <= MOST_LEVELS
            columns.append(column[:, None] == levels if few else column[:, None])
        return np.concatenate(columns, axis=1, dtype=float)
