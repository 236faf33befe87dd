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
    from nat.deployment.exporting import ExportOptions, export
    from nat.errors import NatError
    from nat.finetuning_recipe import FinetuneRecipe
    from nat.objectives import AnswerError, UserObjective
    from nat.options import TransferOptions
    from nat.picking import pick
    from nat.pipeline import resume, transfer
    from nat.pretrained.catalogue import load_supernet
    from nat.pretraining.job import PretrainOptions, pretrain
    from nat.pretraining.recipes import PretrainRecipe
    from nat.report.writing import write_page
    from nat.retraining import RetrainingOptions, finetune
    from nat.run_folder import RunFolder
    from nat.searchers import NatSearcher, RandomSearcher
    from nat.supernet.architecture import Architecture
    from nat.supernet.sampling import Limits
    from nat.supernet.space import MobileNetSpace
    from nat.supernet.supernet import Supernet

__version__ = "0.1.0"

_HOMES = {
    "AnswerError": "nat.objectives",
    "Architecture": "nat.supernet.architecture",
    "Archive": "nat.archive",
    "Bundle": "nat.bundle",
    "Evaluation": "nat.archive",
    "ExportOptions": "nat.deployment.exporting",
    "FinetuneRecipe": "nat.finetuning_recipe",
    "Limits": "nat.supernet.sampling",
    "MobileNetSpace": "nat.supernet.space",
    "NatError": "nat.errors",
    "NatSearcher": "nat.searchers",
    "PretrainOptions": "nat.pretraining.job",
    "PretrainRecipe": "nat.pretraining.recipes",
    "RandomSearcher": "nat.searchers",
    "RetrainingOptions": "nat.retraining",
    "RunFolder": "nat.run_folder",
    "Supernet": "nat.supernet.supernet",
    "TransferOptions": "nat.options",
    "UserObjective": "nat.objectives",
    "export": "nat.deployment.exporting",
    "finetune": "nat.retraining",
    "load_bundle": "nat.bundle",
    "load_dataset": "nat.datasets.loading",
    "load_subnet": "nat.bundle",
    "load_supernet": "nat.pretrained.catalogue",
    "pick": "nat.picking",
    "pretrain": "nat.pretraining.job",
    "read_image": "nat.datasets.decode",
    "resume": "nat.pipeline",
    "transfer": "nat.pipeline",
    "write_page": "nat.report.writing",
}

__all__ = [
    "AnswerError",
    "Architecture",
    "Archive",
    "Bundle",
    "Evaluation",
    "ExportOptions",
    "FinetuneRecipe",
    "Limits",
    "MobileNetSpace",
    "NatError",
    "NatSearcher",
    "PretrainOptions",
    "PretrainRecipe",
    "RandomSearcher",
    "RetrainingOptions",
    "RunFolder",
    "Supernet",
    "TransferOptions",
    "UserObjective",
    "export",
    "finetune",
    "load_bundle",
    "load_dataset",
    "load_subnet",
    "load_supernet",
    "pick",
    "pretrain",
    "read_image",
    "resume",
    "transfer",
    "write_page",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nat' has no attribute '{name}'")
