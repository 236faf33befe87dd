"""Which predicted candidates are evaluated: three rules.

- `by_improvement`: those that are expected to add most to the hypervolume, in a greedy batch; the default.
- `by_directions`: the survivors of NSGA-III's niching by reference directions (Deb and Jain 2014), as NAT keeps its
  archive.
- `by_spread`: the best by rank of non-domination, spread over the costs, as MSuNAS does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import ReferenceDirectionSurvival
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from nat.acquisition import expected_improvement, greedy_batch
from nat.evolution import reference_directions
from nat.pareto import non_dominated, select_by_rank
from nat.problem import SearchProblem
from nat.supernet.searchable import Encodings
from nat.surrogates.base import JointSurrogate, Surrogate

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
SELECTIONS = ("ehvi", "reference", "spread")
SHORTLIST = 400
MARGIN = 0.1
DOUBT = 1.4


@dataclass(frozen=True)
class Candidates:
    """What a rule chooses from.

    Attributes:
        values: predicted errors, then exact costs, shape (n, m). Where several errors are predicted, only the first is
            taken as uncertain.
        deviation: of the first error, shape (n,).
        covariance: of the errors of some candidates (k,), shape (k, k).
    """

    values: Floats
    deviation: Floats
    covariance: Callable[[Indices], Floats]


def predicted(problem: SearchProblem, surrogates: Sequence[Surrogate], encodings: Encodings) -> Candidates:
    """What fitted surrogates, one for each measured objective, say of encodings (n, genes)."""
    features, first = problem.space.features(encodings), surrogates[0]
    answers = [surrogate.predict(features) for surrogate in surrogates]
    means, deviation = np.stack([mean for mean, _ in answers], axis=1), answers[0][1]

    def covariance(rows: Indices) -> Floats:
        if isinstance(first, JointSurrogate):
            return first.covariance(features[rows])
        return np.diag(deviation[rows] ** 2)

    return Candidates(problem.values(means, encodings), deviation, covariance)


def improvements(candidates: Candidates, measured: Floats) -> Floats:
    """How much each is expected to add to the hypervolume of measured values (k, m), shape (n,).

    Deviations count `DOUBT` times: what is chosen because it is predicted to be good turns out further from its
    prediction than what is not, and a search that trusts its model too much stays where it is.
    """
    mean, costs = candidates.values[:, 0], candidates.values[:, 1:]
    front, reference = measured[non_dominated(measured)], reference_of(measured)
    return expected_improvement(mean, DOUBT * candidates.deviation, costs, front, reference)


def by_improvement(candidates: Candidates, measured: Floats, count: int) -> Indices:
    """A greedy batch by expected hypervolume improvement over measured values (k, m); shape (min(count, n),)."""
    order = np.lexsort((-candidates.deviation, -improvements(candidates, measured)))
    short = order[: max(SHORTLIST, count)]
    mean, costs = candidates.values[short, 0], candidates.values[short, 1:]
    front, reference = measured[non_dominated(measured)], reference_of(measured)
    batch = greedy_batch(mean, DOUBT**2 * candidates.covariance(short), costs, front, reference, count)
    return short[batch]


def reference_of(measured: Floats) -> Floats:
    """The worst corner for improvements, shape (m,): a tenth of the range beyond the worst error and costs.

    So the ends are worth something, and extremes do not decide everything (Ishibuchi et al. 2018). The worst error is
    the front's. The worst costs are those of all measured values (k, m): a front that is still short at its costly end
    must not hide what lies beyond. Where the front's errors do not vary, their range is that of all.
    """
    front = measured[non_dominated(measured)]
    worst = np.append(front[:, 0].max(), measured[:, 1:].max(axis=0))
    span = worst - front.min(axis=0)
    span = np.where(span > 0, span, np.ptp(measured, axis=0))
    reference: Floats = worst + MARGIN * np.where(span > 0, span, np.maximum(worst, 1e-6))
    return reference


def by_directions(values: Floats, count: int, rng: Generator) -> Indices:
    """The survivors among predicted values (n, m) with about `count` reference directions; shape (min(count, n),)."""
    if count >= len(values):
        return np.arange(len(values))
    population = Population.create(*(Individual(F=row, data={"row": i}) for i, row in enumerate(values)))
    survival = ReferenceDirectionSurvival(reference_directions(values.shape[1], max(count, values.shape[1])))
    survivors = survival.do(Problem(n_var=1, n_obj=values.shape[1]), population, n_survive=count, random_state=rng)
    return np.sort(np.array([survivor.data["row"] for survivor in survivors], dtype=np.intp))


def by_spread(values: Floats, macs: Floats, reached: Floats, count: int) -> Indices:
    """The best by rank; of the rank that does not fit whole, a spread over the multiply-adds, beside those of a front.

    Args:
        values: predicted, shape (n, m).
        macs: multiply-adds, above 0, shape (n,).
        reached: those of the measured front, shape (k,).
        count: how many.
    """
    return select_by_rank(values, macs, count, keep=reached)
