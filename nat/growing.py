"""Growing a supernet out of a trained network, checked against it, and written to a folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nat.datasets.images import ImageSet
from nat.errors import InputError
from nat.importing import images_to_measure
from nat.pretrained.card import Card
from nat.pretrained.growing import Kind, greatest_difference, grown, preserved, source_of
from nat.pretrained.store import destination, save_new_supernet
from nat.pretrained.timm_models import convert, load_timm
from nat.progress import Progress
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.encodings import at_resolution
from nat.verification import top1_as_is, top1_of

TOLERANCE = 1e-4  # of the greatest logit


@dataclass(frozen=True)
class GrowthOptions:
    """What to grow.

    Attributes:
        source: a model of timm, or a file of weights in its format.
        model: what timm calls the network of the file; None without one.
        kind: of space.
        name: of the supernet; None for the model's.
        seed: of what is added.
    """

    source: str
    model: str | None = None
    kind: Kind = "shrink"
    name: str | None = None
    seed: int = 0

    @property
    def command(self) -> str:
        """What grows it again."""
        words = ["nat checkpoints grow", Path(self.source).name if self.model else self.source]
        words += [f"--model {self.model}"] if self.model else []
        return " ".join([*words, f"--space {self.kind}", f"--seed {self.seed}"])


class Growth:
    """A trained network, the supernet around it, and the subnets of that which have its function.

    Raises:
        InputError: the source cannot be used, or its function is not kept.
        CheckpointError: the file cannot be used.
    """

    def __init__(self, options: GrowthOptions) -> None:
        model, weights = source_of(options.source, options.model)
        self.network: nn.Module = load_timm(model, weights)
        converted, card = convert(self.network, model)
        self.supernet, card = grown(converted, card, options.kind, options.seed)
        self.card: Card = replace(card, name=options.name or card.name, command=options.command)
        self.nets: dict[str, Architecture] = preserved(converted, self.supernet)
        self.differences, self.largest_logit = greatest_difference(self.network, self.supernet, self.nets)
        if self.difference > TOLERANCE * self.largest_logit:
            raise InputError(
                f"expected the logits of the source (up to {self.largest_logit:.1f}), got others by up to "
                f"{self.difference:.1e}. Report this model."
            )

    @property
    def difference(self) -> float:
        """Greatest difference of logits."""
        return max(self.differences.values())

    def facts(self, resolution: int) -> dict[str, Any]:
        """What it is and what its subnets cost at an input size: the result of the command, without accuracies."""
        space = self.card.space.with_resolutions([resolution])
        costs = CostTable(space, self.supernet.num_classes)
        ends = {"smallest": space.smallest(), "largest": space.largest()}
        return {
            "name": self.card.name,
            "resolution": resolution,
            "subnets": self.card.space.size(),
            "largest_logit": self.largest_logit,
            "max_logit_difference": self.difference,
            "checks": {
                place: {"macs": costs.of(at_resolution(net, resolution))[0], "max_logit_difference": difference}
                for (place, net), difference in zip(self.nets.items(), self.differences.values(), strict=True)
            },
            **{end: dict(zip(("macs", "params"), costs.of(net), strict=True)) for end, net in ends.items()},
        }

    def accuracies(self, images: ImageSet, resolution: int, progress: Progress) -> dict[str, float]:
        """Top-1 of the network as "network", and of the subnets with its function, at an input size."""
        device = torch.device("cpu")
        with progress.task("measuring", 1 + len(self.nets)) as task:
            found = {"network": top1_of(self.network, self.card, resolution, images, device)}
            task.advance()
            for place, net in self.nets.items():
                found[place] = top1_as_is(self.supernet, self.card, at_resolution(net, resolution), images, device)
                task.advance()
        return found


def grow_to_folder(
    options: GrowthOptions, out: Path, data: str | None, resolution: int, progress: Progress
) -> dict[str, Any]:
    """Makes, checks and writes OUT/NAME.safetensors and its card.

    Args:
        options: what to grow.
        out: folder; made if need be.
        data: image folder of the source's classes to measure on; None for none.
        resolution: input size to measure at, in pixels.
        progress: shows how far it is.

    Returns:
        `name`, `file`, `resolution`, `subnets`, costs of `smallest` and `largest`, `largest_logit`,
        `max_logit_difference`, `checks` by subnet, and, with data, `source_top1` and `grown_top1`.

    Raises:
        InputError: the source, the images or the place cannot be used, or the function is not kept.
        CheckpointError: the file cannot be used.
    """
    if options.name:
        destination(out, options.name)  # before any download
    growth = Growth(options)
    path = destination(out, growth.card.name)
    found, card = growth.facts(resolution) | {"file": str(path)}, growth.card
    if data is not None:
        top1 = growth.accuracies(images_to_measure(card, data, progress), resolution, progress)
        for place, check in found["checks"].items():
            check["top1"] = top1[place]
        found |= {"source_top1": top1["network"], "grown_top1": top1["source"]}
        card = replace(card, accuracy={"source": {"top1": top1["source"], "resolution": resolution}})
    save_new_supernet(growth.supernet, card, path)
    return found
