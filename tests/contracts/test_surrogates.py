"""What every surrogate keeps to; a new one joins by being listed."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from scipy.optimize import check_grad
from scipy.stats import kendalltau
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from nat.errors import InputError
from nat.surrogates import CubicRBF, GaussianProcess, Surrogate, SwitchingSurrogate
from nat.surrogates import gp as gp_module

SURROGATES: list[Callable[[], Surrogate]] = [
    CubicRBF,
    GaussianProcess,
    lambda: SwitchingSurrogate(folds=3),
]
every = pytest.mark.parametrize("make", SURROGATES, ids=[make().name for make in SURROGATES])
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
    assert kendalltau(mean, targets).statistic > 0.75
    known = surrogate.predict(additive(80)[0])[1]
    assert known.mean() < deviation.mean()
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
    np.testing.assert_allclose(surrogate.predict(np.ones((1, 3)))[0], 0.2, atol=0.01)


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
    assert kendalltau(mean, unseen_targets).statistic > 0.7
    moved, _ = surrogate.predict(np.hstack([unseen, np.full((100, 2), 0.7), unseen[:, :1]]))
    assert kendalltau(moved, unseen_targets).statistic > 0.6


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


@pytest.mark.parametrize("make", [CubicRBF, GaussianProcess])
def test_other_targets_need_other_bounds(make: type[CubicRBF] | type[GaussianProcess]) -> None:
    features, targets = additive(60)
    surrogate = make(bounds=(-np.inf, np.inf))
    surrogate.fit(features, 1000 * targets)
    mean, _ = surrogate.predict(features)
    np.testing.assert_allclose(mean, 1000 * targets, rtol=0.05)


def test_cubic_rbf_equals_scipy() -> None:
    features, targets = additive(60)
    surrogate = CubicRBF()
    surrogate.fit(features, targets)
    unseen = additive(50, seed=1)[0]
    expected = RBFInterpolator(features, targets, kernel="cubic", degree=1)(unseen)
    np.testing.assert_allclose(surrogate.predict(unseen)[0], expected, rtol=1e-8)


def test_cubic_rbf_is_certain_where_it_was_told() -> None:
    features, targets = additive(60)
    surrogate = CubicRBF()
    surrogate.fit(features, targets)
    mean, deviation = surrogate.predict(features)
    np.testing.assert_allclose(mean, targets, rtol=1e-9)
    assert deviation.max() < 1e-3 * surrogate.predict(additive(50, seed=1)[0])[1].min()


def test_the_spread_of_cubic_rbf_comes_from_leaving_each_row_out() -> None:
    features, targets = additive(40)
    whole = CubicRBF()
    whole.fit(features, targets)
    ratios = []
    for i in range(40):
        others = np.arange(40) != i
        part = CubicRBF()
        part.fit(features[others], targets[others])
        mean, deviation = part.predict(features[i : i + 1])
        assert part._interpolant is not None
        ratios.append((mean[0] - targets[i]) / (deviation[0] / part._interpolant.spread))
    assert whole._interpolant is not None
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(whole._interpolant.spread, rel=0.05)


def test_gaussian_process_equals_scikit_learn_at_its_hyperparameters() -> None:
    features, targets = additive(60)
    surrogate = GaussianProcess()
    surrogate.fit(features, targets)
    logarithms = gp_module._fitted(*_sorted_and_scaled(features, targets))
    lengths, variance, noise = gp_module._natural(logarithms)
    kernel = ConstantKernel(variance) * Matern(lengths, nu=1.5)
    model = GaussianProcessRegressor(kernel, alpha=noise + gp_module.JITTER, optimizer=None, normalize_y=True).fit(
        features, targets
    )
    unseen = additive(50, seed=1)[0]
    for ours, theirs in zip(surrogate.predict(unseen), model.predict(unseen, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    likelihood = GaussianProcessRegressor(
        kernel + WhiteKernel(noise), alpha=gp_module.JITTER, optimizer=None, normalize_y=True
    ).fit(features, targets)
    value, _ = gp_module._misfit(logarithms, *_sorted_and_scaled(features, targets))
    assert -value - 30 * np.log(2 * np.pi) == pytest.approx(likelihood.log_marginal_likelihood())


def test_the_gradient_of_the_gaussian_process_is_right() -> None:
    rows, targets = _sorted_and_scaled(*additive(30))
    start = np.array([1.0, 0.5, -3.0, *np.linspace(-0.5, 0.5, DIMENSIONS)])
    error = check_grad(
        lambda x: gp_module._misfit(x, rows, targets)[0], lambda x: gp_module._misfit(x, rows, targets)[1], start
    )
    assert error < 1e-4


def _sorted_and_scaled(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((targets, *features.T[::-1]))
    return features[order], (targets[order] - targets.mean()) / targets.std()


class Upside:
    """Ranks everything the wrong way round."""

    name = "upside"

    def fit(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.gp = GaussianProcess()
        self.gp.fit(features, 1 - targets)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.gp.predict(features)


def test_switching_takes_the_candidate_that_ranks_best() -> None:
    surrogate = SwitchingSurrogate([Upside(), CubicRBF()], folds=4)
    surrogate.fit(*additive(60))
    assert surrogate.chosen == "rbf"
    assert surrogate.cross_validated_tau["upside"] < 0 < surrogate.cross_validated_tau["rbf"] < 0.999
    surrogate.fit(*additive(5))
    assert (surrogate.chosen, surrogate.cross_validated_tau) == ("upside", {})


def test_switching_refuses_candidates_of_one_name() -> None:
    for candidates in ([], [CubicRBF(), CubicRBF()]):
        with pytest.raises(InputError, match="different names"):
            SwitchingSurrogate(candidates)
