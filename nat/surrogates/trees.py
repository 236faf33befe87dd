"""Gradient-boosted trees."""

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from nat.surrogates.base import Floats
from nat.surrogates.folds import FoldEnsemble, Regression


class BoostedTrees(FoldEnsemble):
    """Median of scikit-learn's gradient boosting (Friedman 2001), each model without one fold of the rows.

    Args:
        members: number of models.
        folds: see `FoldEnsemble`.
        seed: of folds and trees.
        trees: in each model.
    """

    name = "trees"

    def __init__(self, members: int = 5, folds: int = 5, seed: int = 0, *, trees: int = 200) -> None:
        super().__init__(members, folds, seed)
        self.trees = trees

    def train(self, features: Floats, targets: Floats, rng: np.random.Generator) -> Regression:
        """See `FoldEnsemble.train`."""
        model = GradientBoostingRegressor(
            n_estimators=self.trees,
            learning_rate=0.08,
            max_depth=3,
            subsample=0.7 if len(features) > 3 else 1.0,
            max_features=0.5,
            random_state=int(rng.integers(2**31)),
        )
        predict: Regression = model.fit(features, targets).predict
        return predict
