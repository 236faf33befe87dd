from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from nat.bootstrap import interval, intervals, read_correct, resampled, tied_with_best, ties


def right(*counts: int, images: int = 400) -> np.ndarray:
    """Nets that are right on the first so many images."""
    return np.arange(images) < np.array(counts)[:, None]


def test_intervals_are_those_of_the_binomial() -> None:
    """Resampling images with replacement makes the number of right answers binomial."""
    low, high = interval(resampled(right(300))[:, 0])
    assert low == pytest.approx(binom.ppf(0.025, 400, 0.75) / 400, abs=0.01)
    assert high == pytest.approx(binom.ppf(0.975, 400, 0.75) / 400, abs=0.01)
    assert interval(resampled(right(400))[:, 0]) == [1.0, 1.0]


def test_resamples_are_the_same_for_all_nets_and_again() -> None:
    one, other = resampled(right(300, 300)).T
    assert (one == other).all()
    assert (resampled(right(300)) == one[:, None]).all()


def test_ties_are_judged_on_the_same_images() -> None:
    """Two nets three images apart: certain if one is right wherever the other is, and more; open if they disagree."""
    nested = right(300, 290)
    assert tied_with_best(nested).tolist() == [True, False]
    rng = np.random.default_rng(0)
    apart = np.stack([right(300)[0], rng.permutation(right(290)[0])])
    assert tied_with_best(apart).tolist() == [True, True]
    assert tied_with_best(right(300, 300)).tolist() == [True, True]


def test_the_cheapest_of_those_tied_is_named() -> None:
    rows = [{"id": name, "macs": macs} for name, macs in (("a", 9), ("b", 5), ("c", 1))]
    table = dict(zip("abc", right(300, 299, 200), strict=True))
    found = ties(rows, {name: {"val": values} for name, values in table.items()})
    assert found is not None
    assert (found["ids"], found["cheapest"]) == (["b", "a"], "b")
    assert found["says"].startswith("b and a are statistically tied") and found["says"].endswith("the cheapest is b.")
    alone = ties(rows[:1], {"a": {"val": table["a"]}})
    assert alone is not None and "by more than chance" not in alone["says"]


def test_nothing_is_said_without_the_answers(tmp_path: Path) -> None:
    assert read_correct(tmp_path) == {}
    assert intervals({}) == {"val_interval": None, "test_interval": None}
    assert ties([{"id": "a", "macs": 1}], {}) is None
    assert ties([], {}) is None
    assert intervals({"val": right(300)[0]})["test_interval"] is None
