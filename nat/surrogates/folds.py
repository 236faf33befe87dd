"""Ensembles of models that each leave a share of the rows out, by which they tell how far off they are."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nat.surrogates.base import ERROR_BOUNDS, Floats, standardised, training_rows

Regression = Callable[[Floats], Floats]


def deal(rows: int, folds: int, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Masks of the rows that each fold holds out, of nearly equal sizes."""
    dealt = rng.permutation(rows) % folds
    return [dealt == fold for fold in range(folds)]


class FoldEnsemble(ABC):
    """Median of models of the standardised targets, each trained without one fold.

    The standard deviation is that of the models, times what makes it fit the errors of those that had not seen a row.
    With no more rows than folds all models see all rows.

    Args:
        members: number of models.
        folds: into how many the rows are dealt; dealt again when all have been left out.
        seed: of folds and models.
        bounds: smallest and largest mean that is predicted; an error cannot leave [0, 1].
    """

    name: str

    def __init__(self, members: int, folds: int, seed: int = 0, bounds: tuple[float, float] = ERROR_BOUNDS) -> None:
        self.members, self.folds, self.seed, self.bounds = members, folds, seed, bounds
        self._models: list[Regression] = []
        self._mean, self._scale, self._ratio = 0.0, 1.0, 1.0

    @abstractmethod
    def train(self, features: Floats, targets: Floats, rng: np.random.Generator) -> Regression:
        """A model of targets (n,), standardised, given features (n, d); it predicts (m,) from (m, d)."""

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`."""
        rows, values = training_rows(features, targets)
        scaled, self._mean, self._scale = standardised(values)
        if np.ptp(values) == 0:  # whatever the models say
            self._scale = 0.0
        rng = np.random.default_rng(self.seed)
        held_out: list[NDArray[np.bool_]] = []
        while len(held_out) < self.members:
            held_out += deal(len(rows), self.folds, rng) if len(rows) > self.folds else [np.zeros(len(rows), bool)]
        unseen = np.array(held_out[: self.members])
        self._models = [self.train(rows[~mask], scaled[~mask], rng) for mask in unseen]
        self._ratio = _ratio(self._all(rows), unseen, scaled)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        if not self._models:
            raise RuntimeError("expected a call of fit before predict.")
        predicted = self._all(np.asarray(features, dtype=float))
        mean = self._mean + self._scale * np.median(predicted, axis=0)
        return np.clip(mean, *self.bounds), self._scale * self._ratio * predicted.std(axis=0)

    def _all(self, features: Floats) -> Floats:
        """Predictions of all models, shape (members, m)."""
        if not len(features):
            return np.zeros((len(self._models), 0))
        return np.array([model(features) for model in self._models])


def _ratio(predicted: Floats, unseen: NDArray[np.bool_], targets: Floats) -> float:
    """Root mean square error of the models that had not seen a row, by the root mean variance of all models."""
    spread = float(predicted.var(axis=0).mean())
    if not unseen.any() or spread < 1e-20:
        return 1.0
    return float(np.sqrt(((predicted - targets)[unseen] ** 2).mean() / spread))
