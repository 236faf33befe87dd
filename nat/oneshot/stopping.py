"""When DARTS should stop, before skip connections take over: rules that look at the history of the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from nat.oneshot.base import Batch, EpochRecord, Parameters, cross_entropy
from nat.oneshot.derivation import SKIP
from nat.oneshot.relaxation import softmax_mixtures


class StopRule(Protocol):
    """A reason to end a search. Any object with these members will do."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def needs_eigenvalue(self) -> bool:
        """Whether records must have `eigenvalue`."""

    def chosen_epoch(self, history: Sequence[EpochRecord]) -> int | None:
        """The epoch whose architecture is the result, if the search is to end now; else None."""


@dataclass(frozen=True, slots=True)
class DartsPlus:
    """DARTS+ (Liang et al., 2019): ends with skip connections in normal cells, or when nothing changes any more.

    Its constants are as remembered by others. The result is the last architecture before the skips were too many,
    or the one that did not change.

    Attributes:
        most_skips: skip connections that are too many, in choices of `cell`.
        stable: epochs over which every choice's options keep their order.
        cell: prefix of the choices whose skips count.
    """

    most_skips: int = 2
    stable: int = 10
    cell: str = "normal"
    name: str = "darts+"
    needs_eigenvalue: bool = False

    def chosen_epoch(self, history: Sequence[EpochRecord]) -> int | None:
        """See `StopRule`."""
        last = history[-1]
        if self._skips(last) >= self.most_skips:
            return max(last.epoch - 1, 0)
        tail = history[-self.stable - 1 :]
        same = len(tail) > self.stable and all(record.ranking == last.ranking for record in tail)
        return last.epoch if same else None

    def _skips(self, record: EpochRecord) -> int:
        return sum(option == SKIP and name.startswith(self.cell) for name, option in record.derived.items())


@dataclass(frozen=True, slots=True)
class GrowingCurvature:
    """RobustDARTS (Zela et al., ICLR 2020): ends when the validation loss becomes sharp in the architecture.

    Compares the mean of the greatest eigenvalue over the last `window` epochs with that of `delay` epochs earlier.

    Attributes:
        window: epochs in a mean.
        delay: how far back the other mean ends; the result is the architecture of then.
        ratio: which the search ends above.
        start: first epoch that may end it.
    """

    window: int = 5
    delay: int = 4
    ratio: float = 1.3
    start: int = 10
    name: str = "robust-darts"
    needs_eigenvalue: bool = True

    def chosen_epoch(self, history: Sequence[EpochRecord]) -> int | None:
        """See `StopRule`."""
        values = [record.eigenvalue for record in history if record.eigenvalue is not None]
        if history[-1].epoch < self.start or len(values) < self.window + self.delay:
            return None
        now = sum(values[-self.window :]) / self.window
        before = sum(values[-self.window - self.delay : -self.delay]) / self.window
        return history[-1].epoch - self.delay if before > 0 and now > self.ratio * before else None


def greatest_eigenvalue(
    network: nn.Module, parameters: Parameters, valid: Batch, steps: int = 20, seed: int = 0
) -> float:
    """Greatest magnitude of an eigenvalue of the validation loss's Hessian by the logits of softmax mixtures.

    By power iteration with exact products.

    Args:
        network: shared weights.
        parameters: of the architecture.
        valid: one batch.
        steps: of the iteration.
        seed: of the first vector.
    """
    vectors = list(parameters.values())
    loss = cross_entropy(network, valid, softmax_mixtures(parameters))
    slopes = torch.autograd.grad(loss, vectors, create_graph=True, allow_unused=True)
    vectors = [values for values, slope in zip(vectors, slopes, strict=True) if slope is not None]
    slopes = tuple(slope for slope in slopes if slope is not None)
    generator = Generator().manual_seed(seed)
    direction = [torch.randn(values.shape, generator=generator).to(values) for values in vectors]
    norm = 0.0
    for _ in range(steps):
        length = _norm(direction)
        if length == 0.0:
            return 0.0
        direction = [part / length for part in direction]
        direction = list(torch.autograd.grad(slopes, vectors, direction, retain_graph=True, materialize_grads=True))
        norm = _norm(direction)
    return norm


def _norm(parts: Sequence[Tensor]) -> float:
    return float(torch.stack([part.norm() for part in parts]).norm())
