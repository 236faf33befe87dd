"""What each recipe trains, step by step."""

from dataclasses import replace

import numpy as np
import pytest

from nat.errors import InputError
from nat.pretraining.recipes import PretrainRecipe
from nat.supernet.space import MobileNetSpace

FULL = MobileNetSpace(0.25, (3, 5, 7), (3, 4, 6), (2, 3, 4), (32, 48))


def test_resolutions_grow_from_the_smaller_to_all() -> None:
    recipe = PretrainRecipe(resolutions=(24, 32, 40, 48))

    def drawn(step: int) -> set[int]:
        return {recipe.resolution(step, 100, np.random.default_rng(seed)) for seed in range(200)}

    assert drawn(0) == {24, 32}
    assert drawn(30) == {24, 32, 40}
    assert drawn(60) == drawn(99) == {24, 32, 40, 48}
    shrinking = replace(recipe, method="shrinking")  # whose teacher must know all sizes
    assert {shrinking.resolution(0, 100, np.random.default_rng(seed)) for seed in range(200)} == {24, 32, 40, 48}
    assert PretrainRecipe(resolutions=(24,)).resolution(0, 100, np.random.default_rng(0)) == 24


def test_the_sandwich_is_one_stage_with_both_ends_in_each_step() -> None:
    recipe = PretrainRecipe(epochs=2.5, random_subnets=2)
    (stage,) = recipe.stages(FULL, steps_per_epoch=100)
    assert (stage.start, stage.steps, stage.warmup) == (0, 250, 62)
    rng = np.random.default_rng(0)
    nets = stage.architectures(rng)
    assert nets[:2] == [FULL.largest(), FULL.smallest()] and len(nets) == 4
    assert nets[2:] != stage.architectures(rng)[2:]


def test_shrinking_has_the_stages_rates_and_subnets_of_once_for_all() -> None:
    recipe = PretrainRecipe.shrinking(batch_size=2048)
    assert recipe.learning_rate == pytest.approx(2.6)
    stages = recipe.stages(FULL, steps_per_epoch=605)
    assert [stage.learning_rate for stage in stages] == pytest.approx([2.6, 0.96, 0.08, 0.24, 0.08, 0.24])
    assert [stage.drawn for stage in stages] == [1, 1, 2, 2, 4, 4]
    assert [stage.steps for stage in stages] == pytest.approx([1800, 1250, 250, 1250, 250, 1250], abs=5)
    choices = [(stage.space.kernels, stage.space.depths, stage.space.expands) for stage in stages]
    assert choices == [
        ((7,), (4,), (6,)),
        ((3, 5, 7), (4,), (6,)),
        ((3, 5, 7), (3, 4), (6,)),
        ((3, 5, 7), (2, 3, 4), (6,)),
        ((3, 5, 7), (2, 3, 4), (4, 6)),
        ((3, 5, 7), (2, 3, 4), (3, 4, 6)),
    ]
    assert [stage.resort for stage in stages] == [False] * 4 + [True] * 2
    assert [stage.taught for stage in stages] == [False] + [True] * 5
    assert not any(stage.anchors for stage in stages)


def test_stages_follow_one_another_without_gaps_and_those_without_a_new_choice_are_left_out() -> None:
    space = MobileNetSpace(0.25, (3,), (2, 3), (1, 2), (32,))
    stages = PretrainRecipe.shrinking().stages(space, steps_per_epoch=7)
    assert [stage.name for stage in stages] == ["largest", "depths, first", "expand ratios, first"]
    ends = [stage.start + stage.steps for stage in stages]
    assert [stage.start for stage in stages] == [0, *ends[:-1]] and ends[-1] == 70
    assert all(stage.steps > 0 for stage in stages)
    assert stages[-1].space == space


def test_every_drawn_subnet_is_of_the_whole_space() -> None:
    rng = np.random.default_rng(0)
    for stage in PretrainRecipe.shrinking().stages(FULL, steps_per_epoch=9):
        for net in stage.architectures(rng):
            FULL.validate(net)
            stage.space.validate(net)


def test_too_short_a_training_for_its_stages_is_refused() -> None:
    recipe = PretrainRecipe(method="shrinking", epochs=1)
    with pytest.raises(InputError, match="at least 6 steps"):
        recipe.stages(FULL, steps_per_epoch=5)
    assert len(recipe.stages(FULL, steps_per_epoch=6)) == 6
