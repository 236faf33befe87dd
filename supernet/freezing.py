"""Keeping the first layers of a network as they are, which saves most of the backward pass."""

from torch import nn

from nat.supernet.subnet import Skeleton
from nat.supernet.supernet import Supernet


def freeze(supernet: Supernet, stages: int) -> None:
    """Stops the training of the first stages and of everything before them, and resumes that of the rest.

    Their batch norms still take the statistics of each batch, as recalibration will.

    Args:
        supernet: changed in place.
        stages: 0 trains everything.
    """
    for parameter in supernet.parameters():
        parameter.requires_grad_(True)
    for part in _first(supernet, stages):
        for parameter in part.parameters():
            parameter.requires_grad_(False)


def _first(supernet: Supernet, stages: int) -> list[nn.Module]:
    if stages == 0:
        return []
    assert isinstance(supernet, Skeleton)
    places = [place for place, slot in enumerate(supernet.space.slots, start=1) if slot.stage < stages]
    return [supernet.first_conv, supernet.blocks[0], *(supernet.blocks[place] for place in places)]
