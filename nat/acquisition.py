"""Expected hypervolume improvement where one objective is uncertain and all others are known exactly.

Multiply-adds and parameters are arithmetic, so that of an architecture only the error is uncertain: normal, with the
surrogate's mean and deviation. The improvement is then an integral over one variable, in closed form for any number of
objectives, where expected hypervolume improvement in general needs an integral over all (Emmerich, Giannakoglou and
Naujoks, IEEE Trans. Evol. Comput. 10(4), 2006).

>>> front = np.array([[0.2, 3.0], [0.4, 1.0]])
>>> expected_improvement(np.array([0.1]), np.array([1e-9]), np.array([[2.0]]), front, np.array([0.5, 4.0])).round(3)
array([0.4])
"""

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nat.pareto import non_dominated

Floats = NDArray[np.float64]
LEAST_DEVIATION = 1e-9


def expected_improvement(mean: Floats, deviation: Floats, costs: Floats, front: Floats, reference: Floats) -> Floats:
    """How much each candidate is expected to add to the hypervolume, shape (n,), at least 0.

    A candidate of error e and costs c adds the volume of what it dominates and the front does not. Write W(v) for the
    volume, in the space of costs, that c dominates and the front's rows of error v or less do not: then it adds the
    integral of W from e to the reference, and is expected to add the integral of W(v) P(e < v). W is constant between
    the errors of the front, and the integral of the normal distribution function is known.

    Args:
        mean: of the error, shape (n,).
        deviation: of the error, shape (n,).
        costs: the other objectives, exact, shape (n, m - 1).
        front: objective values that have been reached, the error first, shape (k, m); dominated rows do no harm.
        reference: worst corner, shape (m,); what is not better in all objectives adds nothing.
    """
    front = front[(front < reference).all(axis=1)]
    front = front[non_dominated(front)]
    front = front[np.argsort(front[:, 0], kind="stable")]
    spread = np.maximum(deviation, LEAST_DEVIATION)[:, None]
    levels = np.append(front[:, 0], reference[0])
    z = (levels - mean[:, None]) / spread
    below = spread * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))  # integral of P(e < v) up to each level
    gained = np.diff(below, axis=1, prepend=0.0)
    open_volume = _open_volumes(costs, front[:, 1:], reference[1:])
    improvement: Floats = np.maximum((open_volume * gained).sum(axis=1), 0.0)
    return improvement


def _open_volumes(costs: Floats, front: Floats, reference: Floats) -> Floats:
    """Volume that each row of costs dominates and the first k rows of the front do not, for k = 0, 1, ...

    Args:
        costs: shape (n, d).
        front: costs, in the order in which they count, shape (k, d).
        reference: worst corner, shape (d,).

    Returns:
        Shape (n, k + 1); 0 for costs that are not better than the reference.
    """
    room = np.maximum(reference - costs, 0.0)
    if costs.shape[1] == 1:
        least = np.minimum.accumulate(np.append(reference, front[:, 0]))
        return np.minimum(room, np.maximum(least - costs, 0.0))
    volumes = np.tile(room.prod(axis=1)[:, None], (1, len(front) + 1))
    for row in np.flatnonzero(volumes[:, 0]):
        reached = np.maximum(front, costs[row])
        for count in range(1, len(front) + 1):
            taken = moocore.hypervolume(reached[:count], ref=reference)
            volumes[row, count] = max(volumes[row, 0] - taken, 0.0)
            if volumes[row, count] == 0.0:
                volumes[row, count:] = 0.0
                break
    return volumes


def greedy_batch(
    mean: Floats, covariance: Floats, costs: Floats, front: Floats, reference: Floats, count: int
) -> list[int]:
    """Chooses candidates one after the other, each believed to turn out as predicted (Kriging believer).

    Ginsbourger, Le Riche and Carraro (2010): what is believed joins the front, and makes its neighbours certain, which
    a rank-one update of the covariance does; no mean changes.

    Args:
        mean: predicted errors, shape (n,).
        covariance: of the errors, shape (n, n).
        costs: the other objectives, shape (n, m - 1).
        front: objective values that have been reached, shape (k, m).
        reference: worst corner, shape (m,).
        count: how many, at most n.

    Returns:
        Distinct indices, in the order of choice. When nothing promises an improvement, the most uncertain is chosen.
    """
    covariance, chosen = covariance.copy(), list[int]()
    while len(chosen) < min(count, len(mean)):
        variance = np.maximum(np.diag(covariance), 0.0)
        improvement = expected_improvement(mean, np.sqrt(variance), costs, front, reference)
        order = np.lexsort((-variance, -improvement))
        best = int(next(index for index in order if index not in chosen))
        chosen.append(best)
        front = np.vstack([front, [mean[best], *costs[best]]])
        if variance[best] > 0.0:
            covariance -= np.outer(covariance[best], covariance[best]) / variance[best]
    return chosen
