"""State dicts of the published once-for-all supernets, in every spelling that is about.

The files `ofa_mbv3_d234_e346_k357_w1.0` and `_w1.2` predate renamings in once-for-all's code: blocks are called
`mobile_inverted_conv`, and elastic layers may have one level of nesting less (`bn.weight` for `bn.bn.weight`,
`conv.weight` for `conv.conv.weight`, `linear.weight` for `linear.linear.weight`). Files saved by later code nest the
static layers, too.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from nat.errors import CheckpointError
from nat.supernet.space import MobileNetSpace

WRAPPERS = ("state_dict", "model_state_dict", "model")
STEM = "first_conv.conv.weight"
CLASSIFIER = "classifier.linear.weight"


def unwrap(content: object) -> dict[str, Tensor]:
    """The state dict in a loaded file: bare, or under one of the usual keys, with or without `module.` prefixes.

    Raises:
        CheckpointError: there is none.
    """
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError("expected a state dict (a mapping of names to tensors), got something else.")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
        raise CheckpointError("expected a state dict (a mapping of names to tensors); some entries are not tensors.")
    return {name.removeprefix("module."): value for name, value in content.items()}


def current_names(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of a published state dict to those of a `Supernet`.

    Two names are the same if they agree once nested repetitions (`bn.bn`, `conv.conv`, `linear.linear`) are written
    once.

    Args:
        state: tensors of the file.
        expected: the supernet's own state dict.

    Raises:
        CheckpointError: two tensors of the file have one name.
    """
    canonical = {_flattened(name): name for name in expected}
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        target = canonical.get(_flattened(name), name)
        if target in renamed:
            raise CheckpointError(f"expected every tensor once, got '{target}' under two names.")
        renamed[target] = tensor
    return renamed


def _flattened(name: str) -> str:
    """`blocks.1.mobile_inverted_conv.depth_conv.bn.bn.weight` -> `blocks.1.conv.depth_conv.bn.weight`."""
    name = name.replace(".mobile_inverted_conv.", ".conv.")
    return re.sub(r"\b(bn|conv|linear)\.\1\b", r"\1", name)


def published_space(state: Mapping[str, Tensor]) -> tuple[MobileNetSpace, int]:
    """The space (width 1.0 or 1.2) and the number of classes of a published state dict, from its shapes.

    Raises:
        CheckpointError: the shapes are not those of a published supernet.
    """
    flat = {_flattened(name): tensor for name, tensor in state.items()}
    if STEM not in flat or CLASSIFIER not in flat:
        raise CheckpointError(
            f"expected the weights of a MobileNetV3 supernet (with '{STEM}' and '{CLASSIFIER}'), got "
            f"{len(state)} tensors such as '{next(iter(state))}'."
        )
    stem = flat[STEM].shape[0] if flat[STEM].ndim == 4 and flat[CLASSIFIER].ndim == 2 else 0
    for width in (1.0, 1.2):
        space = MobileNetSpace(width=width)
        if space.channels(space.structure.stem) == stem:
            return space, int(flat[CLASSIFIER].shape[0])
    raise CheckpointError(f"expected a stem of 16 (width 1.0) or 24 channels (width 1.2), got {stem}.")
