"""What must be known of a supernet's weights to use them: space, classes, preprocessing, and where they come from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nat.errors import CheckpointError, InputError
from nat.supernet.space import MobileNetSpace

SCHEMA = 1
TIMM = "timm:"  # begins the names of supernets that are grown out of a model of timm
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
UNTRAINED = "nothing: random weights"  # what cards of random weights say of the images


@dataclass(frozen=True)
class Card:
    """The JSON file beside the weights.

    Attributes:
        name: in the catalogue.
        title: one line for a table.
        space: the architectures that the weights serve.
        num_classes: outputs of the classifier.
        mean: of each colour channel, in [0, 1], that images are normalised with.
        std: likewise.
        trained_on: data set and number of images.
        licence: of the weights, and of the data.
        command: what trained them.
        recipe: the constants of the training.
        accuracy: measured figures, each with what it was measured on.
        elastic: whether subnets have been trained; else these are the weights of a single network, whose batch-norm
            statistics are the largest subnet's.
    """

    name: str
    title: str
    space: MobileNetSpace
    num_classes: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    trained_on: str = UNTRAINED
    licence: str = ""
    command: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    elastic: bool = True

    @property
    def trained(self) -> bool:
        """Whether the weights have been trained on any images, and so are worth something beforehand."""
        return self.trained_on != UNTRAINED

    @property
    def origin(self) -> dict[str, str]:
        """What whoever passes on a network with these weights must tell of them."""
        return {"trained_on": self.trained_on, "licence": self.licence}

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "space": self.space.to_json(),
            "num_classes": self.num_classes,
            "mean": list(self.mean),
            "std": list(self.std),
            "trained_on": self.trained_on,
            "licence": self.licence,
            "command": self.command,
            "recipe": dict(self.recipe),
            "accuracy": dict(self.accuracy),
            "elastic": self.elastic,
        }

    @classmethod
    def from_json(cls, data: Any) -> "Card":
        """Reads `to_json`'s form.

        Raises:
            CheckpointError: a field is missing or of the wrong kind.
        """
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            raise CheckpointError(f"expected the card of a supernet of schema {SCHEMA}; this is another kind of JSON.")
        try:
            mean, std = (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
            if len(mean) != 3 or len(std) != 3 or not all(0 < value < math.inf for value in std):
                raise ValueError("mean and std must have three values, std above 0")
            if int(data["num_classes"]) < 1:
                raise ValueError("num_classes must be at least 1")
            return cls(
                name=str(data["name"]),
                title=str(data["title"]),
                space=MobileNetSpace.from_json(data["space"]),
                num_classes=int(data["num_classes"]),
                mean=mean,
                std=std,
                trained_on=str(data["trained_on"]),
                licence=str(data["licence"]),
                command=str(data["command"]),
                recipe=dict(data["recipe"]),
                accuracy=dict(data["accuracy"]),
                elastic=bool(data.get("elastic", True)),
            )
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise CheckpointError(f"expected a complete card of a supernet: {error}.") from error
