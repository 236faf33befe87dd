"""Controls: which nets stand beside a front."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from nat.controls import random_subnets, subnets_beside
from nat.efforts import Effort, efforts
from nat.errors import InputError
from nat.problem import SearchProblem
from nat.settings import checked
from nat.supernet.sampling import Limits, sample_stratified
from nat.supernet.space import MobileNetSpace


def test_random_subnets_cost_what_nets_of_the_front_cost_or_hardly_more(problem: SearchProblem) -> None:
    space, costs = problem.space, problem.costs
    sample = space.decode(sample_stratified(costs, 9, np.random.default_rng(5)))
    front = [sample[place] for place in (0, 3, 5, 8)]
    drawn = random_subnets(problem, front, 0)
    for net, beside in zip(drawn, front[1:3], strict=True):
        assert 1 <= costs.of(net)[0] / costs.of(beside)[0] < 1.1
        assert net not in front


def test_random_subnets_are_within_the_front_and_follow_the_seed(problem: SearchProblem) -> None:
    space = problem.space
    front = [space.smallest(), space.largest()]
    drawn = random_subnets(problem, front, 0)
    low, high = (problem.costs.of(net)[0] for net in front)
    macs = [problem.costs.of(net)[0] for net in drawn]
    assert len(set(drawn)) == 2 and not {*drawn} & {*front}
    assert low < macs[0] < macs[1] < high
    assert np.log(macs[1] / macs[0]) > 0.1 * np.log(high / low), "spread"
    assert drawn == random_subnets(problem, front, 0) != random_subnets(problem, front, 1)


def test_the_largest_keeps_the_limits(problem: SearchProblem) -> None:
    space, costs = problem.space, problem.costs
    assert isinstance(space, MobileNetSpace)
    front = [space.smallest()]
    (name, kind, net), _ = subnets_beside("ends", problem, front, 0)
    assert (name, kind, net) == ("largest subnet", "largest", space.largest())
    limit = (costs.of(space.smallest())[0] + costs.of(space.largest())[0]) // 2
    limited = replace(problem, limits=Limits(limit))
    (name, kind, net), _ = subnets_beside("ends", limited, front, 0)
    assert (name, kind) == ("largest subnet within the budget", "largest")
    assert len({*net.kernels}) == len({*net.expands}) == 1 and costs.of(net)[0] <= limit
    choices = product(space.kernels, space.expands, space.depths, space.resolutions)
    within = [macs for choice in choices if (macs := costs.of(space.uniform(*choice))[0]) <= limit]
    assert costs.of(net)[0] == max(within), "of those that are uniform, the dearest within"
    tight = replace(problem, limits=Limits(costs.of(space.smallest())[0]))
    assert [kind for _, kind, _ in subnets_beside("ends", tight, front, 0)] == ["smallest"]


def test_controls_are_none_the_ends_or_all(problem: SearchProblem) -> None:
    front = [problem.space.smallest(), problem.space.largest()]
    kinds = {
        amount: [kind for _, kind, _ in subnets_beside(amount, problem, front, 0)] for amount in ("none", "ends", "all")
    }
    assert kinds == {
        "none": [],
        "ends": ["largest", "smallest"],
        "all": ["largest", "smallest", "random", "random"],
    }


def test_every_effort_has_all_controls_unless_asked_otherwise() -> None:
    assert {effort.controls for effort in efforts().values()} == {"all"}
    with pytest.raises(InputError, match="controls"):
        checked(Effort, {**efforts()["quick"].model_dump(), "controls": "some"})
