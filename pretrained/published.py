"""State dicts of the published once-for-all supernets, in every spelling that is about.

The files `ofa_mbv3_d234_e346_k357_w1.0`, `_w1.2` and `ofa_proxyless_d234_e346_k357_w1.3` predate renamings in
once-for-all's code: blocks are called `mobile_inverted_conv`, and elastic layers may have one level of nesting less
(`bn.weight` for `bn.bn.weight`, `conv.weight` for `conv.conv.weight`, `linear.weight` for `linear.linear.weight`).
Files saved by later code nest the static layers, too. NSGANetV2's and ENCAS's supernets are such files as well.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from nat.errors import CheckpointError
from nat.pretrained.card import Card
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import PROXYLESS

WRAPPERS = ("state_dict", "model_state_dict", "model")
SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar"})
STEM = "first_conv.conv.weight"
CLASSIFIER = "classifier.linear.weight"
FINAL_EXPAND = "final_expand_layer.conv.weight"  # MobileNetV3 has it, ProxylessNAS has not
TRANSFORM = "_matrix"  # ends the names of transforms of kernels to smaller ones, which single networks lack
IMAGENET_CLASSES = 1000
UNNAMED = "images of"  # begins what is said of images that weights of others do not name


def published_spaces() -> dict[str, MobileNetSpace]:
    """The spaces of the published files, by what is said of them."""
    return {
        "MobileNetV3, width 1.0": MobileNetSpace(width=1.0),
        "MobileNetV3, width 1.2": MobileNetSpace(width=1.2),
        "ProxylessNAS, width 1.3": MobileNetSpace(width=1.3, structure=PROXYLESS),
    }


def plain_name(path: Path) -> str:
    """The name of a file without what says its format; that of `..._w1.0` stays whole.

    >>> plain_name(Path("ofa_mbv3_d234_e346_k357_w1.0")), plain_name(Path("net-r176.pth.tar"))
    ('ofa_mbv3_d234_e346_k357_w1.0', 'net-r176')
    """
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.name


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
    canonical = {flattened(name): name for name in expected}
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        target = canonical.get(flattened(name), name)
        if target in renamed:
            raise CheckpointError(f"expected every tensor once, got '{target}' under two names.")
        renamed[target] = tensor
    return renamed


def flattened(name: str) -> str:
    """`blocks.1.mobile_inverted_conv.depth_conv.bn.bn.weight` -> `blocks.1.conv.depth_conv.bn.weight`."""
    name = name.replace(".mobile_inverted_conv.", ".conv.")
    return re.sub(r"\b(bn|conv|linear)\.\1\b", r"\1", name)


def published_card(name: str, state: Mapping[str, Tensor]) -> Card:
    """What the shapes of a published state dict say of it: title, space and number of classes.

    Raises:
        CheckpointError: the shapes are not those of a published supernet.
    """
    title, space, num_classes = published_space(state)
    return Card(name, f"once-for-all {title}", space, num_classes, trained_on=trained_on(num_classes))


def trained_on(num_classes: int) -> str:
    """What is to be said of the data of weights of others: those with 1000 classes, or over 10,000, are ImageNet's."""
    if num_classes == IMAGENET_CLASSES:
        return "ImageNet-1k"
    return "ImageNet-21k" if num_classes > 10_000 else f"{UNNAMED} {num_classes} classes"


def published_space(state: Mapping[str, Tensor]) -> tuple[str, MobileNetSpace, int]:
    """What a published state dict is, its space and its number of classes, from its shapes.

    Raises:
        CheckpointError: the shapes are not those of a published supernet.
    """
    flat = {flattened(name): tensor for name, tensor in state.items()}
    stem, classifier = flat.get(STEM), flat.get(CLASSIFIER)
    if stem is None or classifier is None:
        raise CheckpointError(
            f"expected the weights of a MobileNetV3 supernet or a ProxylessNAS network (with '{STEM}' and "
            f"'{CLASSIFIER}'), got {len(state)} tensors such as '{next(iter(state), '')}'. Networks of timm: "
            "nat checkpoints grow FILE --model MODEL."
        )
    channels = stem.shape[0] if stem.ndim == 4 and classifier.ndim == 2 else 0
    for title, space in published_spaces().items():
        has_final = space.structure.head.expand is not None
        if (FINAL_EXPAND in flat) == has_final and space.channels(space.structure.stem) == channels:
            return title, space, int(classifier.shape[0])
    raise CheckpointError(
        "expected a once-for-all supernet with a stem of 16 (width 1.0) or 24 channels (width 1.2) and "
        f"'{FINAL_EXPAND}', or of 40 without it (ProxylessNAS, width 1.3), got {channels}. Of a single network rather "
        "than a supernet, try: nat checkpoints import."
    )
