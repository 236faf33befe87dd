"""Which architectures are worth a prediction: all of a small space, or those that evolution and variation find."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nat.archive import Proposal
from nat.evolution import Evolution, evolve
from nat.pareto import Floats, non_dominated
from nat.problem import SearchProblem
from nat.selection import Candidates, improvements, predicted
from nat.supernet.sampling import crossover, mutate, vary
from nat.supernet.searchable import Encodings, combinations
from nat.surrogates.base import Surrogate

ENUMERATED = 20_000
MUTANTS = 1000
LAST = 5
ROUNDS = 5
PARENTS = 50
CHILDREN = 300
KEPT = 1500


def evolved(
    problem: SearchProblem,
    surrogates: Sequence[Surrogate],
    known: Encodings,
    measured: Floats,
    rng: Generator,
    evolution: Evolution,
    last: int = 1,
) -> Encodings:
    """New architectures of the last generations on predicted errors and exact costs, shape (n, genes).

    Args:
        problem: space, objectives, limits.
        surrogates: predict the measured objectives, one each.
        known: what has been evaluated, shape (k, genes); the best of it comes first into the first population.
        measured: its objective values, shape (k, m).
        rng: source of randomness.
        evolution: how to evolve.
        last: how many generations count.
    """
    best_first = np.argsort(~non_dominated(measured), kind="stable")
    found = evolve(
        problem,
        lambda encodings: predicted(problem, surrogates, encodings).values[:, : len(surrogates)],
        known[best_first],
        population=evolution.population,
        generations=evolution.generations,
        seed=int(rng.integers(2**31)),
        algorithm=evolution.algorithm,
        last=last,
    )
    return without(found, known)


def promising(
    problem: SearchProblem,
    surrogates: Sequence[Surrogate],
    known: Encodings,
    measured: Floats,
    rng: Generator,
    evolution: Evolution,
) -> Encodings:
    """New architectures among which those of great expected improvement are; arguments as `evolved`.

    Evolution looks for low predictions. From its last generations and mutants of the measured front on, some
    rounds of variation look for expected improvement itself, which counts uncertainty as well.
    """
    everything = combinations(problem.space, ENUMERATED)
    if everything is not None:
        return accepted(problem, surrogates, without(everything[problem.allows(everything)], known))
    last = evolved(problem, surrogates, known, measured, rng, evolution, LAST)
    front = known[non_dominated(measured)]
    mutants = vary(problem.space, front[rng.integers(len(front), size=MUTANTS)], rng, genes=2)
    pool = accepted(problem, surrogates, _new(problem, np.concatenate([last, mutants]), known))
    scores = improvements(predicted(problem, surrogates, pool), measured)
    for _ in range(ROUNDS):
        best = np.argsort(-scores, kind="stable")
        children = _new(problem, _children(problem, pool[best[:PARENTS]], rng), np.concatenate([known, pool]))
        children = accepted(problem, surrogates, children)
        kept = best[:KEPT]
        pool = np.concatenate([pool[kept], children])
        new_scores = improvements(predicted(problem, surrogates, children), measured)
        scores = np.concatenate([scores[kept], new_scores])
    return pool


def variations(
    problem: SearchProblem, surrogates: Sequence[Surrogate], known: Encodings, taken: Encodings, rng: Generator
) -> Encodings:
    """New architectures near the known ones, for when evolution found too few new ones."""
    near = mutate(problem.space, known[rng.integers(len(known), size=256)], rng, 0.1)
    return accepted(problem, surrogates, _new(problem, near, np.concatenate([known, taken])))


def accepted(problem: SearchProblem, surrogates: Sequence[Surrogate], encodings: Encodings) -> Encodings:
    """Those rows of `encodings` that keep the problem's greatest error, as predicted."""
    if problem.max_error >= 1.0 or not len(encodings):
        return encodings
    return encodings[problem.accepts(predicted(problem, surrogates, encodings).values[:, : len(surrogates)])]


def without(encodings: Encodings, known: Encodings) -> Encodings:
    """Those rows of `encodings` that are not among `known`."""
    seen = {row.tobytes() for row in np.ascontiguousarray(known)}
    return encodings[[row.tobytes() not in seen for row in np.ascontiguousarray(encodings)]]


def _children(problem: SearchProblem, parents: Encodings, rng: Generator) -> Encodings:
    """Parents with one or two genes redrawn, and children of two."""
    if not len(parents):
        return parents
    first, second = parents[rng.integers(len(parents), size=(2, CHILDREN))]
    changed = [vary(problem.space, first, rng, genes=genes) for genes in (1, 2)]
    return np.concatenate([*changed, crossover(problem.space, first, second, rng)])


def _new(problem: SearchProblem, encodings: Encodings, known: Encodings) -> Encodings:
    """Distinct rows that keep the limits and are not known."""
    return without(np.unique(encodings[problem.allows(encodings)], axis=0), known)


def with_predictions(
    problem: SearchProblem, encodings: Encodings, candidates: Candidates, chosen: Sequence[int] | NDArray[np.intp]
) -> list[Proposal]:
    """The chosen rows with what is expected of their first measured objective."""
    nets = problem.space.decode(encodings[chosen])
    means, deviations = candidates.values[chosen, 0], candidates.deviation[chosen]
    return [Proposal(net, float(mean), float(dev)) for net, mean, dev in zip(nets, means, deviations, strict=True)]
