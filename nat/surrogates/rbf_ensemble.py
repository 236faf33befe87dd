"""NAT's surrogate: radial basis functions on random subsets of the features."""

import numpy as np

from nat.surrogates.base import Floats
from nat.surrogates.folds import FoldEnsemble, Regression
from nat.surrogates.rbf import CubicRBF


class RBFEnsemble(FoldEnsemble):
    """Median of cubic RBFs, each on a random number of random features (Lu et al., TPAMI 2021).

    NAT takes 500 on all rows; here are ten, and each leaves a tenth of the rows out, so that the uncertainty can be
    told. The subsets have half of the features at least: on less, many architectures look alike.
    """

    name = "rbf-ensemble"

    def __init__(self, members: int = 10, folds: int = 10, seed: int = 0) -> None:
        super().__init__(members, folds, seed)

    def train(self, features: Floats, targets: Floats, rng: np.random.Generator) -> Regression:
        """See `FoldEnsemble.train`."""
        width = features.shape[1]
        model = _OnSubset(rng.choice(width, int(rng.integers((width + 1) // 2, width + 1)), replace=False))
        model.rbf.fit(features[:, model.columns], targets)
        return model


class _OnSubset:
    """An interpolant that sees some columns only."""

    def __init__(self, columns: np.ndarray) -> None:
        self.columns = np.sort(columns)
        self.rbf = CubicRBF(bounds=(-np.inf, np.inf))

    def __call__(self, features: Floats) -> Floats:
        return self.rbf.mean(features[:, self.columns])
