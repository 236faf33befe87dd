"""Surrogates: what predicts the error of an architecture from those that were evaluated."""

from nat.surrogates.base import Surrogate as Surrogate
from nat.surrogates.gp import GaussianProcess as GaussianProcess
from nat.surrogates.rbf import CubicRBF as CubicRBF
from nat.surrogates.switching import SwitchingSurrogate as SwitchingSurrogate
