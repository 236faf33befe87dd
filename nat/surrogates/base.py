"""What every surrogate offers, and how it takes its data.

A surrogate learns one objective (the top-1 error) from features of architectures that have been evaluated, and
predicts it, with an uncertainty, for others. Any object with these members is one; nothing is registered.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
ERROR_BOUNDS = (0.0, 1.0)


class Surrogate(Protocol):
    """A regression model that can be fitted again and again; each `fit` forgets the one before.

    Attributes:
        name: what reports call it.
    """

    name: str

    def fit(self, features: Floats, targets: Floats) -> None:
        """Learns from evaluated architectures; the same rows in any order give the same model.

        Args:
            features: shape `(n, d)`, in [0, 1], n at least 1; not modified. Rows may repeat, columns may be constant.
            targets: shape `(n,)`, finite, to be minimised; not modified.
        """

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the target, each of shape `(m,)`, for features of shape `(m, d)`."""


@runtime_checkable
class JointSurrogate(Surrogate, Protocol):
    """A surrogate that also says how predictions depend on each other; what a batch of choices can make use of.

    Who believes that some architectures turn out as predicted (Kriging believer) keeps all means, and conditions this
    covariance: with c the column of the believed one, covariance - c c' / variance.
    """

    def covariance(self, features: Floats) -> Floats:
        """Covariance of the predictions for features (m, d), shape (m, m); its diagonal is their squared deviation."""


def training_rows(features: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Checked copies of the data in an order that depends on the values only.

    Args:
        features: shape `(n, d)`, n and d at least 1.
        targets: shape `(n,)`.

    Returns:
        Features and targets, sorted.

    Raises:
        ValueError: the shapes do not fit, there are no rows, or a value is not finite.
    """
    rows, values = np.asarray(features, dtype=float), np.asarray(targets, dtype=float)
    if rows.ndim != 2 or 0 in rows.shape or values.shape != rows.shape[:1]:
        raise ValueError(f"expected features (n, d) and targets (n,), got {rows.shape} and {values.shape}.")
    if not (np.isfinite(rows).all() and np.isfinite(values).all()):
        raise ValueError("expected finite features and targets. Leave failed evaluations out.")
    order = np.lexsort((values, *rows.T[::-1]))
    return rows[order], values[order]


def standardised(targets: Floats) -> tuple[Floats, float, float]:
    """Targets with mean 0 and standard deviation 1, the mean, and the deviation (1 if they are all equal)."""
    mean, deviation = float(targets.mean()), float(targets.std())
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        deviation = 1.0
    return (targets - mean) / deviation, mean, deviation


def squared_distances(left: Floats, right: Floats) -> Floats:
    """Of all pairs of rows (n, d) and (m, d), shape (n, m); by one matrix product, right to 1e-15 or so."""
    squares: Floats = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * (left @ right.T)
    return np.maximum(squares, 0.0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread, whose results do not depend on the number of cores.

    Matrices of a few hundred rows gain little from more threads, and lose a factor of ten where the cores are busy.
    """
    with threadpool_limits(1, user_api="blas"):
        yield
