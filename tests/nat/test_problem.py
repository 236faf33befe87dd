import numpy as np
import pytest

from nat.errors import InputError
from nat.problem import ERROR, SearchProblem, read_objectives
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
    assert read_objectives(text) == names


@pytest.mark.parametrize("text", ["", "top1", "macs,params", "top1,macs,macs", "top1;macs", "top1_error,macs"])
def test_objectives_that_make_no_trade_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_objectives(text)


def test_values_stand_in_the_order_of_the_objectives(problem: SearchProblem) -> None:
    encodings = sample_uniform(problem.space, 5, np.random.default_rng(0))
    errors = np.linspace(0, 1, 5)
    three = SearchProblem(problem.costs, (ERROR, "params", "macs"))
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
    names = (ERROR, "macs", "params")
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
