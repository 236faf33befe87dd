"""A least accuracy: what is surely below it is not proposed, and where nothing reaches it the best still is."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.problem import SearchProblem
from nat.searchers import NatSearcher
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import Encodings


def error_of(encodings: Encodings) -> NDArray[np.float64]:
    """Falls with every choice, so that the surrogate learns it well."""
    return 0.9 - 0.01 * encodings.sum(axis=1)


@pytest.fixture
def known(problem: SearchProblem, evaluate) -> list[Evaluation]:
    drawn = np.unique(sample_uniform(problem.space, 40, np.random.default_rng(0)), axis=0)
    return evaluate(problem, problem.space.decode(drawn), error_of(drawn))


def proposed_errors(problem: SearchProblem, known: list[Evaluation]) -> NDArray[np.float64]:
    searcher = NatSearcher(population=16, generations=6, selection="spread")  # also proposes what is cheap
    proposals = searcher.propose(problem, known, 12, np.random.default_rng(0))
    return error_of(problem.space.encode([proposal.architecture for proposal in proposals]))


def test_what_is_surely_below_is_not_proposed(problem: SearchProblem, known: list[Evaluation]) -> None:
    bound = float(np.quantile(problem.errors_of(known), 0.3))
    free = proposed_errors(problem, known)
    strict = proposed_errors(replace(problem, max_error=bound), known)
    assert (free > bound + 0.03).any(), "the example would show nothing else"
    assert len(strict) and (strict < bound + 0.03).all()


def test_where_nothing_reaches_it_the_best_is_looked_for(problem: SearchProblem, known: list[Evaluation]) -> None:
    best = float(problem.errors_of(known).min())
    strict = proposed_errors(replace(problem, max_error=best / 2), known)
    assert len(strict) and (strict < best + 0.03).all()
