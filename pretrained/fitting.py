"""Whether the tensors of a file are those of a network: which match, are missing, unexpected, or of other shapes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nat.errors import CheckpointError
from nat.pretrained.published import current_names

COUNTERS = "num_batches_tracked"  # of batch norm; nothing here needs their values
NAMED = 3


@dataclass(frozen=True, slots=True)
class Fit:
    """How the tensors of a file compare with those of a network.

    Attributes:
        matched: names of tensors of equal shape and kind.
        missing: expected, and not in the file.
        unexpected: in the file only, as it spells them.
        reshaped: of another shape or kind of number in the file.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    def problems(self) -> str:
        """What does not fit, counted and with the first names; empty if the weights can be used.

        Batch norm's counters of batches may be as they like.
        """
        named = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of other shapes or types", self.reshaped),
        )
        counted = [(what, [name for name in names if not name.endswith(COUNTERS)]) for what, names in named]
        return "; ".join(f"{len(names)} tensors {what} ({first_of(names)})" for what, names in counted if names)

    def to_json(self) -> dict[str, Any]:
        """The number of each kind, and the first names of each kind that there is."""
        kinds: dict[str, tuple[str, ...]] = asdict(self)
        counts = {kind: len(names) for kind, names in kinds.items()}
        return counts | {"names": {kind: list(names[:NAMED]) for kind, names in kinds.items() if names}}


def compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Fit:
    """Compares tensors that have the network's names with the network's own."""
    return Fit(
        matched=tuple(name for name in expected if name in state and _fits(state[name], expected[name])),
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        reshaped=tuple(name for name in expected if name in state and not _fits(state[name], expected[name])),
    )


def fitted(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Fit]:
    """The tensors of a file as a network takes them: under its names, in its kinds of number, contiguous, copied.

    Args:
        state: of the file, in any spelling of once-for-all's.
        expected: of the network; may be on the meta device.

    Returns:
        All tensors that are expected (counters of batches are 0 where the file has none), and the comparison.

    Raises:
        CheckpointError: there are other tensors, or values that are not finite.
    """
    named = current_names(state, expected)
    fit = compare(named, expected)
    if problems := fit.problems():
        raise CheckpointError(f"it does not hold the tensors of this network: {problems}.")
    check_finite(named)
    return {name: _copied(named[name] if name in fit.matched else None, like) for name, like in expected.items()}, fit


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Raises `CheckpointError` if a tensor has values that are not finite."""
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"it holds values that are not finite, in {first_of(broken)}. Get it again.")


def _copied(tensor: Tensor | None, like: Tensor) -> Tensor:
    if tensor is None:
        return torch.zeros_like(like, device="cpu")
    return tensor.detach().to(like.dtype, copy=True, memory_format=torch.contiguous_format)


def _fits(tensor: Tensor, expected: Tensor) -> bool:
    plain = tensor.layout == torch.strided and tensor.is_floating_point() == expected.is_floating_point()
    return plain and tensor.shape == expected.shape


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Puts the name of a file in front of the message of every `CheckpointError`."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from error


def first_of(names: Iterable[str]) -> str:
    """The first names of a list, for a message."""
    names = list(names)
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
