"""Several objectives for strategies that know one: weighted sums, which take turns.

Regularised evolution, REINFORCE and PNAS each look for the best of one number. They give a front when several sums of
the objectives, each scaled to its range, with weights from one end to the other, share the evaluations.

    >>> weight_vectors(2)[:, 0].round(2)
    array([0.17, 0.33, 0.5 , 0.67, 0.83])
"""

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from nat.archive import Evaluation
from nat.pareto import Floats

STEPS = 8


def weight_vectors(objectives: int) -> Floats:
    """Positive weights that sum to one, evenly over the simplex, shape (k, objectives).

    The inner points of Das and Dennis's design: for one objective 1, for two 5, for three 6, for m of them m vectors.
    """
    parts = max(objectives + 1, STEPS - objectives)
    cuts = [(0, *cut, parts) for cut in combinations(range(1, parts), objectives - 1)]
    return np.array([[high - low for low, high in pairwise(cut)] for cut in cuts]) / parts


def scaled(values: Floats) -> Floats:
    """Objective values (n, m), each brought to [0, 1] over its range; one that does not vary becomes 0."""
    span: Floats = np.maximum(np.ptp(values, axis=0), 1e-12)
    shifted: Floats = (values - values.min(axis=0)) / span
    return shifted


def best_by_turns(values: Floats, count: int) -> list[int]:
    """Rows of objective values (n, m) that are best by the weighted sums in turn; min(count, n) distinct ones."""
    sums = scaled(values) @ weight_vectors(values.shape[1]).T
    orders, chosen = sums.argsort(axis=0, kind="stable"), dict[int, None]()
    for turn in range(min(count, len(values))):
        order = orders[:, turn % orders.shape[1]]
        chosen[next(int(row) for row in order if int(row) not in chosen)] = None
    return list(chosen)


def by_age(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Evaluations from the oldest architecture to the youngest, as far as the archive tells.

    While the weights stay as they are, that is the archive's order. A later round with other weights evaluates its new
    architectures first, and then the best of the earlier ones again: their order is turned round.
    """
    again = len({evaluation.round for evaluation in evaluations}) == 1 and evaluations[0].round > 0
    return list(evaluations)[::-1] if again else list(evaluations)
