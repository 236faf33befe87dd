"""Adaptive switching of MSuNAS: cross-validation picks the surrogate that ranks best, at every fit anew."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nat.errors import InputError
from nat.surrogates.base import ERROR_BOUNDS, Floats, Surrogate, training_rows
from nat.surrogates.folds import deal
from nat.surrogates.gp import GaussianProcess
from nat.surrogates.rbf import CubicRBF

FEWEST_IN_A_FOLD = 3


class SwitchingSurrogate:
    """Fits each candidate on k folds, and the one with the best Kendall tau (mean - deviation) on all data.

    MSuNAS (Lu et al. 2020, https://arxiv.org/abs/2007.10396) does so with ten folds. With too few rows for two
    folds of three, the first candidate is taken unseen. Ties go to the candidate named first.

    Args:
        candidates: surrogates with different names; by default a cubic RBF and a Gaussian process.
        folds: number of folds, at least 2; fewer are made while a fold would hold less than three rows.
        seed: of the permutation that deals the rows out.
        bounds: smallest and largest mean that is predicted; an error cannot leave [0, 1].

    Attributes:
        chosen: name of the candidate that predicts; empty before the first `fit`.
        cross_validated_tau: mean Kendall tau over the folds, out of sample, by name; empty if rows were too few.
    """

    name = "switching"

    def __init__(
        self,
        candidates: Sequence[Surrogate] | None = None,
        *,
        folds: int = 10,
        seed: int = 0,
        bounds: tuple[float, float] = ERROR_BOUNDS,
    ) -> None:
        self.candidates = (CubicRBF(bounds), GaussianProcess(bounds)) if candidates is None else tuple(candidates)
        names = [candidate.name for candidate in self.candidates]
        if not names or len(set(names)) < len(names) or folds < 2:
            raise InputError(f"expected candidates with different names and at least 2 folds, got {names}, {folds}.")
        self.folds = folds
        self.seed = seed
        self.bounds = bounds
        self.chosen = ""
        self.cross_validated_tau: dict[str, float] = {}
        self._winner = self.candidates[0]

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`."""
        rows, values = training_rows(features, targets)
        folds = _folds(len(rows), self.folds, self.seed)
        taus = {c.name: _taus(c, rows, values, folds) for c in self.candidates} if len(folds) > 1 else {}
        self.cross_validated_tau = {name: float(tau.mean()) for name, tau in taus.items()}
        scores = [taus[c.name].mean() - taus[c.name].std() if taus else 0.0 for c in self.candidates]
        self._winner = self.candidates[int(np.argmax(scores))]
        self._winner.fit(rows, values)
        self.chosen = self._winner.name

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        if not self.chosen:
            raise RuntimeError("expected a call of fit before predict.")
        mean, deviation = self._winner.predict(features)
        return np.clip(mean, *self.bounds), deviation


def _folds(rows: int, folds: int, seed: int) -> list[NDArray[np.bool_]]:
    """Masks of the rows that each fold holds out; none where there are too few rows."""
    count = min(folds, rows // FEWEST_IN_A_FOLD)
    return deal(rows, count, np.random.default_rng(seed)) if count > 1 else []


def _taus(surrogate: Surrogate, rows: Floats, values: Floats, folds: list[NDArray[np.bool_]]) -> Floats:
    """Kendall tau on each fold after training on the others; 0 where nothing can be ranked."""
    taus = []
    for held_out in folds:
        surrogate.fit(rows[~held_out], values[~held_out])
        predicted, _ = surrogate.predict(rows[held_out])
        taus.append(float(kendalltau(predicted, values[held_out]).statistic))
    return np.array([0.0 if np.isnan(tau) else tau for tau in taus])
