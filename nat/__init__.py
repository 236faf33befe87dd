"""Neural Architecture Transfer: adapt a vision supernet to your images and pick Pareto-optimal subnets.

    import nat

    model = nat.load_subnet("runs/flowers/subnets/1a2b3c4d5e")

Everything public is loaded when it is first used, so that `import nat` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nat.archive import Archive, Evaluation
    from nat.bundle import Bundle, load_bundle, load_subnet
    from nat.datasets.decode import read_image
    from nat.datasets.loading import load_dataset
    from nat.errors import NatError
    from nat.objectives import UserObjective
    from nat.options import TransferOptions
    from nat.pipeline import resume, transfer
    from nat.pretrained.catalogue import load_supernet
    from nat.searchers import NatSearcher, RandomSearcher
    from nat.supernet.architecture import Architecture
    from nat.supernet.space import MobileNetSpace
    from nat.supernet.supernet import Supernet

__version__ = "0.1.0"

_HOMES = {
    "Archive": "nat.archive",
    "Architecture": "nat.supernet.architecture",
    "Bundle": "nat.bundle",
    "Evaluation": "nat.archive",
    "MobileNetSpace": "nat.supernet.space",
    "NatError": "nat.errors",
    "NatSearcher": "nat.searchers",
    "RandomSearcher": "nat.searchers",
    "Supernet": "nat.supernet.supernet",
    "TransferOptions": "nat.options",
    "UserObjective": "nat.objectives",
    "load_bundle": "nat.bundle",
    "load_dataset": "nat.datasets.loading",
    "load_subnet": "nat.bundle",
    "load_supernet": "nat.pretrained.catalogue",
    "read_image": "nat.datasets.decode",
    "resume": "nat.pipeline",
    "transfer": "nat.pipeline",
}

__all__ = [
    "Architecture",
    "Archive",
    "Bundle",
    "Evaluation",
    "MobileNetSpace",
    "NatError",
    "NatSearcher",
    "RandomSearcher",
    "Supernet",
    "TransferOptions",
    "UserObjective",
    "load_bundle",
    "load_dataset",
    "load_subnet",
    "load_supernet",
    "read_image",
    "resume",
    "transfer",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nat' has no attribute '{name}'")
