"""Expected hypervolume improvement where one objective is uncertain and all others are known exactly.

Multiply-adds and parameters are arithmetic, so that of an architecture only the error is uncertain: normal, with the
surrogate's mean and deviation. The improvement is then an integral over one variable, where expected hypervolume
improvement in general needs one over all (Emmerich, Giannakoglou and Naujoks, IEEE Trans. Evol. Comput. 10(4), 2006).

>>> front = np.array([[0.2, 3.0], [0.4, 1.0]])
>>> expected_improvement(np.array([0.1]), np.array([1e-9]), np.array([[2.0]]), front, np.array([0.5, 4.0])).round(3)
array([0.4])
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats.qmc import Halton

from nat.pareto import Floats, non_dominated

LEAST_DEVIATION = 1e-9
EXACT_COSTS = 2
SAMPLES = 1024


def expected_improvement(mean: Floats, deviation: Floats, costs: Floats, front: Floats, reference: Floats) -> Floats:
    """How much each candidate is expected to add to the hypervolume, shape (n,), at least 0.

    A candidate of error e adds, at each point of the space of costs that its costs dominate, what e is below the least
    error that the front has there (or below the reference). Exact for one or two costs; for more, the mean over 1,024
    points that fill the box of costs evenly.

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
    if costs.shape[1] > EXACT_COSTS:
        return _sampled(mean, deviation, costs, front, reference)
    # W(v), what the costs dominate and the front's rows of error v or less do not, is constant between those errors;
    # the improvement is the integral of W(v) P(e < v)
    up_to = _expected_gain(mean, deviation, np.append(front[:, 0], reference[0]))
    volumes = _open_volumes(costs, front[:, 1:], reference[1:])
    improvement: Floats = np.maximum((volumes * np.diff(up_to, axis=1, prepend=0.0)).sum(axis=1), 0.0)
    return improvement


def _expected_gain(mean: Floats, deviation: Floats, levels: Floats) -> Floats:
    """How much normal errors (n,) are expected to be below levels (k,), shape (n, k)."""
    spread = np.maximum(deviation, LEAST_DEVIATION)[:, None]
    z = (levels - mean[:, None]) / spread
    gain: Floats = spread * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
    return gain


def _open_volumes(costs: Floats, front: Floats, reference: Floats) -> Floats:
    """Volume that each row of costs dominates and the first k rows of the front do not, for k = 0, 1, ...

    Args:
        costs: shape (n, d).
        front: costs, in the order in which they count, shape (k, d).
        reference: worst corner, shape (d,).

    Returns:
        Shape (n, k + 1); 0 for costs that are not better than the reference.
    """
    first = costs[:, :1]
    if costs.shape[1] == 1:
        least = np.minimum.accumulate(np.append(reference, front[:, 0]))
        return np.maximum(least - first, 0.0)
    volumes = np.zeros((len(costs), len(front) + 1))
    edges = [-np.inf, *np.unique(front[:, 0]), reference[0]]
    for start, end in pairwise(edges):  # slices of the first cost, in which the same rows count
        width = np.maximum(end - np.maximum(first, start), 0.0)
        there = np.where(front[:, :1] <= start, front[:, 1:], reference[1:])
        volumes += width * _open_volumes(costs[:, 1:], there, reference[1:])
    return volumes


def _sampled(mean: Floats, deviation: Floats, costs: Floats, front: Floats, reference: Floats) -> Floats:
    """As `expected_improvement`, over quasi-random points of the box of costs, always the same."""
    low = np.minimum(np.vstack([costs, front[:, 1:]]).min(axis=0), reference[1:])
    size = reference[1:] - low
    points = low + size * Halton(len(size), scramble=False).random(SAMPLES)
    reached = (front[:, None, 1:] <= points).all(axis=2)
    best = np.where(reached, front[:, :1], reference[0]).min(axis=0, initial=reference[0])
    dominated = (costs[:, None, :] <= points).all(axis=2)
    gains = np.where(dominated, _expected_gain(mean, deviation, best), 0.0)
    improvement: Floats = size.prod() * gains.mean(axis=1)
    return improvement


def greedy_batch(
    mean: Floats, covariance: Floats, costs: Floats, front: Floats, reference: Floats, count: int
) -> NDArray[np.intp]:
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
    covariance, left = covariance.copy(), np.ones(len(mean), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(count, len(mean)):
        variance = np.maximum(np.diag(covariance), 0.0)
        improvement = expected_improvement(mean, np.sqrt(variance), costs, front, reference)
        best = int(np.lexsort((-variance, -improvement, ~left))[0])
        chosen.append(best)
        left[best] = False
        front = np.vstack([front, [mean[best], *costs[best]]])
        if variance[best] > 0.0:
            covariance -= np.outer(covariance[best], covariance[best]) / variance[best]
    return np.array(chosen, dtype=np.intp)
