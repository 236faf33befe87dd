"""Surrogates: what predicts the error of an architecture from those that were evaluated."""

from collections.abc import Callable

from nat.surrogates.base import JointSurrogate as JointSurrogate
from nat.surrogates.base import Surrogate as Surrogate
from nat.surrogates.gp import GaussianProcess as GaussianProcess
from nat.surrogates.mlp import MLPEnsemble as MLPEnsemble
from nat.surrogates.rbf import CubicRBF as CubicRBF
from nat.surrogates.rbf_ensemble import RBFEnsemble as RBFEnsemble
from nat.surrogates.ridge import OneHotRidge as OneHotRidge
from nat.surrogates.switching import SwitchingSurrogate as SwitchingSurrogate
from nat.surrogates.trees import BoostedTrees as BoostedTrees
from nat.surrogates.trend import TrendGaussianProcess as TrendGaussianProcess

SURROGATES: dict[str, Callable[[], Surrogate]] = {
    kind.name: kind
    for kind in (
        CubicRBF,
        RBFEnsemble,
        GaussianProcess,
        OneHotRidge,
        MLPEnsemble,
        BoostedTrees,
        SwitchingSurrogate,
        TrendGaussianProcess,
    )
}  # by the names that `--set surrogate=` takes
