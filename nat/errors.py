"""The errors of the toolkit: one root, few leaves, each also the builtin that a caller would expect.

Messages say in one or two lines what was expected, what was got and what to do. The commands print them
without a traceback; an error of the user's (`InputError` and below) ends a command with exit code 2, any other
`NatError` with exit code 1.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class NatError(Exception):
    """Root of all errors that the toolkit raises on purpose."""


class InputError(NatError, ValueError):
    """What the user gave cannot be used: a path, a name, a value, a data set."""


class BudgetError(InputError):
    """No architecture of the space meets the constraints."""


class CheckpointError(InputError):
    """A weights file is missing, damaged, unsafe or made for other shapes."""


class RunError(InputError):
    """A run folder is missing, already used or does not fit the request."""


class TransferError(NatError, RuntimeError):
    """The work itself failed: training diverged, no candidate could be evaluated."""


def reason_of(error: Exception) -> str:
    """The first line of what another library says, for a message of ours; its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> InputError:
    """The error for a name that is not in a catalogue, with the nearest spelling and all choices.

    Args:
        kind: what is named, in the singular ("data set").
        name: the name that was given.
        choices: the names there are.
    """
    names = sorted(choices)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {kind} '{name}'.{hint} There are: {', '.join(names)}.")
