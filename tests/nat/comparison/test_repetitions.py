"""Statistics over seeds, with answers that are known."""

import numpy as np
import pytest

from nat.comparison.repetitions import difference, sentence, student_interval, summary


def test_summary() -> None:
    assert summary({0: 1.0, 1: 2.0, 2: 3.0}) == {"mean": 2.0, "std": 1.0, "values": {"0": 1.0, "1": 2.0, "2": 3.0}}
    assert summary({4: 1.5})["std"] is None
    assert summary({})["mean"] is None


def test_students_interval() -> None:
    """Student's quantile for two degrees of freedom is 4.30265."""
    assert student_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx([2 - 2.48414, 2 + 2.48414], abs=1e-4)
    assert student_interval(np.array([1.0])) is None


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    intervals = [student_interval(rng.normal(1.0, 2.0, 4)) for _ in range(2000)]
    held = np.mean([found is not None and found[0] <= 1.0 <= found[1] for found in intervals])
    assert 0.935 < held < 0.965


def test_differences_are_paired_by_seed() -> None:
    """What both have in common, a hard split for one, does not count."""
    theirs = {0: 0.5, 1: 0.9, 2: 0.7, 3: 0.1}
    ours = {seed: value + 0.02 + 0.001 * seed for seed, value in theirs.items() if seed < 3}
    found = difference(ours, theirs)
    assert found is not None and found["seeds"] == 3
    assert found["mean"] == pytest.approx(0.021)
    assert found["interval"] == pytest.approx([0.021 - 0.002484, 0.021 + 0.002484], abs=1e-5)
    assert found["better"] and not found["worse"]
    back = difference(theirs, ours)
    assert back is not None and back["worse"] and not back["better"]


def test_one_seed_or_none() -> None:
    one = difference({0: 0.9}, {0: 0.1})
    assert one is not None and one["interval"] is None and not one["better"]
    assert difference({0: 0.9}, {1: 0.1}) is None
    assert "one seed" in sentence("nat", one, one)
    assert "no seed" in sentence("nat", None, None)


def test_seeds_that_agree_do_not_make_one_image_certain() -> None:
    """One image in a hundred, in both seeds: no spread over seeds, but other images might say otherwise."""
    gap = np.zeros(100)
    gap[0] = 1.0
    values = {0: 0.91, 1: 0.91}, {0: 0.90, 1: 0.90}
    assert difference(*values)["better"]  # type: ignore[index]
    with_images = difference(*values, images=[gap, gap])
    assert with_images is not None and not with_images["better"]
    many = np.concatenate([np.ones(30), np.zeros(70)])
    sure = difference({0: 0.8, 1: 0.8}, {0: 0.5, 1: 0.5}, images=[many, many])
    assert sure is not None and sure["better"] and sure["interval"][0] > 0.15


def test_sentences() -> None:
    level = difference({0: 0.5, 1: 0.6}, {0: 0.6, 1: 0.5})
    above = difference({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.1, 1: 0.2, 2: 0.3})
    below = difference({0: 0.1, 1: 0.2}, {0: 0.5, 1: 0.6})
    assert "nsga2: no better than random search, as far as 2 seeds can tell" in sentence("nsga2", level, level)
    assert "better than random search in accuracy (" in sentence("nat", level, above)
    assert "better than random search in hypervolume, worse than random search in accuracy" in sentence(
        "nat", above, below
    )
