"""What every surrogate keeps to; a new one joins by being listed."""

import pickle
import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kendalltau

from nat.surrogates import (
    SURROGATES,
    BoostedTrees,
    GaussianProcess,
    JointSurrogate,
    MLPEnsemble,
    RBFEnsemble,
    Surrogate,
    SwitchingSurrogate,
    TrendGaussianProcess,
)

SMALLER: dict[str, Callable[[], Surrogate]] = {  # than by default, so that tests are quick
    "rbf-ensemble": lambda: RBFEnsemble(members=5, folds=5),
    "mlp": lambda: MLPEnsemble(members=3, folds=3, steps=150),
    "trees": lambda: BoostedTrees(members=3, folds=3),
    "switching": lambda: SwitchingSurrogate(folds=3),
}
MAKERS = SURROGATES | SMALLER
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
JOINT: list[Callable[[], JointSurrogate]] = [GaussianProcess, TrendGaussianProcess]
joint = pytest.mark.parametrize("make", JOINT, ids=[make().name for make in JOINT])
LEAST_TAU = {"trees": 0.5, "rbf-ensemble": 0.7}  # each model of theirs misses effects
DIMENSIONS = 12


def additive(rows: int, seed: int = 0, dimensions: int = DIMENSIONS) -> tuple[np.ndarray, np.ndarray]:
    """Four levels a feature, as encodings have; a higher level takes some error away, by a different step each."""
    levels = np.random.default_rng(seed).integers(0, 4, (rows, dimensions))
    steps = np.random.default_rng(99).random((dimensions, 4)) * np.linspace(0.2, 1.0, dimensions)[:, None]
    effects = steps.cumsum(axis=1)
    return levels / 3.0, 0.6 - 0.02 * effects[np.arange(dimensions), levels].sum(axis=1)


def check(mean: np.ndarray, deviation: np.ndarray, rows: int) -> None:
    assert mean.shape == deviation.shape == (rows,)
    assert np.isfinite(mean).all() and np.isfinite(deviation).all()
    assert (deviation >= 0).all()
    assert ((mean >= 0) & (mean <= 1)).all()


@every
def test_predictions_are_finite_and_in_bounds(make: Callable[[], Surrogate]) -> None:
    surrogate = make()
    surrogate.fit(*additive(30))
    for rows in (0, 1, 50):
        check(*surrogate.predict(additive(rows, seed=1)[0]), rows)
    assert surrogate.name


@every
def test_unseen_rows_are_ranked(make: Callable[[], Surrogate]) -> None:
    surrogate = make()
    surrogate.fit(*additive(80))
    features, targets = additive(400, seed=1)
    mean, deviation = surrogate.predict(features)
    assert kendalltau(mean, targets).statistic > LEAST_TAU.get(surrogate.name, 0.75)
    known = surrogate.predict(additive(80)[0])[1]
    assert known.mean() < deviation.mean()
    if surrogate.name != "ridge":  # these effects add up exactly, which it knows and finds
        assert 0.2 < np.abs(mean - targets).mean() / deviation.mean() < 3.0


@every
def test_same_data_same_predictions_also_after_other_data(make: Callable[[], Surrogate]) -> None:
    features = additive(20, seed=1)[0]
    first, again = make(), make()
    first.fit(*additive(30))
    again.fit(*additive(20, seed=7))
    again.fit(*additive(30))
    for one, other in zip(first.predict(features), again.predict(features), strict=True):
        assert (one == other).all()


@every
def test_the_order_of_rows_is_irrelevant(make: Callable[[], Surrogate]) -> None:
    features, targets = additive(30)
    first, again = make(), make()
    first.fit(features, targets)
    again.fit(features[::-1], targets[::-1])
    unseen = additive(20, seed=1)[0]
    for one, other in zip(first.predict(unseen), again.predict(unseen), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@every
@pytest.mark.parametrize("rows", [1, 2, 3, 5, DIMENSIONS, DIMENSIONS + 1])
def test_few_rows_are_enough(make: Callable[[], Surrogate], rows: int) -> None:
    features, targets = additive(rows)
    surrogate = make()
    surrogate.fit(features, targets)
    check(*surrogate.predict(additive(40, seed=1)[0]), 40)
    np.testing.assert_allclose(surrogate.predict(features)[0], targets, atol=0.05)


@every
def test_repeated_rows_are_averaged(make: Callable[[], Surrogate]) -> None:
    features, targets = additive(30)
    surrogate = make()
    surrogate.fit(np.vstack([features] * 3), np.concatenate([targets - 0.01, targets + 0.01, targets]))
    check(*surrogate.predict(additive(40, seed=1)[0]), 40)
    np.testing.assert_allclose(surrogate.predict(features)[0], targets, atol=0.01)
    surrogate.fit(np.ones((4, 3)), np.array([0.1, 0.2, 0.3, 0.2]))
    atol = 0.015 if surrogate.name == "trend-gp" else 0.01  # whose mean is one of logits
    np.testing.assert_allclose(surrogate.predict(np.ones((1, 3)))[0], 0.2, atol=atol)


@every
def test_targets_that_are_all_equal_are_predicted(make: Callable[[], Surrogate]) -> None:
    features, _ = additive(30)
    surrogate = make()
    surrogate.fit(features, np.full(30, 0.3))
    mean, deviation = surrogate.predict(additive(40, seed=1)[0])
    check(mean, deviation, 40)
    np.testing.assert_allclose(mean, 0.3)


@every
def test_constant_and_dependent_columns_do_no_harm(make: Callable[[], Surrogate]) -> None:
    features, targets = additive(60)
    unseen, unseen_targets = additive(100, seed=1)
    surrogate = make()
    surrogate.fit(np.hstack([features, np.full((60, 2), 0.5), features[:, :1]]), targets)
    mean, deviation = surrogate.predict(np.hstack([unseen, np.full((100, 2), 0.5), unseen[:, :1]]))
    check(mean, deviation, 100)
    assert kendalltau(mean, unseen_targets).statistic > LEAST_TAU.get(surrogate.name, 0.7)
    moved, _ = surrogate.predict(np.hstack([unseen, np.full((100, 2), 0.7), unseen[:, :1]]))
    assert kendalltau(moved, unseen_targets).statistic > LEAST_TAU.get(surrogate.name, 0.6)


@every
def test_the_data_are_not_modified(make: Callable[[], Surrogate]) -> None:
    features, targets = additive(30)
    kept = features.copy(), targets.copy()
    features.flags.writeable = targets.flags.writeable = False
    surrogate = make()
    surrogate.fit(features, targets)
    surrogate.predict(features)
    assert (features == kept[0]).all() and (targets == kept[1]).all()


@every
def test_a_fitted_surrogate_pickles(make: Callable[[], Surrogate]) -> None:
    surrogate = make()
    surrogate.fit(*additive(30))
    features = additive(20, seed=1)[0]
    copy = pickle.loads(pickle.dumps(surrogate))
    assert (copy.predict(features)[0] == surrogate.predict(features)[0]).all()


@every
def test_misuse_is_named(make: Callable[[], Surrogate]) -> None:
    features, targets = additive(5)
    with pytest.raises(RuntimeError, match="fit before predict"):
        make().predict(features)
    for wrong in ((features, targets[:4]), (features[:0], targets[:0]), (targets, targets)):
        with pytest.raises(ValueError, match="expected features"):
            make().fit(*wrong)
    with pytest.raises(ValueError, match="finite"):
        make().fit(features, targets * np.nan)


@every
def test_many_predictions_are_soon_made(make: Callable[[], Surrogate]) -> None:
    surrogate = make()
    surrogate.fit(*additive(100))
    features, _ = additive(5000, seed=1)
    start = time.process_time()
    surrogate.predict(features)
    assert time.process_time() - start < 1.0


@joint
def test_joint_predictions_have_the_deviations_of_single_ones(make: Callable[[], JointSurrogate]) -> None:
    surrogate = make()
    with pytest.raises(RuntimeError, match="fit before predict"):
        surrogate.covariance(additive(5)[0])
    surrogate.fit(*additive(40))
    features, _ = additive(30, seed=1)
    covariance = surrogate.covariance(features)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), surrogate.predict(features)[1], rtol=1e-5)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9 * covariance.max()
    near = np.vstack([features[:1], features[:1]])
    assert np.ptp(surrogate.covariance(near)) < 1e-9
