"""Pareto arithmetic on arrays of objective values, all minimised.

>>> front = np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [4.0, 1.0]])
>>> non_dominated(front)
array([ True,  True, False,  True])
>>> round(hypervolume(front, reference_point=np.array([5.0, 5.0])), 3)
0.44
"""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
EXACT_UP_TO = 8  # objectives; each more takes about ten times as long


def non_dominated(objectives: ArrayLike) -> NDArray[np.bool_]:
    """Which rows no other row dominates (is at least as good in all objectives and better in one).

    Args:
        objectives: shape `(n, m)`, all minimised. Of equal rows the first is kept. Rows with NaN are dominated
            and dominate none.

    Returns:
        A mask of shape `(n,)`.
    """
    values = _matrix(objectives)
    mask = np.zeros(len(values), dtype=bool)
    comparable = np.flatnonzero(~np.isnan(values).any(axis=1))
    if len(comparable):
        _, first = np.unique(values[comparable], axis=0, return_index=True)
        first = comparable[np.sort(first)]
        mask[first] = moocore.is_nondominated(values[first])
    return mask


def hypervolume(objectives: ArrayLike, reference_point: ArrayLike, ideal: ArrayLike | None = None) -> float:
    """Share of the box between the ideal and the reference point that the rows dominate.

    Exact for up to eight objectives. The time grows exponentially with them, so that for more it is an estimate without
    chance (Deng and Zhang, IEEE Trans. Evol. Comput. 2019, as moocore has it), right to about a thousandth.

    Args:
        objectives: shape `(n, m)`, all minimised; need not be a front. Rows that are not better than the reference
            point in every objective, and rows with NaN, contribute nothing; what lies beyond the ideal is not counted.
        reference_point: shape `(m,)`, the worst corner of the box.
        ideal: shape `(m,)`, the best corner; None for zeros. Must be below the reference point.

    Returns:
        A fraction in [0, 1]; 0 without rows.

    Raises:
        ValueError: the shapes do not fit, or the box is empty or infinite.
    """
    values = _matrix(objectives)
    worst = np.asarray(reference_point, dtype=float)
    best = np.zeros_like(worst) if ideal is None else np.asarray(ideal, dtype=float)
    if worst.shape != (values.shape[1],) or best.shape != worst.shape:
        raise ValueError(f"expected corners of shape ({values.shape[1]},), got {worst.shape} and {best.shape}.")
    if not (np.isfinite(best).all() and np.isfinite(worst).all() and (best < worst).all()):
        raise ValueError(f"expected a finite ideal below the reference point, got {best} and {worst}.")
    inside = values[(values < worst).all(axis=1)]
    if not len(inside):
        return 0.0
    scaled = np.clip((inside - best) / (worst - best), 0.0, 1.0)
    measure = moocore.hypervolume if len(worst) <= EXACT_UP_TO else moocore.hv_approx
    return min(1.0, float(measure(scaled, ref=np.ones(len(worst)))))


def spread_subset(costs: ArrayLike, count: int, keep: ArrayLike | None = None) -> NDArray[np.intp]:
    """Chooses points so that their costs, with those kept already, are spread evenly on a logarithmic axis.

    MSuNAS (Lu et al. 2020, https://arxiv.org/abs/2007.10396) minimises the standard deviation of the gaps between
    neighbours with a genetic algorithm. Between fixed ends that is the sum of the squared gaps, which dynamic
    programming over the sorted points minimises exactly, in O(count n^2).

    Args:
        costs: shape `(n,)`, positive (MACs, parameters, milliseconds).
        count: how many to choose; all of them if there are not so many.
        keep: costs that are there already, shape `(k,)`. Without any, the cheapest and the dearest point are
            always chosen (the one nearest the middle if `count` is 1). With some, what lies between an end of
            all points and the outermost chosen or kept one counts as a gap too.

    Returns:
        Indices into `costs`, from cheap to dear; shape `(min(count, n),)`.

    Raises:
        ValueError: a cost is not positive and finite, or `count` is negative.
    """
    axis = _logarithms(costs)
    kept = _logarithms([] if keep is None else keep)
    if count < 0:
        raise ValueError(f"expected a count of at least 0, got {count}.")
    order = np.argsort(axis, kind="stable")
    if count >= len(axis):
        return order
    forced = order[[0, -1]] if len(kept) == 0 and count >= 2 else order[:0]
    free = order[1:-1] if len(forced) else order
    everything = np.concatenate([axis, kept])
    fixed = np.sort([everything.min(), *kept, everything.max()])
    chosen = free[_even_gaps(axis[free], count - len(forced), fixed)]
    return np.concatenate([forced[:1], chosen, forced[1:]])


def _even_gaps(points: Floats, count: int, fixed: Floats) -> list[int]:
    """Indices of the `count` points that give, with the fixed ones, the smallest sum of squared gaps; ascending.

    `best[c, i]` is the smallest sum up to place i (a point or a fixed value) with c points chosen, i among them;
    a gap reaches back to the last fixed value at most. `fixed` is sorted and reaches as far as the points do.
    """
    values = np.concatenate([fixed[:-1], points, fixed[-1:]])
    places = np.argsort(values, kind="stable")  # so that of equal values the last end is last
    values = values[places]
    is_point = (places >= len(fixed) - 1) & (places < len(values) - 1)
    best = np.full((count + 1, len(values)), np.inf)
    origin = np.zeros(best.shape, dtype=np.intp)
    best[0, 0] = 0.0
    last_fixed = 0
    for i in range(1, len(values)):
        one = int(is_point[i])
        sums = best[: count + 1 - one, last_fixed:i] + (values[i] - values[last_fixed:i]) ** 2
        origin[one:, i] = last_fixed + sums.argmin(axis=1)
        best[one:, i] = sums.min(axis=1)
        last_fixed = last_fixed if one else i
    chosen: list[int] = []
    place = len(values) - 1
    while place > 0:
        left = count - len(chosen)
        if is_point[place]:
            chosen.append(int(places[place]) - len(fixed) + 1)
        place = int(origin[left, place])
    return chosen[::-1]


def select_by_rank(
    objectives: ArrayLike, costs: ArrayLike, count: int, keep: ArrayLike | None = None
) -> NDArray[np.intp]:
    """The best rows by rank of non-domination: the front, then the front of the rest, and so on.

    Of the rank that does not fit whole, those are taken whose costs, with those taken before, are spread evenly.

    Args:
        objectives: shape `(n, m)`, all minimised.
        costs: shape `(n,)`, positive; the axis of the spread.
        count: how many to choose; all of them if there are not so many.
        keep: costs that are there already, shape `(k,)`.

    Returns:
        Indices, rank by rank.
    """
    values, axis = _matrix(objectives), np.asarray(costs, dtype=float)
    kept = np.empty(0) if keep is None else np.asarray(keep, dtype=float)
    left, chosen = np.arange(len(values)), np.empty(0, dtype=np.intp)
    while len(left) and len(chosen) < count:
        mask = non_dominated(values[left])
        rank = left[mask] if mask.any() else left
        if len(rank) > count - len(chosen):
            there = np.concatenate([kept, axis[chosen]])
            rank = rank[spread_subset(axis[rank], count - len(chosen), keep=there if len(there) else None)]
            return np.concatenate([chosen, rank])
        chosen, left = np.concatenate([chosen, rank]), np.setdiff1d(left, rank)
    return chosen


def _matrix(objectives: ArrayLike) -> Floats:
    values = np.asarray(objectives, dtype=float)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"expected objectives of shape (n, m), got {values.shape}.")
    return values


def _logarithms(costs: ArrayLike) -> Floats:
    values = np.asarray(costs, dtype=float)
    if values.ndim != 1 or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"expected positive, finite costs of shape (n,), got {values}.")
    logarithms: Floats = np.log(values)
    return logarithms
