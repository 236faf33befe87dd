"""Cubic radial basis functions with a linear tail: the surrogate of MSuNAS and NAT."""

from dataclasses import dataclass

import numpy as np

from nat.surrogates.base import ERROR_BOUNDS, Floats, one_thread, squared_distances, standardised, training_rows

RANK_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class _Interpolant:
    """What `CubicRBF` keeps of r distinct training rows that differ in k directions.

    Attributes:
        origin: mean of the rows, shape `(d,)`.
        directions: orthonormal basis of what they span around it, shape `(d, k)`.
        centres: their coordinates in that basis, shape `(r, k)`.
        inverse: inverse of the interpolation matrix, shape `(r + 1 + k, r + 1 + k)`.
        weights: coefficients of the cubes and of the tail, shape `(r + 1 + k,)`.
        spread: factor from the power function to a standard deviation of the scaled targets.
        mean: of the targets.
        scale: standard deviation of the targets.
    """

    origin: Floats
    directions: Floats
    centres: Floats
    inverse: Floats
    weights: Floats
    spread: float
    mean: float
    scale: float

    def place(self, features: Floats) -> tuple[Floats, Floats]:
        """Coordinates `(m, k)` of rows, and their squared distances `(m,)` from what the training rows span."""
        moved = features - self.origin
        coordinates = moved @ self.directions
        return coordinates, np.maximum((moved**2).sum(axis=1) - (coordinates**2).sum(axis=1), 0.0)

    def basis(self, coordinates: Floats, away: Floats) -> Floats:
        """Cubes of the distances to the centres, then the tail; shape `(m, r + 1 + k)`."""
        squares = squared_distances(coordinates, self.centres) + away[:, None]
        cubes = squares * np.sqrt(squares)
        return np.hstack([cubes, np.ones((len(coordinates), 1)), coordinates])


class CubicRBF:
    """Interpolates with sums of cubed distances plus a linear tail (Powell 1992; MSuNAS: Lu et al. 2020).

    Equal rows are averaged first. The tail lives in the directions that the training rows span, so that few rows and
    constant columns are no special cases; where they span all, this is SciPy's `RBFInterpolator(kernel="cubic")`.

    The standard deviation is the power function of the interpolant (0 at the training rows, growing with the distance
    from them), scaled so that the leave-one-out residuals, which Rippa (1999) has in closed form, have unit variance.
    Away from what the training rows span, the power function of a single centre, 2 h^3, is added to its square.

    Args:
        bounds: smallest and largest mean that is predicted; an error cannot leave [0, 1].
    """

    name = "rbf"

    def __init__(self, bounds: tuple[float, float] = ERROR_BOUNDS) -> None:
        self.bounds = bounds
        self._interpolant: _Interpolant | None = None

    def fit(self, features: Floats, targets: Floats) -> None:
        """See `Surrogate.fit`."""
        rows, values = training_rows(features, targets)
        distinct, group, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        scaled, mean, scale = standardised(np.bincount(group.ravel(), weights=values) / counts)
        with one_thread():
            origin, directions = _span(distinct)
            centres = (distinct - origin) @ directions
            inverse: Floats = np.linalg.pinv(_matrix(centres), rcond=1e-15, hermitian=True).astype(np.float64)
        weights = inverse[:, : len(centres)] @ scaled
        spread = _spread(inverse, weights, len(centres))
        self._interpolant = _Interpolant(origin, directions, centres, inverse, weights, spread, mean, scale)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `Surrogate.predict`."""
        if (fitted := self._interpolant) is None:
            raise RuntimeError("expected a call of fit before predict.")
        with one_thread():
            coordinates, away = fitted.place(np.asarray(features, dtype=float))
            inside = fitted.basis(coordinates, np.zeros_like(away))
            power = np.maximum(-((inside @ fitted.inverse) * inside).sum(axis=1), 0.0) + 2 * away**1.5
        return self.mean(features), fitted.scale * fitted.spread * np.sqrt(power)

    def mean(self, features: Floats) -> Floats:
        """The mean alone, which is much sooner known."""
        if (fitted := self._interpolant) is None:
            raise RuntimeError("expected a call of fit before predict.")
        with one_thread():
            mean = fitted.mean + fitted.scale * (
                fitted.basis(*fitted.place(np.asarray(features, float))) @ fitted.weights
            )
        return np.clip(mean, *self.bounds)


def _span(centres: Floats) -> tuple[Floats, Floats]:
    """Mean of the rows, and an orthonormal basis, shape `(d, k)`, of the directions in which they differ."""
    origin = centres.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centres - origin, full_matrices=False)
    rank = int((sizes > RANK_TOLERANCE * max(1.0, sizes[0])).sum())
    return origin, directions[:rank].T


def _matrix(centres: Floats) -> Floats:
    """Cubed distances between centres, bordered by the tail that their weights must be orthogonal to."""
    tail = np.hstack([np.ones((len(centres), 1)), centres])
    corner = np.zeros((tail.shape[1], tail.shape[1]))
    squares = squared_distances(centres, centres)
    return np.block([[squares * np.sqrt(squares), tail], [tail.T, corner]])


def _spread(inverse: Floats, weights: Floats, centres: int) -> float:
    """Root mean square of leave-one-out residuals over the power function there; 1 if the tail alone fits.

    With c the diagonal of the inverse, the residual is w / c and the squared power function 1 / c.
    """
    diagonal = np.abs(np.diag(inverse)[:centres])
    used = diagonal > RANK_TOLERANCE
    if not used.any():
        return 1.0
    return float(np.sqrt(np.mean(weights[:centres][used] ** 2 / diagonal[used])))
