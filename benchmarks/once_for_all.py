"""Once-for-all's own networks, from a checkout that is put on the import path: it is not made to be installed."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.space import MobileNetSpace

PACKAGE = "ofa.imagenet_classification.elastic_nn"


def peer_module(checkout: Path, name: str = "networks") -> ModuleType:
    """A module of once-for-all's elastic networks.

    Raises:
        InputError: the folder is no checkout of once-for-all, or cannot be imported.
    """
    if not (checkout / "ofa" / "__init__.py").is_file():
        raise InputError(f"expected a checkout of once-for-all (with a folder 'ofa'), got '{checkout}'.")
    if (folder := str(checkout.resolve())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ImportError as error:
        raise InputError(f"cannot import once-for-all from '{checkout}': {error}.") from error


def peer_supernet(checkout: Path, space: MobileNetSpace, classes: int, weights: nn.Module) -> Any:
    """Its MobileNetV3 supernet of a space, with the weights of ours.

    Raises:
        InputError: the folder cannot be used, or its tensors have other names.
    """
    network = peer_module(checkout).OFAMobileNetV3(
        n_classes=classes,
        dropout_rate=0,
        width_mult=space.width,
        ks_list=list(space.kernels),
        expand_ratio_list=list(space.expands),
        depth_list=list(space.depths),
    )
    state = weights.state_dict()
    unlike = sorted(state.keys() ^ network.state_dict().keys())
    if unlike:
        raise InputError(f"expected tensors of our names in once-for-all, {len(unlike)} differ, as '{unlike[0]}'.")
    network.load_state_dict(state)
    return network


def peer_choices(space: MobileNetSpace, architecture: Architecture) -> dict[str, list[float]]:
    """What its `set_active_subnet` takes: a kernel and an expand ratio for each layer that the space has, and depths.

    What is said of absent layers does not matter.
    """
    present = {index: (kernel, expand) for index, kernel, expand in space.active_slots(architecture)}
    absent = (space.kernels[0], space.expands[0])
    kernels, expands = zip(*(present.get(index, absent) for index in range(len(space.slots))), strict=True)
    return {"ks": list(kernels), "e": list(expands), "d": list(architecture.depths)}
