"""Weights of others, recognised by their tensors and made a supernet of ours with its card.

    >>> imported = import_weights(Path("ofa_mbv3_d234_e346_k357_w1.0"), "ofa-w1.0")
    >>> imported.kind, imported.card.space.width, len(imported.fit.matched)
    ('ofa-mobilenetv3', 1.0, 475)

Known are once-for-all's supernets (`published.py`) and single ProxylessNAS networks (`proxyless.py`). Files are only
written once the weights have proved to fit and to give finite answers.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nat.errors import CheckpointError
from nat.pretrained import proxyless
from nat.pretrained.card import Card
from nat.pretrained.fitting import Fit, named_in_errors
from nat.pretrained.published import FINAL_EXPAND, TRANSFORM, flattened, published_card, trained_on
from nat.pretrained.store import assembled, read_tensors
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.importance import contributions, sort_channels
from nat.supernet.supernet import Supernet

PROXYLESS = "proxyless"


@dataclass(frozen=True)
class Imported:
    """What a file of weights has become.

    Attributes:
        kind: "ofa-mobilenetv3", "ofa-proxyless" or "proxyless" (a single network).
        supernet: the weights, in evaluation mode.
        card: what they are.
        fit: how the tensors of the file compare with those expected.
    """

    kind: str
    supernet: Supernet
    card: Card
    fit: Fit

    def facts(self) -> dict[str, Any]:
        """Name, kind, space, classes, the comparison, and what the ends of the space cost, as JSON."""
        space = self.card.space
        costs = CostTable(space, self.card.num_classes)
        return {
            "name": self.card.name,
            "kind": self.kind,
            "space": space.to_json(),
            "num_classes": self.card.num_classes,
            "tensors": self.fit.to_json(),
            "smallest": _costs(costs, space.smallest()),
            "largest": _costs(costs, space.largest()),
        }


def _costs(costs: CostTable, net: Architecture) -> dict[str, int]:
    macs, params = costs.of(net)
    return {"macs": macs, "params": params, "resolution": net.resolution}


def import_weights(path: Path, name: str) -> Imported:
    """Recognises, converts and tries the weights of a file.

    Args:
        path: safetensors, or a pickled state dict, which is read as plain tensors only.
        name: of the supernet.

    Raises:
        CheckpointError: the file is damaged, unsafe, of another kind, or a supernet of ours as it is.
    """
    card_file = path.with_suffix(".json")
    if path.suffix == ".safetensors" and card_file.is_file():
        raise CheckpointError(f"'{path}' has its card beside it: nothing to import. Use it with --supernet {path}.")
    state = read_tensors(path)
    with named_in_errors(path):
        kind, supernet, card, fit = _converted(state, name, proxyless.input_size(path.name))
        _check_answers(supernet.eval())
    card = replace(
        card,
        trained_on=trained_on(card.num_classes),
        licence="that of the file it was imported from",
        command=f"nat checkpoints import {path.name}",
        recipe={"source": path.name, "sha256": _sha256(path)},
    )
    return Imported(kind, supernet, card, fit)


def _converted(state: Mapping[str, Tensor], name: str, size: int) -> tuple[str, Supernet, Card, Fit]:
    if proxyless.is_proxyless(state):
        supernet, card, fit = proxyless.convert(state, name, size)
        sort_channels(supernet, importance=contributions)  # so that what shrinks keeps the channels that matter
        return PROXYLESS, supernet, card, fit
    _check_elastic(state)
    card = published_card(name, state)
    supernet, fit = assembled(state, card)
    return f"ofa-{card.space.structure.name}", supernet, card, fit


def _check_elastic(state: Mapping[str, Tensor]) -> None:
    flat = [flattened(name) for name in state]
    if FINAL_EXPAND in flat and not any(name.endswith(TRANSFORM) for name in flat):
        raise CheckpointError(
            f"it looks like a single MobileNetV3 network: it has no kernel transforms ('...{TRANSFORM}'). What can be "
            "imported: supernets of once-for-all, and single networks of ProxylessNAS."
        )


@torch.inference_mode()
def _check_answers(supernet: Supernet) -> None:
    """Two random images through the smallest and the largest subnet."""
    size = supernet.space.resolutions[0]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    for place, net in (("smallest", supernet.space.smallest()), ("largest", supernet.space.largest())):
        if not supernet(images, net).isfinite().all():
            raise CheckpointError(f"it fits, but the answers of its {place} subnet are not finite. Get it again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
