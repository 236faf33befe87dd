"""What single surrogates promise beyond the contract of all."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from scipy.optimize import check_grad
from scipy.stats import kendalltau
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
from sklearn.gaussian_process.kernels import Matern as Matern_of_scikit_learn

from nat.errors import InputError
from nat.surrogates import CubicRBF, GaussianProcess, SwitchingSurrogate, TrendGaussianProcess
from nat.surrogates import gp as gp_module
from nat.surrogates.kernels import Kernel, Linear, Matern, Sum
from nat.surrogates.posterior import JITTER, best_logarithms, negative_log_likelihood

DIMENSIONS = 12


def additive(rows: int, seed: int = 0, dimensions: int = DIMENSIONS) -> tuple[np.ndarray, np.ndarray]:
    """Four levels a feature, as encodings have; a higher level takes some error away, by a different step each."""
    levels = np.random.default_rng(seed).integers(0, 4, (rows, dimensions))
    steps = np.random.default_rng(99).random((dimensions, 4)) * np.linspace(0.2, 1.0, dimensions)[:, None]
    effects = steps.cumsum(axis=1)
    return levels / 3.0, 0.6 - 0.02 * effects[np.arange(dimensions), levels].sum(axis=1)


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
    rows, scaled = _sorted_and_scaled(features, targets)
    logarithms = best_logarithms(Matern(1.5), rows, scaled, gp_module.NOISE)
    noise, common, variance, *columns = logarithms
    kernel = ConstantKernel(np.exp(variance)) * Matern_of_scikit_learn(np.exp(common + np.array(columns)), nu=1.5)
    model = GaussianProcessRegressor(kernel, alpha=np.exp(noise) + JITTER, optimizer=None, normalize_y=True)
    model.fit(features, targets)
    unseen = additive(50, seed=1)[0]
    for ours, theirs in zip(surrogate.predict(unseen), model.predict(unseen, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(surrogate.covariance(unseen), model.predict(unseen, return_cov=True)[1], atol=1e-9)
    likelihood = GaussianProcessRegressor(
        kernel + WhiteKernel(np.exp(noise)), alpha=JITTER, optimizer=None, normalize_y=True
    ).fit(features, targets)
    value, _ = negative_log_likelihood(Matern(1.5), logarithms, rows, scaled)
    assert -value - 30 * np.log(2 * np.pi) == pytest.approx(likelihood.log_marginal_likelihood())


@pytest.mark.parametrize("kernel", [Matern(1.5), Matern(2.5), Linear(), Sum(Linear(), Matern(2.5), columns=5)])
def test_the_gradient_of_the_likelihood_is_right(kernel: Kernel) -> None:
    rows, targets = _sorted_and_scaled(*additive(30))
    priors = kernel.priors(DIMENSIONS)
    start = np.concatenate([[-3.0], priors.mean + priors.deviation * np.linspace(-0.5, 0.5, len(priors.mean))])

    def misfit(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        return negative_log_likelihood(kernel, logarithms, rows, targets)

    assert check_grad(lambda x: misfit(x)[0], lambda x: misfit(x)[1], start) < 5e-4  # of finite differences
    covariance = kernel.covariance(start[1:], rows, rows)
    np.testing.assert_allclose(kernel.with_slope(start[1:], rows)[0], covariance)
    np.testing.assert_allclose(kernel.variance(start[1:], rows), np.diag(covariance))


def test_trends_reach_beyond_what_was_seen() -> None:
    features, targets = additive(120)
    order = np.argsort(targets)
    trend, plain = TrendGaussianProcess(), GaussianProcess()
    errors = []
    for surrogate in (trend, plain):
        surrogate.fit(features[order[40:]], targets[order[40:]])
        errors.append(np.abs(surrogate.predict(features[order[:40]])[0] - targets[order[:40]]).mean())
    assert errors[0] < 0.8 * errors[1]


def test_levels_that_follow_no_order_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = np.random.default_rng(99).normal(size=(4, 4, 4))  # the effect of every two levels of two features
    taus: dict[float, list[float]] = {0.0: [], 0.5: []}
    for seed in range(3):
        levels = np.random.default_rng(seed).integers(0, 4, (420, 8))
        targets = 0.3 + 0.02 * pairs[np.arange(4), levels[:, ::2], levels[:, 1::2]].sum(axis=1)
        for apart, found in taus.items():
            monkeypatch.setattr("nat.surrogates.trend.CATEGORY", apart)
            surrogate = TrendGaussianProcess()
            surrogate.fit(levels[:120] / 3, targets[:120])
            found.append(kendalltau(surrogate.predict(levels[120:] / 3)[0], targets[120:]).statistic)
    assert np.mean(taus[0.5]) > np.mean(taus[0.0]) + 0.05


@pytest.mark.parametrize("rows", [16, 30, 50])
def test_the_default_is_hardly_worse_than_a_plain_process_on_few_noisy_rows(rows: int) -> None:
    differences = []
    for seed in range(6):
        features, targets = additive(rows, seed=seed, dimensions=20)
        unseen, truth = additive(300, seed=100, dimensions=20)
        measured = np.random.default_rng(seed).binomial(1000, targets) / 1000
        taus = []
        for surrogate in (TrendGaussianProcess(), GaussianProcess()):
            surrogate.fit(features, measured)
            taus.append(kendalltau(surrogate.predict(unseen)[0], truth).statistic)
        differences.append(taus[0] - taus[1])
    assert np.mean(differences) > -0.015


def test_errors_of_nothing_and_everything_are_learned_from() -> None:
    features, targets = additive(40)
    targets = np.where(targets < np.quantile(targets, 0.1), 0.0, targets)
    surrogate = TrendGaussianProcess()
    surrogate.fit(features, np.append(targets[1:], 1.0))
    mean, deviation = surrogate.predict(features)
    assert 0 < mean.min() < mean.max() < 1 and np.isfinite(deviation).all()
    surrogate.fit(features, np.zeros(40))
    assert surrogate.predict(features)[0].max() < 0.01


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
