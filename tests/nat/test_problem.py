import numpy as np
import pytest

from nat.errors import InputError
from nat.objectives import ERROR, LATENCY, MACRO_F1, MACS, MEMORY, PARAMS, TOP1, read_objectives
from nat.problem import SearchProblem
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits, sample_uniform


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("top1,macs", (ERROR, "macs")),
        ("macs,top1", (ERROR, "macs")),
        (" params , top1 ,macs,", (ERROR, "params", "macs")),
        ("top1,params", (ERROR, "params")),
    ],
)
def test_objectives_are_read_with_the_error_first(text: str, names: tuple[str, ...]) -> None:
    assert tuple(objective.name for objective in read_objectives(text)) == names


@pytest.mark.parametrize("text", ["", "top1", "macs,params", "top1,macs,macs", "top1;macs", "top1_error,macs"])
def test_objectives_that_make_no_trade_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_objectives(text)


def test_values_stand_in_the_order_of_the_objectives(problem: SearchProblem) -> None:
    encodings = sample_uniform(problem.space, 5, np.random.default_rng(0))
    errors = np.linspace(0, 1, 5)
    three = SearchProblem(problem.costs, (TOP1, PARAMS, MACS))
    expected = np.stack([errors, problem.costs.params(encodings), problem.costs.macs(encodings)], axis=1)
    assert (three.values(errors, encodings) == expected).all()


def test_values_of_evaluations_agree_with_values(problem: SearchProblem, architectures, evaluate) -> None:
    nets = architectures(4)
    errors = [0.1, 0.4, 0.3, 0.2]
    evaluations = evaluate(problem, nets, errors)
    encodings = problem.encodings_of(evaluations)
    assert problem.space.decode(encodings) == nets
    assert (problem.values_of(evaluations) == problem.values(np.array(errors), encodings)).all()
    assert problem.values_of([]).shape == (0, 2)


def test_reference_point_is_the_worst_that_the_limits_allow(problem: SearchProblem) -> None:
    macs, params = problem.costs.of(problem.space.largest())
    names = (TOP1, MACS, PARAMS)
    assert SearchProblem(problem.costs, names).reference_point().tolist() == [1.0, macs, params]
    limited = SearchProblem(problem.costs, names, Limits(macs // 2, 2 * params))
    assert limited.reference_point().tolist() == [1.0, macs // 2, params]


def test_allows_is_both_limits(problem: SearchProblem) -> None:
    encodings = sample_uniform(problem.space, 200, np.random.default_rng(0))
    macs, params = problem.costs.macs(encodings), problem.costs.params(encodings)
    limits = Limits(int(np.median(macs)), int(np.median(params)))
    allowed = SearchProblem(problem.costs, limits=limits).allows(encodings)
    assert (allowed == ((macs <= np.median(macs)) & (params <= np.median(params)))).all()
    assert 0 < allowed.sum() < 200


def test_reference_points_of_what_many_share_lie_beyond(problem: SearchProblem) -> None:
    """So that an architecture with the greatest peak, or input, still counts for the hypervolume."""
    three = SearchProblem(problem.costs, read_objectives("top1,memory,resolution"))
    memory = problem.costs.memory(problem.space.encode([problem.space.largest()]))[0]
    assert three.reference_point().tolist() == [1.0, 1.1 * memory, 1.1 * 32]
    limited = SearchProblem(problem.costs, (TOP1, MEMORY), Limits(max_memory=int(memory) // 2))
    assert limited.reference_point().tolist() == [1.0, 1.1 * (int(memory) // 2)]
    assert three.ideal_point().tolist() == [0, 0, 0]


def test_measured_columns_go_to_the_measured_objectives(problem: SearchProblem) -> None:
    encodings = sample_uniform(problem.space, 5, np.random.default_rng(0))
    errors = np.linspace(0, 1, 10).reshape(5, 2)
    mixed = SearchProblem(problem.costs, (MACRO_F1, TOP1, MACS))
    assert mixed.measured == (MACRO_F1, TOP1)
    expected = np.stack([errors[:, 0], errors[:, 1], problem.costs.macs(encodings)], axis=1)
    assert (mixed.values(errors, encodings) == expected).all()
    assert mixed.accepts(errors).all()
    strict = SearchProblem(problem.costs, mixed.objectives, max_error=0.5)
    assert (strict.accepts(errors) == (errors[:, 1] <= 0.5)).all()


def test_what_is_limited_is_known_of_every_evaluation(problem: SearchProblem, latency, architectures) -> None:
    net = architectures(1)[0]
    assert set(problem.known_of(net)) == {"macs", "params"}
    limits = Limits(max_memory=10**9, max_latency_ms=1e9)
    assert set(SearchProblem(CostTable(problem.space, 3, latency), limits=limits).known_of(net)) == {
        "macs", "params", "memory_bytes", "latency_ms",
    }  # fmt: skip
    with pytest.raises(InputError, match="latency table"):
        SearchProblem(problem.costs, (TOP1, LATENCY)).known_of(net)


def test_a_least_accuracy_that_nothing_predicts_leaves_all(problem: SearchProblem) -> None:
    assert SearchProblem(problem.costs, (MACRO_F1, MACS), max_error=0.5).accepts(np.array([0.9, 0.1])).all()
