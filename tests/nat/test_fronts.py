from dataclasses import replace

import numpy as np
import pytest

from nat.archive import Evaluation
from nat.fronts import (
    best_within,
    cheaper_and_cheaper,
    choices,
    columns_of,
    control_row,
    front_hypervolume,
    limits_given,
    pareto_set,
    row,
    thinned,
    titles,
    within,
)
from nat.objectives import ERROR, read_objectives
from nat.problem import SearchProblem
from nat.search import best
from nat.supernet.sampling import Limits


@pytest.fixture
def ladder(problem: SearchProblem, architectures, evaluate) -> list[Evaluation]:
    """Eight nets of rising cost, cheapest first; the errors fall but for two that are dominated."""
    nets = sorted(architectures(30), key=lambda net: problem.costs.of(net)[0])
    chosen = list({problem.costs.of(net)[0]: net for net in nets}.values())[:8]
    return evaluate(problem, chosen, [0.8, 0.7, 0.75, 0.5, 0.5, 0.4, 0.3, 0.2])


def errors(evaluations) -> list[float]:
    return [evaluation.objectives[ERROR] for evaluation in evaluations]


def test_pareto_set_is_sorted_and_has_no_dominated_net(problem: SearchProblem, ladder) -> None:
    shuffled = [ladder[i] for i in np.random.default_rng(0).permutation(8)]
    assert pareto_set(problem, shuffled) == [ladder[i] for i in (0, 1, 3, 5, 6, 7)]
    assert pareto_set(problem, []) == []
    assert pareto_set(replace(problem, max_error=0.45), shuffled) == [ladder[i] for i in (5, 6, 7)]


def test_thinned_keeps_both_ends_and_the_order(problem: SearchProblem, ladder) -> None:
    front = pareto_set(problem, ladder)
    for count in (2, 3, 4):
        chosen = thinned(front, count)
        assert len(chosen) == count
        assert (chosen[0], chosen[-1]) == (front[0], front[-1])
        assert [front.index(e) for e in chosen] == sorted(front.index(e) for e in chosen)
    assert thinned(front, 6) == thinned(front, 99) == front
    assert len(thinned(front, 1)) == 1


def test_thinned_spreads_on_a_log_scale(problem: SearchProblem, architectures) -> None:
    net = architectures(1)[0]
    front = [Evaluation(net, {ERROR: 0.5, "macs": macs}, 0, 0) for macs in (1.0, 8.0, 9.5, 50.0, 100.0)]
    assert [e.objectives["macs"] for e in thinned(front, 3)] == [1.0, 9.5, 100.0]


def test_within_keeps_the_limits_and_the_order(problem: SearchProblem, ladder) -> None:
    macs = [int(e.objectives["macs"]) for e in ladder]
    params = sorted(int(e.objectives["params"]) for e in ladder)
    assert within(problem, ladder) == ladder
    assert within(replace(problem, limits=Limits(macs[4])), ladder[::-1]) == ladder[4::-1]
    small = within(replace(problem, limits=Limits(max_params=params[3])), ladder)
    assert len(small) >= 4 and all(e.objectives["params"] <= params[3] for e in small)
    assert within(replace(problem, limits=Limits(macs[0] - 1)), ladder) == []
    assert errors(within(replace(problem, max_error=0.45), ladder)) == [0.4, 0.3, 0.2]


def test_choices_begin_with_what_joined_the_front_then_follow_the_search(problem: SearchProblem, ladder) -> None:
    ranked = sorted(ladder, key=lambda e: (e.objectives[ERROR], e.objectives["macs"]))
    pareto = [ladder[i] for i in (0, 1, 3, 5, 6, 7)]
    rows = [row(evaluation, None) for evaluation in (ladder[0], ladder[7])]
    assert choices(problem, ladder, rows) == ranked
    assert cheaper_and_cheaper(ranked) == pareto[::-1], "which is all that budgets of multiply-adds can pick"
    closing = row(ladder[2], None)
    best, *others = choices(problem, ladder, [*rows, closing])
    assert others == [each for each in ranked if each is not ladder[2]]
    assert best.architecture == ladder[2].architecture
    assert best.objectives == pytest.approx(dict(ladder[2].objectives))


def test_choices_follow_the_error_that_is_traded(problem: SearchProblem, architectures, evaluate) -> None:
    """A limit on parameters may leave only nets that others dominate in error and multiply-adds."""
    fair = SearchProblem(problem.costs, read_objectives("balanced,macs"))
    nets = architectures(3)
    found = [
        Evaluation(net, {ERROR: top1, "balanced_error": balanced, **fair.known_of(net)}, 0, 0)
        for net, top1, balanced in zip(nets, (0.1, 0.2, 0.3), (0.3, 0.1, 0.2), strict=True)
    ]
    assert choices(fair, found, []) == [found[1], found[2], found[0]]


def test_rows_tell_the_traded_errors_on_test_images(problem: SearchProblem, architectures) -> None:
    fair = SearchProblem(problem.costs, read_objectives("worst_recall,balanced,calibration,macro_f1,macs"))
    columns, net = columns_of(fair), architectures(1)[0]
    split = {
        "top1": 0.9,
        "balanced_accuracy": 0.7,
        "macro_f1": 0.6,
        "calibration_error": 0.1,
        "recalls": [0.5, None, 0.8],
    }
    metrics = {"macs": 1, "params": 2, "resolution": 24, "val": split, "test": split}
    errors = dict.fromkeys((o.name for o in fair.measured), 0.5)
    found = Evaluation(net, {ERROR: 0.5, **errors, **fair.known_of(net)}, 0, 0)
    expected = {"balanced": 0.3, "macro_f1": 0.4, "calibration": 0.1, "worst_recall": 0.5}
    for made in (row(found, metrics, columns), control_row("timm", "timm", metrics, None, columns)):
        assert {name: made[f"test_{name}_error"] for name in expected} == pytest.approx(expected)
    assert {title["name"] for title in titles(columns)} >= {f"test_{name}_error" for name in expected}
    assert "test_balanced_error" not in row(found, None, columns)


def test_hypervolume_is_that_of_the_box(problem: SearchProblem, ladder) -> None:
    worst = problem.reference_point()
    only = ladder[3]
    expected = (1 - only.objectives[ERROR]) * (1 - only.objectives["macs"] / worst[1])
    assert front_hypervolume(problem, [only]) == pytest.approx(expected)
    assert front_hypervolume(problem, ladder) > expected
    assert front_hypervolume(problem, []) == 0.0


def test_rows_say_whether_a_net_was_finetuned(ladder) -> None:
    metrics = {"id": "x", "macs": 1, "params": 2, "resolution": 24, "val": {"top1": 0.9}, "test": {"top1": 0.8}}
    tuned, bare = row(ladder[0], metrics), row(ladder[0], None)
    assert (tuned["finetuned"], tuned["finetuned_val_top1"], tuned["test_top1"]) == (True, 0.9, 0.8)
    assert (bare["finetuned"], bare["finetuned_val_top1"], bare["test_top1"]) == (False, None, None)
    assert tuned["val_top1"] == bare["val_top1"] == pytest.approx(0.2)
    assert isinstance(tuned["macs"], int) and tuned["macs"] == ladder[0].objectives["macs"]
    assert control_row("largest subnet", "largest", metrics) == {
        "name": "largest subnet", "kind": "largest", "id": "x", "macs": 1, "params": 2, "resolution": 24,
        "finetuned_val_top1": 0.9, "test_top1": 0.8, "judges": True,
        "val_interval": None, "test_interval": None,
    }  # fmt: skip


def test_rows_have_what_else_is_minimised_or_limited(problem: SearchProblem, architectures, evaluate) -> None:
    limits = Limits(max_memory=10**7)
    wide = SearchProblem(problem.costs, read_objectives("top1,resolution"), limits)
    evaluation = evaluate(wide, architectures(1), [0.3])[0]
    columns = columns_of(wide)
    assert [column.name for column in columns] == ["memory_bytes"]
    memory = wide.costs.memory(wide.encodings_of([evaluation]))[0]
    assert row(evaluation, None, columns)["memory_bytes"] == memory
    assert limits_given(wide) == {"macs": None, "params": None, "memory_bytes": 10**7}
    assert limits_given(problem) == {"macs": None, "params": None}


def test_best_takes_front_after_front(problem: SearchProblem, ladder) -> None:
    first = [ladder[i] for i in (0, 1, 3, 5, 6, 7)]
    second = [ladder[i] for i in (2, 4)]
    assert best(problem, ladder, 6) == first
    assert best(problem, ladder, 99) == first + second
    assert best(problem, ladder, 7)[:6] == first and best(problem, ladder, 7)[6] in second
    assert best(problem, ladder, 2) == [first[0], first[-1]], "the ends of a front that does not fit"
    strict = replace(problem, max_error=0.45)
    assert best(strict, ladder, 3) == [ladder[i] for i in (5, 6, 7)], "those that are accurate enough come first"
    assert best(strict, ladder, 99) == [ladder[i] for i in (5, 6, 7, 0, 1, 3, 2, 4)]
    assert best(problem, [], 3) == [] == best(problem, ladder, 0)
    dearest = replace(ladder[7], objectives={**ladder[7].objectives, ERROR: 0.9})
    behind = [*ladder[:7], dearest]
    assert best(problem, behind, 3)[-1] is dearest, "the most costly stays, though it is dominated"
    assert len({e.architecture for e in best(problem, behind, 4)}) == 4
    assert behind[6] in best(problem, behind, 4), "the most accurate stays, too"
    assert best(problem, behind, 1) == [best(problem, ladder[:7], 1)[0]]


def test_the_best_within_budgets_need_not_be_the_dearest() -> None:
    macs, errors = [1.0, 2.0, 3.0, 4.0], [0.5, 0.2, 0.3, 0.1]
    assert best_within(macs, errors, [0.5, 1.0, 2.5, 3.5, 9.0]) == [None, 0, 1, 1, 3]
    assert best_within([2.0, 1.0], [0.2, 0.2], [3.0]) == [1], "of equal errors the cheaper one"
    assert best_within([], [], [1.0]) == [None]
