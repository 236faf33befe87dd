"""The progressive search: its levels in the rounds, its groups of genes, its defaults."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nat.archive import Evaluation, Proposal
from nat.errors import InputError
from nat.problem import SearchProblem
from nat.searchers.progressive import ProgressiveSearcher, default_of, groups_of, grown_to
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits
from nat.supernet.searchable import Encodings
from nat.supernet.space import MobileNetSpace
from nat.surrogates import MLPEnsemble

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from landscapes import TableCosts, TableSpace

TABLE = TableSpace(4, 4)
COSTS = TableCosts(TABLE, np.stack([np.arange(256) + 1, np.arange(256) + 1], axis=1))
SPACE = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))
MOBILE = CostTable(SPACE, 10)


def searcher(levels: int | None = None) -> ProgressiveSearcher:
    return ProgressiveSearcher(levels=levels, surrogate=lambda: MLPEnsemble(2, 2, steps=40), most=2000)


def rows_of(problem: SearchProblem, proposals: list[Proposal]) -> Encodings:
    return problem.space.encode([proposal.architecture for proposal in proposals])


def told(problem: SearchProblem, proposals: list[Proposal], round: int) -> list[Evaluation]:
    rows = rows_of(problem, proposals)
    worth = np.linspace(1, 2, rows.shape[1])
    errors = 0.9 - 0.8 * (rows @ worth) / (problem.space.upper @ worth)
    return [
        Evaluation(p.architecture, dict(zip(problem.names, row.tolist(), strict=True)), round, 0)
        for p, row in zip(proposals, problem.values(errors, rows), strict=True)
    ]


@pytest.mark.parametrize("costs", [COSTS, MOBILE], ids=["table", "mobile"])
def test_a_round_is_a_level_and_each_extends_the_one_before(costs: TableCosts | CostTable) -> None:
    problem, known, beams = SearchProblem(costs), list[Evaluation](), list[Encodings]()
    groups, default = groups_of(problem.space), default_of(problem)
    for level in range(len(groups)):
        proposals = searcher().propose(problem, known, 5, np.random.default_rng(level))
        rows = rows_of(problem, proposals)
        if level == 0:
            assert (rows == problem.costs.ends()[0]).all(axis=1).any(), "the ends of the costs are among the first"
            rows = rows[~(rows[:, None] == problem.costs.ends()).all(axis=2).any(axis=1)]
        rest = np.concatenate([groups[0][:0], *groups[level + 1 :]])
        assert len(rows) >= 2
        assert (rows[:, rest] == default[rest]).all(), "what has not been grown is at its default"
        if level:
            grown = np.concatenate(groups[:level])
            parents = np.concatenate([*beams, rows_of(problem, known)])[:, grown]
            assert all((row[grown] == parents).all(axis=1).any() for row in rows), "parents were evaluated"
            assert all(proposal.mean is not None for proposal in proposals)
        beams.append(rows)
        known += told(problem, proposals, level)
    free = searcher().propose(problem, known, 20, np.random.default_rng(9))
    assert len(free) == 20
    assert not {proposal.architecture for proposal in free} & {evaluation.architecture for evaluation in known}


def test_only_what_has_grown_so_far_is_extended() -> None:
    """The other end of the costs, and what an earlier run found, are known, but are no beam."""
    problem, groups, default = SearchProblem(COSTS), groups_of(TABLE), default_of(SearchProblem(COSTS))
    known = np.array([TABLE.lower, default, [1, *default[1:]], [2, 0, *default[2:]], [2, 2, 2, default[3]]])
    for level, rows in ((1, [1, 2]), (2, [1, 2, 3]), (3, [1, 2, 3, 4]), (4, [0, 1, 2, 3, 4])):
        assert np.array_equal(grown_to(problem, known, groups, level), known[rows])


def test_with_a_beam_of_everything_it_is_exhaustive() -> None:
    space = TableSpace(3, 3)
    problem = SearchProblem(TableCosts(space, np.arange(1, 55).reshape(27, 2)))
    known: list[Evaluation] = []
    for round in range(3):
        known += told(problem, searcher().propose(problem, known, 100, np.random.default_rng(round)), round)
    assert len({evaluation.architecture for evaluation in known}) == len(known) == 27


def test_genes_are_grouped_by_stages_and_joined() -> None:
    groups = groups_of(SPACE)
    assert [len(group) for group in groups] == [3, 2, 2, 2, 2], "the resolution is with the first stage"
    assert np.array_equal(np.concatenate(groups), np.arange(11))
    assert [len(group) for group in groups_of(SPACE, 2)] == [7, 4]
    assert len(groups_of(SPACE, 50)) == 5
    assert [group.tolist() for group in groups_of(TABLE, 3)] == [[0, 1], [2], [3]]
    assert [len(group) for group in groups_of(TABLE, 1)] == [4]


def test_the_default_keeps_the_limits() -> None:
    free = default_of(SearchProblem(MOBILE))
    assert 0 < free[1:].mean() < SPACE.upper[1:].mean()
    limit = int(1.2 * MOBILE.of(SPACE.smallest())[0])
    tight = SearchProblem(MOBILE, limits=Limits(max_macs=limit))
    assert MOBILE.macs(default_of(tight)[None])[0] <= limit < MOBILE.macs(free[None])[0]
    assert np.array_equal(default_of(SearchProblem(COSTS)), TABLE.upper), "categories have no middle"


def test_no_levels_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1 level, got 0"):
        ProgressiveSearcher(levels=0)
