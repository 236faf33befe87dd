"""What a search is asked: the space, what is minimised, and the limits that every subnet must keep."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nat.archive import Evaluation
from nat.errors import InputError, unknown_name
from nat.supernet.sampling import Limits
from nat.supernet.searchable import Costs, Encodings, SearchSpace

Objectives = NDArray[np.float64]

ERROR = "top1_error"
SPELLINGS = {"top1": ERROR, "macs": "macs", "params": "params"}


def read_objectives(text: str) -> tuple[str, ...]:
    """Names of objectives from a comma-separated list such as "top1,macs"; the error comes first, then costs.

    Raises:
        InputError: a name is unknown or repeated, or the error or a cost is lacking.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in SPELLINGS:
            raise unknown_name("objective", word, SPELLINGS)
    names = [SPELLINGS[word] for word in words]
    if len(set(names)) != len(names) or ERROR not in names or len(names) < 2:
        raise InputError(
            f"expected --objectives to name top1 and at least one of macs, params, once each, got '{text}'."
        )
    return (ERROR, *(name for name in names if name != ERROR))


@dataclass(frozen=True)
class SearchProblem:
    """A multi-objective problem over the encodings of a space; everything is minimised.

    Attributes:
        costs: exact costs of the space, for the data set's classes.
        objectives: `top1_error`, which must be measured, then exact costs.
        limits: constraints, checked before anything is evaluated.
    """

    costs: Costs
    objectives: tuple[str, ...] = (ERROR, "macs")
    limits: Limits = field(default_factory=Limits)

    @property
    def space(self) -> SearchSpace:
        """The architectures to choose from."""
        return self.costs.space

    def allows(self, encodings: Encodings) -> NDArray[np.bool_]:
        """Which of the encodings (n, genes) keep the limits, shape (n,)."""
        return self.limits.allow(self.costs, encodings)

    def values(self, errors: NDArray[np.float64], encodings: Encodings) -> Objectives:
        """Objective values, shape (n, m): the given errors beside the exact costs of the encodings (n, genes)."""
        columns = {ERROR: errors, "macs": self.costs.macs(encodings), "params": self.costs.params(encodings)}
        return np.stack([np.asarray(columns[name], dtype=float) for name in self.objectives], axis=1)

    def encodings_of(self, evaluations: Sequence[Evaluation]) -> Encodings:
        """Encodings of evaluated architectures, shape (n, genes)."""
        return self.space.encode([evaluation.architecture for evaluation in evaluations])

    def values_of(self, evaluations: Sequence[Evaluation]) -> Objectives:
        """Measured objective values, shape (n, m)."""
        rows = [[evaluation.objectives[name] for name in self.objectives] for evaluation in evaluations]
        return np.array(rows, dtype=float).reshape(-1, len(self.objectives))

    def reference_point(self) -> Objectives:
        """The worst corner for hypervolumes, shape (m,): error 1, and the greatest cost that the limits allow."""
        macs, params = self.costs.of(self.space.largest())
        worst = {
            ERROR: 1.0,
            "macs": min(macs, self.limits.max_macs or macs),
            "params": min(params, self.limits.max_params or params),
        }
        return np.array([float(worst[name]) for name in self.objectives])
