"""Controls: which nets stand beside a front."""

import numpy as np
import pytest
from timm import is_model

from nat.controls import CANDIDATES, random_subnets, subnets_beside, timm_costs, timm_like
from nat.errors import InputError
from nat.options import Effort, checked, efforts
from nat.problem import SearchProblem


def test_candidates_are_models_of_timm() -> None:
    assert all(is_model(name) for name in CANDIDATES)


def test_costs_of_timm_networks_are_those_of_convolutions_and_linear_layers() -> None:
    macs, params = timm_costs("lcnet_050", 32, 3)
    more, heavier = timm_costs("lcnet_050", 32, 13)
    assert (more - macs, heavier - params) == (10 * 1280, 10 * 1281), "ten more classes of 1,280 features"


def test_a_network_of_timm_is_chosen_by_its_multiply_adds() -> None:
    macs, _ = timm_costs("mobilenetv3_small_100", 32, 3)
    assert timm_like(macs, 32, 3) == "mobilenetv3_small_100"
    assert timm_like(10**12, 32, 3, most=macs) != timm_like(10**12, 32, 3)
    assert timm_costs(timm_like(10**12, 32, 3, most=macs), 32, 3)[0] <= macs
    cheapest = timm_like(10**12, 32, 3, most=1)
    assert timm_costs(cheapest, 32, 3)[0] == min(timm_costs(name, 32, 3)[0] for name in CANDIDATES)


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


def test_controls_follow_the_effort_and_older_words_are_understood() -> None:
    assert {name: effort.controls for name, effort in efforts().items()} == {
        "quick": "ends", "standard": "all", "paper": "all",
    }  # fmt: skip
    quick = efforts()["quick"].model_dump()
    for word, meant in (("false", "none"), (False, "none"), ("true", "ends"), (True, "ends"), ("all", "all")):
        assert checked(Effort, {**quick, "controls": word}).controls == meant
    with pytest.raises(InputError, match="controls"):
        checked(Effort, {**quick, "controls": "some"})
