"""NASP (Yao et al., AAAI 2020): a discrete architecture at every step, by proximal iterations.

The architecture is a continuous vector for each choice, kept in [0, 1]. Both steps run the network at its projection,
one option of each choice at weight 1. The step of the architecture takes the gradient by all entries at the projection,
and applies it to the continuous vector, which is then clipped. There is no second order.

The gradient by an entry that is zero needs the output of its option, but no gradient through it: so options that lost
run without autograd (`frugal`), which gives the same gradients for a fraction of the work.

As in the released code the winner's weight is 1 and only the two strongest edges of a node run (`prune`). Differs from
it: ties are broken at random, not by the first; the complexity term covers all cells, and its shares are those of this
network's options; edges are derived by the projection that was trained with, not by a softmax; the vectors are never
overwritten by their projection.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nat.errors import InputError
from nat.oneshot.base import Batch, Parameters, SearchState, Settings, cross_entropy
from nat.oneshot.relaxation import constant_parameters, discrete_mixtures, prox_c1, prox_c2, select
from nat.supernet.mixture import Choices, Mixture


@dataclass(frozen=True, slots=True)
class Nasp:
    """NASP.

    Attributes:
        eta: weight of the complexity term, the sum of squared entries times their options' shares of the parameters.
        prune: choices that lose in their group do not run, as in the released code; in the paper all edges run.
        frugal: losing options run without autograd; off, all options run with it, as in the released code.
        first: value of all entries at the start.
    """

    eta: float = 0.0
    prune: bool = True
    frugal: bool = True
    first: float = 0.5
    weights_first: bool = False

    @property
    def name(self) -> str:
        """The name."""
        return "nasp"

    def published(self) -> Settings:
        """Of the released code, DARTS' own: 50 epochs, batches of 64."""
        return Settings()

    def start(self, choices: Choices, generator: Generator) -> Parameters:
        """One value everywhere: the first architecture is drawn by the ties.

        Raises:
            InputError: options are excluded from what is derived, but the projection could choose them.
        """
        if choices.excluded:
            raise InputError(
                f"expected a space without options that are never derived, got {sorted(choices.excluded)}. "
                "NASP trains what it derives; leave them out of the search network."
            )
        return constant_parameters(choices.counts, self.first)

    def weight_mixtures(self, state: SearchState) -> dict[str, Mixture]:
        """One option of each choice that stays; nothing else runs."""
        winners = self._winners(state, state.generator)
        projected = prox_c1(state.parameters, winners)
        return discrete_mixtures({name: values.detach() for name, values in projected.items()}, winners)

    def gradients(self, state: SearchState, train: Batch, valid: Batch) -> tuple[float, dict[str, Tensor]]:
        """See `nat.oneshot.base.Strategy`: those at the projection."""
        winners = self._winners(state, state.generator)
        projected = prox_c1(state.parameters, winners)
        mixtures = discrete_mixtures(projected, winners, probe=self.frugal, full=not self.frugal)
        loss = cross_entropy(state.network, valid, mixtures)
        slopes = torch.autograd.grad(loss, list(projected.values()), materialize_grads=True)
        gradients = dict(zip(projected, slopes, strict=True))
        if self.eta:
            for name, share in shares(state.choices).items():
                gradients[name] = gradients[name] + 2 * self.eta * share.to(projected[name]) * projected[name].detach()
        return float(loss.detach()), gradients

    def constrain(self, parameters: Parameters) -> None:
        """Clips to [0, 1]."""
        with torch.no_grad():
            for name, clipped in prox_c2(parameters).items():
                parameters[name].copy_(clipped)

    def derive(self, state: SearchState) -> dict[str, int | None]:
        """The projection that the next step would train with; the groups' weakest choices are dropped in any case."""
        generator = Generator().manual_seed(0)
        generator.set_state(state.generator.get_state())
        return select(state.parameters, generator, state.choices.groups, state.choices.kept)

    def _winners(self, state: SearchState, generator: Generator) -> dict[str, int | None]:
        groups = state.choices.groups if self.prune else ()
        return select(state.parameters, generator, groups, state.choices.kept)


def shares(choices: Choices) -> dict[str, Tensor]:
    """Each option's share of the parameters of its choice's options; zeros where none has any.

    Raises:
        InputError: the network does not say how many parameters its options have.
    """
    if choices.sizes is None:
        raise InputError("expected a network that knows its options' parameters, for eta above 0; got none. Set eta=0.")
    tensors = {name: torch.tensor(sizes, dtype=torch.float64) for name, sizes in choices.sizes.items()}
    return {name: sizes / sizes.sum().clamp(min=1) for name, sizes in tensors.items()}
