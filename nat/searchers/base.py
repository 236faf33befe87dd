"""What a search strategy is: two moments, called by the one loop in `nat.search`.

A round of the loop asks `propose` for architectures, joins them with the best so far to a pool, gives the shared
weights some steps through `adapt`, and evaluates the pool with them. The archive is the memory: a strategy keeps
nothing between calls, so that a search that was interrupted goes on from the archive and the checkpoint. One that
trains parameters of its own beside the weights is a `TrainedSearcher`, whose state is part of the checkpoint.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.random import Generator
from torch import Tensor

from nat.archive import Evaluation, Proposal
from nat.problem import SearchProblem
from nat.supernet.space import Encodings
from nat.supernet.training import WeightTrainer


class AdaptationSteps(Protocol):
    """The training steps that a round grants: iterate over `steps`, take the batch, update `trainer`."""

    trainer: WeightTrainer

    def steps(self) -> Iterator[int]:
        """Numbers of the steps to take; each counts from the start of the run."""

    def rng(self, step: int) -> Generator:
        """Random numbers of a step, the same whenever it is taken."""

    def batch(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, resolution, resolution) and labels (n,) of a step."""

    def held_out(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        """The same of training images that `batch` never gives, for `TrainedSearcher`s; not of the validation split.

        Raises:
            TransferError: none are held out.
        """


class Searcher(Protocol):
    """A search strategy. Any object with these members will do.

    Attributes:
        name: what commands call it.
        title: what it is, in a line.
        passes: what one of its training steps costs, in forward and backward passes of one subnet over one batch;
            steps of architecture parameters are among them (`nat.meter`). A strategy whose steps have those may say how
            many they are: `architecture_passes`.
    """

    name: str
    title: str
    passes: float

    @property
    def seconds(self) -> Mapping[str, float]:
        """Of the last call of `propose`, by part: "fit" a model, "evolve" candidates. For the records only."""

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """Architectures to evaluate next, with the errors predicted of them, if any are.

        Args:
            problem: space, objectives (of which `problem.measured` are learnt from evaluations), limits.
            evaluations: those with the newest weights, which alone compare with each other; empty at first.
            count: how many are wanted.
            rng: source of randomness.

        Returns:
            Proposals of at most `count` distinct architectures that keep the limits, none of them among `evaluations`.
        """

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains the shared weights for the steps granted.

        Args:
            adaptation: steps, batches, and the trainer of the supernet.
            problem: space, objectives, limits.
            pool: encodings (n, genes) of the architectures that are evaluated next.
        """


@runtime_checkable
class TrainedSearcher(Searcher, Protocol):
    """A strategy that trains parameters of its own in `adapt`; `propose` reads them and changes nothing.

    Attributes:
        share: of the training images of each class, in (0, 1), that are held out for these parameters.
    """

    share: float

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values with which `load_state_dict` goes on exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
