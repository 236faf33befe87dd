"""What is minimised: objectives that a network must be measured for, and those that are known of an architecture.

>>> [objective.name for objective in read_objectives("macs,top1")]
['top1_error', 'macs']

A user's own is any function of architectures, `UserObjective("name", function, lower, upper)`, or on the command line
`module:function` or `file.py:function`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nat.errors import InputError, unknown_name
from nat.supernet.architecture import Architecture
from nat.supernet.evaluation import balanced_accuracy, calibration_error, macro_f1, recalls, top1_accuracy
from nat.supernet.sampling import sample_uniform
from nat.supernet.searchable import Costs, Encodings
from nat.supernet.space import MobileNetSpace

Floats = NDArray[np.float64]

ERROR = "top1_error"
MOST = 12
_ANSWERS = ("macro_f1_error", "balanced_error", "calibration_error", "worst_recall_error")
RESERVED = {  # what rows of reports and evaluations hold under these names must not be another function's
    *("id", "architecture", "macs", "params", "resolution", "memory_bytes", "latency_ms", ERROR),
    *_ANSWERS,
    *(f"test_{name}" for name in _ANSWERS),
    *("val_top1", "test_top1", "finetuned", "finetuned_val_top1", "val_interval", "test_interval", "name"),
    *("judges", "lacks"),
}
BEYOND = 1.1  # reference points lie this much beyond the worst, where many architectures share it
SAMPLE = 256


class Named(Protocol):
    """What all objectives have."""

    @property
    def name(self) -> str:
        """In evaluations and files."""

    @property
    def title(self) -> str:
        """In tables."""

    @property
    def unit(self) -> str:
        """Of the numbers in tables; "%" of an error, which tables show as an accuracy."""


@runtime_checkable
class Measured(Named, Protocol):
    """An error in [0, 1] of a network on validation images; a surrogate learns it."""

    def error(self, logits: Tensor, labels: Tensor) -> float:
        """The error of answers (n, classes) to images with labels (n,)."""


@runtime_checkable
class Known(Named, Protocol):
    """Something that architectures have whatever their weights, for whole arrays of encodings."""

    def values(self, costs: Costs, encodings: Encodings) -> Floats:
        """Values of canonical encodings (n, genes), shape (n,)."""

    def box(self, costs: Costs, most: float) -> tuple[float, float]:
        """The best and the worst corner for hypervolumes, where a limit allows no more than `most`."""


Objective = Measured | Known


@dataclass(frozen=True)
class AnswerError:
    """An error that answers and labels decide; see `Measured`.

    Attributes:
        accuracy: of logits (n, classes) for labels (n,), in [0, 1]; the error is 1 less it.
    """

    name: str
    title: str
    accuracy: Callable[[Tensor, Tensor], float]
    unit: str = "%"

    def error(self, logits: Tensor, labels: Tensor) -> float:
        """See `Measured`."""
        return 1.0 - self.accuracy(logits, labels)


@dataclass(frozen=True)
class TableCost:
    """A cost by the tables of `CostTable`; see `Known`.

    Attributes:
        method: of `CostTable`.
        shared: whether many architectures have the greatest value, so that the reference point lies beyond.
    """

    name: str
    title: str
    unit: str
    method: str
    shared: bool = False

    def values(self, costs: Costs, encodings: Encodings) -> Floats:
        """See `Known`."""
        return np.asarray(getattr(costs, self.method)(encodings), dtype=float)

    def box(self, costs: Costs, most: float) -> tuple[float, float]:
        """See `Known`; the best corner is 0."""
        worst = min(most, float(self.values(costs, costs.ends()).max()))
        return 0.0, BEYOND * worst if self.shared else worst


@dataclass(frozen=True)
class Resolution:
    """The input size; see `Known`."""

    name: str = "resolution"
    title: str = "input"
    unit: str = "px"

    def values(self, costs: Costs, encodings: Encodings) -> Floats:
        """See `Known`."""
        return np.array(_resolutions(costs), dtype=float)[encodings[:, 0]]

    def box(self, costs: Costs, most: float) -> tuple[float, float]:
        """See `Known`."""
        return 0.0, BEYOND * _resolutions(costs)[-1]


def _resolutions(costs: Costs) -> tuple[int, ...]:
    if not isinstance(costs.space, MobileNetSpace):
        raise InputError(f"expected a space with input sizes for the objective resolution, got {costs.space}.")
    return costs.space.resolutions


@dataclass(frozen=True)
class UserObjective:
    """A function of the user's; see `Known`.

    Attributes:
        name: in evaluations and files.
        function: values to be minimised, shape (n,), of n architectures; always the same for the same ones.
        lower: the best value for hypervolumes; None for the least of a sample of the space, less a tenth of its range.
        upper: the worst; None likewise.
        title: in tables; "" for the name.
        unit: of the numbers in tables.
    """

    name: str
    function: Callable[[Sequence[Architecture]], ArrayLike]
    lower: float | None = None
    upper: float | None = None
    title: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        """The title is the name unless there is one."""
        object.__setattr__(self, "title", self.title or self.name)

    def values(self, costs: Costs, encodings: Encodings) -> Floats:
        """See `Known`.

        Raises:
            InputError: the function fails, or gives something else than a finite number for each architecture.
        """
        architectures = costs.space.decode(encodings)
        if not architectures:
            return np.zeros(0)
        try:
            values = np.asarray(self.function(architectures), dtype=float)
        except Exception as error:  # whatever a user's code raises
            raise InputError(f"the objective '{self.name}' failed: {type(error).__name__}: {error}.") from error
        if values.shape != (len(architectures),) or not np.isfinite(values).all():
            raise InputError(
                f"expected of the objective '{self.name}' a finite number for each of {len(architectures)} "
                f"architectures, got {'shape ' + str(values.shape) if values.ndim != 1 else values[:3].tolist()}."
            )
        return values

    def box(self, costs: Costs, most: float) -> tuple[float, float]:
        """See `Known`."""
        drawn = sample_uniform(costs.space, SAMPLE, np.random.default_rng(0))
        found = self.values(costs, np.concatenate([costs.ends(), drawn]))
        margin = (BEYOND - 1) * float(np.ptp(found)) or 1.0
        best = float(found.min()) - margin if self.lower is None else self.lower
        worst = float(found.max()) + margin if self.upper is None else self.upper
        if not best < worst:
            raise InputError(f"expected 'lower' below 'upper' of the objective '{self.name}', got {best} and {worst}.")
        return best, worst


def _calibration(logits: Tensor, labels: Tensor) -> float:
    return 1.0 - calibration_error(logits, labels)


def _worst_recall(logits: Tensor, labels: Tensor) -> float:
    """The least share of a class's images that are classified right; classes without images do not count."""
    found = recalls(logits, labels)
    return float(found[~found.isnan()].min())


TOP1 = AnswerError(ERROR, "top-1", top1_accuracy)
BALANCED = AnswerError("balanced_error", "balanced accuracy", balanced_accuracy)
MACRO_F1 = AnswerError("macro_f1_error", "macro F1", macro_f1)
CALIBRATION = AnswerError("calibration_error", "calibration", _calibration)
WORST_RECALL = AnswerError("worst_recall_error", "worst recall", _worst_recall)
MACS = TableCost("macs", "multiply-adds", "M", "macs")
PARAMS = TableCost("params", "parameters", "M", "params")
MEMORY = TableCost("memory_bytes", "peak memory", "MB", "memory", shared=True)
LATENCY = TableCost("latency_ms", "latency", "ms", "latency_ms")
RESOLUTION = Resolution()


def spelled_objectives() -> dict[str, Objective]:
    """The objectives that `--objectives` can name."""
    return {
        "top1": TOP1,
        "macro_f1": MACRO_F1,
        "balanced": BALANCED,
        "worst_recall": WORST_RECALL,
        "calibration": CALIBRATION,
        "macs": MACS,
        "params": PARAMS,
        "resolution": RESOLUTION,
        "memory": MEMORY,
        "latency": LATENCY,
    }


def read_objectives(text: str) -> tuple[Objective, ...]:
    """Objectives from a comma-separated list such as "top1,macs,latency,mymodule:function"; measured ones come first.

    Raises:
        InputError: one is unknown or repeated, none is measured, or there are fewer than 2 or more than 12.
    """
    known = spelled_objectives()
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known and ":" not in word:
            raise unknown_name("objective", word, known)
    found = [known[word] if word in known else user_objective(word) for word in words]
    names = {objective.name for objective in found}
    if len(names) != len(found) or not 2 <= len(found) <= MOST or not any(isinstance(o, Measured) for o in found):
        raise InputError(
            f"expected --objectives to name 2 to {MOST} of {', '.join(known)}, module:function, once each, with one "
            f"that is measured, such as top1, among them, got '{text}'."
        )
    return tuple(sorted(found, key=_place))


def _place(objective: Objective) -> int:
    return 2 if isinstance(objective, Known) else int(objective.name != ERROR)


def user_objective(word: str) -> Objective:
    """The function, or the objective, that "module:name" or "file.py:name" says; a function gets its own name.

    A function is one of architectures. What needs a network's answers is an `AnswerError`.

    Raises:
        InputError: there is no such module, file or name, or it fails when it is read.
    """
    place, _, name = word.rpartition(":")
    try:
        module = _module_of_file(Path(place).expanduser()) if place.endswith(".py") else import_module(place)
        found: Any = getattr(module, name)
    except Exception as error:  # whatever a user's module raises
        raise InputError(
            f"cannot take the objective '{word}': {type(error).__name__}: {error}. Name a function of architectures as "
            "module:function or file.py:function."
        ) from error
    if not isinstance(found, Known | Measured) and not callable(found):
        raise InputError(
            f"expected '{word}' to be a function of architectures or an AnswerError, got {type(found).__name__}."
        )
    objective = found if isinstance(found, Known | Measured) else UserObjective(name, found)
    if objective.name in RESERVED:
        raise InputError(f"expected another name for the objective '{word}' than {objective.name}, which reports use.")
    return objective


def _module_of_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
