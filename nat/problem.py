"""What a search is asked: the space, what is minimised, and the limits that every subnet must keep."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.objectives import ERROR, LATENCY, MACS, MEMORY, PARAMS, TOP1, Known, Measured, Objective
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import Limits
from nat.supernet.searchable import Costs, Encodings, SearchSpace

Objectives = NDArray[np.float64]
ALWAYS: tuple[Known, ...] = (MACS, PARAMS)  # known of every evaluation, whatever is minimised


@dataclass(frozen=True)
class SearchProblem:
    """A multi-objective problem over the encodings of a space; everything is minimised.

    Attributes:
        costs: exact costs of the space, for the data set's classes.
        objectives: those that must be measured, then those that are known.
        limits: constraints on what is known, checked before anything is evaluated.
        max_error: the greatest top-1 error that a reported subnet may have, as the search measures it.
    """

    costs: Costs
    objectives: tuple[Objective, ...] = (TOP1, MACS)
    limits: Limits = field(default_factory=Limits)
    max_error: float = 1.0

    def __post_init__(self) -> None:
        kinds = [isinstance(objective, Measured) for objective in self.objectives]
        if not any(kinds) or kinds != sorted(kinds, reverse=True):
            raise ValueError(f"expected measured objectives, then those that are known, got {', '.join(self.names)}.")

    @property
    def error(self) -> str:
        """Name of the first measured objective: the error that is traded for costs."""
        return self.measured[0].name

    @property
    def space(self) -> SearchSpace:
        """The architectures to choose from."""
        return self.costs.space

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objectives."""
        return tuple(objective.name for objective in self.objectives)

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The objectives that need a network; each has a surrogate of its own."""
        return tuple(objective for objective in self.objectives if isinstance(objective, Measured))

    @property
    def known(self) -> tuple[Known, ...]:
        """What is known of an architecture: the other objectives, what is limited, multiply-adds and parameters."""
        own = (objective for objective in self.objectives if isinstance(objective, Known))
        limited = (known for known in (MEMORY, LATENCY) if self.limits.by_name()[known.name] is not None)
        return tuple({known.name: known for known in (*ALWAYS, *own, *limited)}.values())

    def allows(self, encodings: Encodings) -> NDArray[np.bool_]:
        """Which of the encodings (n, genes) keep the limits, shape (n,)."""
        return self.limits.allow(self.costs, encodings)

    def accepts(self, measured: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows of measured or predicted errors (n,) or (n, measured) keep `max_error`, shape (n,)."""
        return np.less_equal(self.shortfall(measured), 0)

    def shortfall(self, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much measured or predicted errors, as in `accepts`, are above `max_error`; 0 where they are not.

        Also 0 where top-1 is not among the objectives, and so nothing predicts it.
        """
        names = [objective.name for objective in self.measured]
        if self.max_error >= 1.0 or ERROR not in names:
            return np.zeros(len(measured))
        errors: NDArray[np.float64] = measured.reshape(len(measured), len(names))[:, names.index(ERROR)]
        return np.maximum(errors - self.max_error, 0.0)

    def keeping(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """The evaluations that keep `max_error`."""
        return [evaluation for evaluation in evaluations if evaluation.objectives[ERROR] <= self.max_error]

    def values(self, measured: NDArray[np.float64], encodings: Encodings) -> Objectives:
        """Objective values, shape (n, m), in the order of the objectives.

        Args:
            measured: given or predicted errors of the measured objectives, (n,) for one, else (n, measured).
            encodings: the architectures (n, genes), for what is known.
        """
        errors = iter(measured.reshape(len(encodings), len(self.measured)).T)
        columns = (
            next(errors) if isinstance(o, Measured) else o.values(self.costs, encodings) for o in self.objectives
        )
        return np.stack(list(columns), axis=1)

    def known_of(self, architecture: Architecture) -> dict[str, float]:
        """Everything known of an architecture, by name."""
        encodings = self.space.encode([architecture])
        return {known.name: float(known.values(self.costs, encodings)[0]) for known in self.known}

    def encodings_of(self, evaluations: Sequence[Evaluation]) -> Encodings:
        """Encodings of evaluated architectures, shape (n, genes)."""
        return self.space.encode([evaluation.architecture for evaluation in evaluations])

    def values_of(self, evaluations: Sequence[Evaluation]) -> Objectives:
        """Measured objective values, shape (n, m)."""
        rows = [[evaluation.objectives[name] for name in self.names] for evaluation in evaluations]
        return np.array(rows, dtype=float).reshape(-1, len(self.objectives))

    def errors_of(self, evaluations: Sequence[Evaluation]) -> Objectives:
        """Values of the measured objectives alone, shape (n, measured)."""
        rows = [[evaluation.objectives[o.name] for o in self.measured] for evaluation in evaluations]
        return np.array(rows, dtype=float).reshape(-1, len(self.measured))

    def reference_point(self) -> Objectives:
        """The worst corner for hypervolumes, shape (m,): error 1, and the greatest cost that the limits allow."""
        return self._box[1]

    def ideal_point(self) -> Objectives:
        """The best corner for hypervolumes, shape (m,): zeros, but where a user's objective has another."""
        return self._box[0]

    @cached_property
    def _box(self) -> tuple[Objectives, Objectives]:
        limited = self.limits.by_name()
        corners = []
        for objective in self.objectives:
            most = limited.get(objective.name) or math.inf
            corners.append((0.0, 1.0) if isinstance(objective, Measured) else objective.box(self.costs, most))
        best_corner, worst_corner = np.array(corners).T
        return best_corner, worst_corner
