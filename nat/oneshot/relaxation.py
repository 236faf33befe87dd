"""How architecture parameters become the weights of a network's options: softmax, proximal projection, Gumbel sampling.

Architecture parameters are a mapping from a choice's name to a vector with an entry for each of its options. Nothing
here changes them: a forward pass gets new tensors. Nothing here knows a network either; `Mixture` is all that one
needs (`nat.supernet.mixture`). All randomness comes from a `torch.Generator` on the CPU.

    >>> parameters = constant_parameters({"edge": 3}, 0.5)
    >>> softmax_mixtures(parameters)["edge"].weights.tolist()
    [0.3333333432674408, 0.3333333432674408, 0.3333333432674408]
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from nat.errors import InputError, TransferError
from nat.supernet.mixture import Mixture

Parameters = Mapping[str, Tensor]
Winners = Mapping[str, int | None]
# so unlikely to be needed twice that more than a few redraws mean parameters that are not finite
MOST_DRAWS = 100


def constant_parameters(choices: Mapping[str, int], value: float) -> dict[str, Tensor]:
    """Trainable vectors of one value (NASP's released code begins at 0.5).

    Args:
        choices: number of options of each choice.
        value: of every entry.
    """
    return {name: torch.full((options,), value).requires_grad_() for name, options in choices.items()}


def random_parameters(choices: Mapping[str, int], generator: Generator, scale: float = 1e-3) -> dict[str, Tensor]:
    """Trainable vectors of small normal numbers (DARTS, GDAS: standard deviation 1e-3)."""
    return {
        name: (scale * torch.randn(options, generator=generator)).requires_grad_() for name, options in choices.items()
    }


def softmax_mixtures(parameters: Parameters) -> dict[str, Mixture]:
    """DARTS (Liu et al., ICLR 2019, equation 2): all options of a choice, weighted by the softmax of its parameters."""
    return {name: Mixture(values.softmax(0), active=tuple(range(len(values)))) for name, values in parameters.items()}


def select(
    parameters: Parameters, generator: Generator, groups: Sequence[Sequence[str]] = (), keep: int = 2
) -> dict[str, int | None]:
    """The option with the greatest entry of each choice, by which NASP projects (Yao et al., AAAI 2020).

    Args:
        parameters: continuous copy of the architecture.
        generator: breaks ties, which at constant first values are everywhere.
        groups: choices that compete, such as the edges into one node: of each group the `keep` with the greatest
            winning entries stay, as in the released code. The paper has no such rule: no groups.
        keep: choices that stay of each group.

    Returns:
        Index of the winning option of each choice; None for choices that lose in their group.

    Raises:
        InputError: a group names a choice that is not there.
    """
    best = {name: float(values.detach().max()) for name, values in parameters.items()}
    winners: dict[str, int | None] = {
        name: _one_of((values.detach() == best[name]).nonzero().flatten().tolist(), generator)
        for name, values in parameters.items()
    }
    for group in groups:
        missing = [name for name in group if name not in best]
        if missing:
            raise InputError(f"groups name the choices {missing}, which have no parameters; there are {sorted(best)}.")
        order = torch.randperm(len(group), generator=generator).tolist() if len(group) > keep else range(len(group))
        ranked = sorted((group[place] for place in order), key=lambda name: -best[name])
        winners.update(dict.fromkeys(ranked[keep:]))
    return winners


def prox_c1(parameters: Parameters, winners: Winners) -> dict[str, Tensor]:
    """New vectors with 1 at the winners and 0 elsewhere, which are leaves of their own for gradients.

    NASP's paper keeps the winner's value, its released code sets it to 1, as we do: a network whose weights are
    trained with coefficients other than 1 is another network than the one derived.
    """
    projected = {}
    for name, values in parameters.items():
        vector = torch.zeros_like(values, requires_grad=False)
        winner = winners[name]
        if winner is not None:
            vector[winner] = 1.0
        projected[name] = vector.requires_grad_()
    return projected


def prox_c2(parameters: Parameters) -> dict[str, Tensor]:
    """The vectors clipped to [0, 1], as new tensors without gradients."""
    return {name: values.detach().clamp(0.0, 1.0) for name, values in parameters.items()}


def discrete_mixtures(
    projected: Parameters, winners: Winners, probe: bool = False, full: bool = False
) -> dict[str, Mixture]:
    """Mixtures of projected vectors: one option of a choice, or none of those that lost in their group.

    Args:
        projected: of `prox_c1`; gradients of the losing entries need `probe` or `full`.
        winners: of `select`.
        probe: let the losing options run without autograd (NASP's step of the architecture, the cheap way).
        full: let them run with autograd, at weight zero (the same gradients, as in the released code).
    """
    mixtures = {}
    for name, values in projected.items():
        winner, options = winners[name], range(len(values))
        active = tuple(options) if full else () if winner is None else (winner,)
        probed = tuple(option for option in options if option not in active) if probe else ()
        mixtures[name] = Mixture(values, active, probed)
    return mixtures


def gumbel_mixtures(parameters: Parameters, temperature: float, generator: Generator) -> dict[str, Mixture]:
    """GDAS (Dong and Yang, CVPR 2019): one option of each choice, drawn with probability softmax(parameters).

    With Gumbel noise g, p = softmax((log softmax(parameters) + g) / temperature); the greatest entry is drawn, and
    the weights are its one-hot vector with the gradient of p (straight-through). Only the drawn option runs, and only
    its term is in the sum; the softmax passes the gradient of its weight on to all entries.

    Args:
        parameters: logits.
        temperature: above 0. It changes gradients, never how often an option is drawn.
        generator: of the noise.
    """
    return {name: _drawn(logits, temperature, generator) for name, logits in parameters.items()}


def linear_temperature(progress: float, start: float = 10.0, end: float = 0.1) -> float:
    """GDAS's temperature at a share of the search in [0, 1]: it falls evenly from `start` to `end`."""
    return start - (start - end) * progress


def entropy(parameters: Parameters) -> float:
    """Mean entropy of the choices' softmax, in nats: log(options) at the start, 0 when all is decided."""
    values = [vector.detach().log_softmax(0) for vector in parameters.values()]
    return sum(float(-(value.exp() * value).sum()) for value in values) / len(values)


def _drawn(logits: Tensor, temperature: float, generator: Generator) -> Mixture:
    scores = logits.log_softmax(0)
    for _ in range(MOST_DRAWS):
        noise = -torch.empty(len(logits)).exponential_(generator=generator).log()
        soft = ((scores + noise.to(scores)) / temperature).softmax(0)
        # an exponential draw of 0 gives infinite noise, and a softmax of it is not a number
        if bool(soft.isfinite().all()) and bool(noise.isfinite().all()):
            index = int(soft.detach().argmax())
            hard = torch.zeros_like(soft)
            hard[index] = 1.0
            return Mixture(hard - soft.detach() + soft, active=(index,))
    raise TransferError(f"architecture parameters are not finite: {logits.tolist()}. Lower their learning rate.")


def _one_of(tied: Sequence[int], generator: Generator) -> int:
    return tied[0] if len(tied) == 1 else tied[int(torch.randint(len(tied), (), generator=generator))]
