"""Searches by gradients: architecture parameters beside the weights of an elastic supernet, a set for each price.

What DARTS, NASP and GDAS share here; they differ in how parameters become mixtures of options (`relax`).

- **Weights** train as in every other strategy, by the sandwich rule: the ends of the pool, one of its members, and a
  path of the strategy's own. So subnets stay fit to be judged on their own; with mixed weights they would not be.
- **Architecture parameters** take a step behind each step of the weights, with the weights frozen, on training images
  that are held out from the weights. Validation images, by which candidates are judged, stay out of it. The first steps
  are left to the weights alone: gradients through an untrained classifier tell nothing.
- **A front**: cross-entropy and multiply-adds have no exchange rate, so there are several: each set of parameters
  minimises cross-entropy + price * log(expected multiply-adds), exact by the tables of costs. The sets take turns.
- **Proposals** of a round come from all sets: the derived architecture of each, and draws (`derived.py`). What is
  found is evaluated like any other strategy's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, autograd
from torch.nn import functional as F

from nat.archive import Evaluation, Proposal
from nat.errors import InputError, TransferError
from nat.oneshot.relaxation import Parameters, select
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.searchers.derived import Distribution, propose_from
from nat.searchers.random import first_sample
from nat.searchers.sandwich import PASSES, train_sandwich
from nat.supernet.categories import Categories, ExpectedMacs
from nat.supernet.costs import CostTable
from nat.supernet.mixture import Mixture
from nat.supernet.relaxed import relaxed_logits
from nat.supernet.searchable import Encodings
from nat.supernet.supernet import Supernet

PRICES = (0.01, 0.03, 0.1, 0.3, 1.0)
UPDATES = 2  # sets that are updated in a step
WAIT = 0.2  # of all steps of the training, before the first update
HELD_OUT = 0.2
BETAS = (0.5, 0.999)  # DARTS's


@dataclass(frozen=True)
class Relaxed:
    """Architecture parameters as a network and a table of costs take them.

    Attributes:
        leaves: what gradients are asked of, by choice.
        mixtures: for the network, by choice.
        probabilities: for the expected multiply-adds, by choice.
    """

    leaves: Mapping[str, Tensor]
    mixtures: Mapping[str, Mixture]
    probabilities: Mapping[str, Tensor]


class DifferentiableSearcher(ABC):
    """Trains a set of architecture parameters for each price, and proposes from them.

    Args:
        prices: of the logarithm of the expected multiply-adds, in nats of cross-entropy; at least one. At price 0 a
            set looks at accuracy only.
    """

    name: str
    title: str
    rate: float  # of Adam. DARTS's 3e-4 is for tens of thousands of steps; here a set has tens to hundreds
    passes = PASSES + UPDATES * (1 - WAIT)  # a step's, the mean over the training
    architecture_passes = UPDATES * (1 - WAIT)
    share = HELD_OUT
    seconds: Mapping[str, float] = MappingProxyType({})

    def __init__(self, *, prices: Sequence[float] = PRICES) -> None:
        if not prices or min(prices) < 0:
            raise InputError(f"expected at least one price, each of at least 0, got {list(prices)}.")
        self.prices = tuple(prices)
        self.sets: list[dict[str, Tensor]] = []
        self._optimizer: torch.optim.Adam | None = None

    # --- what strategies differ in ---------------------------------------------------------------------------------

    @abstractmethod
    def fresh(self, options: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """First parameters, a trainable vector for each choice."""

    @abstractmethod
    def relax(self, parameters: Parameters, progress: float, generator: torch.Generator) -> Relaxed:
        """What a step of the architecture differentiates, at a share of all such steps in [0, 1]."""

    @abstractmethod
    def shares(self, parameters: Parameters) -> dict[str, Tensor]:
        """Probabilities by which architectures are drawn from parameters."""

    def walked(self, parameters: Parameters, generator: torch.Generator) -> dict[str, Tensor]:
        """Probabilities of the path on which weights are trained."""
        return self.shares(parameters)

    def settled(self, parameters: Parameters) -> Parameters:
        """Parameters brought back to where they may be, after a step."""
        return parameters

    # --- the two moments -------------------------------------------------------------------------------------------

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Proposal]:
        """A stratified sample at first; then what the parameters say."""
        choices = self._choices(problem)
        if not evaluations:
            return first_sample(problem, count, rng)
        generator = _torch_generator(rng)
        sets = self.sets or [self.fresh(choices.options, generator) for _ in self.prices]
        distributions = [self._distribution(parameters, generator) for parameters in sets]
        nets = propose_from(distributions, problem, choices, evaluations, count, rng)
        return [Proposal(net) for net in nets]

    def adapt(self, adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
        """Trains weights on the pool and the strategy's paths; behind each such step, the architecture parameters."""
        choices = self._choices(problem)
        assert isinstance(problem.costs, CostTable)
        expected = ExpectedMacs(problem.costs)

        def draw(rng: Generator) -> Encodings:
            generator = _torch_generator(rng)
            if not self.sets:
                self._begin([self.fresh(choices.options, generator) for _ in self.prices])
            walked = self.walked(self.sets[rng.integers(len(self.sets))], generator)
            picks = choices.draw({name: _array(values) for name, values in walked.items()}, 1, rng)
            path = choices.encodings(picks, np.zeros(1, dtype=np.intp))
            return np.concatenate([pool[rng.integers(len(pool), size=1)], path])

        def update(step: int, resolution: int) -> None:
            steps = adaptation.trainer.schedule.steps
            if step >= (first := WAIT * steps):
                progress = min(1.0, (step - first) / max(1.0, steps - 1 - first))
                self._update(adaptation, expected, step, resolution, progress)

        train_sandwich(adaptation, problem, pool, draw, update)

    def _update(
        self, adaptation: AdaptationSteps, expected: ExpectedMacs, step: int, resolution: int, progress: float
    ) -> None:
        """A step of those sets whose turn it is, on one held-out batch."""
        trainer, supernet = adaptation.trainer, adaptation.trainer.network
        assert isinstance(supernet, Supernet) and self._optimizer is not None
        images, labels = adaptation.held_out(step, resolution)
        generator = _torch_generator(adaptation.rng(step).spawn(1)[0])
        size = expected.space.resolutions.index(resolution)
        for turn in range(UPDATES):
            number = (UPDATES * step + turn) % len(self.prices)
            relaxed = self.relax(self.sets[number], progress, generator)
            with trainer.autocast():
                logits = relaxed_logits(supernet, images, relaxed.mixtures).float()
            macs = expected(relaxed.probabilities, size)
            loss = F.cross_entropy(logits, labels) + self.prices[number] * macs.log().to(logits)
            self._descend(self.sets[number], relaxed.leaves, loss)

    def _descend(self, parameters: dict[str, Tensor], leaves: Mapping[str, Tensor], loss: Tensor) -> None:
        gradients = autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient is not None and not gradient.isfinite().all():
                raise TransferError(f"'{self.name}' diverged at the choice '{name}': lower learning_rate.")
            # along the options' differences: what all have in common chooses nothing
            parameters[name].grad = None if gradient is None else gradient - gradient.mean()
        assert self._optimizer is not None
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, vector in self.settled(parameters).items():
                parameters[name].copy_(vector)

    # --- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Parameters and optimiser; empty before the first step."""
        if self._optimizer is None:
            return {}
        sets = [{name: vector.detach().clone() for name, vector in parameters.items()} for parameters in self.sets]
        return {"sets": sets, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.sets, self._optimizer = [], None
        if state:
            sets = [{name: vector.cpu().clone() for name, vector in each.items()} for each in state["sets"]]
            self._begin(sets).load_state_dict(state["optimizer"])

    def _begin(self, sets: list[dict[str, Tensor]]) -> torch.optim.Adam:
        self.sets = sets
        vectors = [vector.requires_grad_() for parameters in sets for vector in parameters.values()]
        self._optimizer = torch.optim.Adam(vectors, lr=self.rate, betas=BETAS)
        return self._optimizer

    def _choices(self, problem: SearchProblem) -> Categories:
        if not isinstance(problem.costs, CostTable):
            raise InputError(f"expected an elastic mobile network to search with '{self.name}', got another space.")
        choices = Categories(problem.costs.space)
        trained = {name: len(vector) for name, vector in self.sets[0].items()} if self.sets else choices.options
        if trained != choices.options:
            raise InputError(f"expected the space that the parameters of '{self.name}' were trained in, got another.")
        return choices

    def _distribution(self, parameters: Parameters, generator: torch.Generator) -> Distribution:
        best = {name: int(option or 0) for name, option in select(parameters, generator).items()}
        return Distribution(best, {name: _array(values) for name, values in self.shares(parameters).items()})


def _array(values: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return values.detach().double().numpy()


def _torch_generator(rng: Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
