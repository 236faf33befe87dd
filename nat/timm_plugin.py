"""Bundles as models of timm.

    import nat.timm_plugin
    import timm

    model = timm.create_model("local-dir:runs/flowers/subnets/1a2b3c4d5e", pretrained=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

Importing this module registers the entrypoint `nat_subnet` with timm, and nothing else does. A bundle on the Hugging
Face hub (`nat push`) is "hf-hub:USER/NAME". As with timm's own models, `num_classes=N` gives a new classifier and
`num_classes=0` none.
"""

from collections.abc import Mapping
from typing import Any

from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.costs import space_around
from nat.supernet.structure import structure_of
from nat.supernet.subnet import Subnet


class TimmSubnet(Subnet):
    """A subnet with the members that timm's models have.

    Args:
        architecture: architecture.json of a bundle; timm reads it from config.json.
        num_classes: outputs; 0 for the vectors before the classifier.
        in_chans: must be 3.
        global_pool: must be "avg".
        drop_rate: dropout before the classifier, in training.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any] | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        if architecture is None:
            raise InputError('nat_subnet needs an architecture: create_model("local-dir:BUNDLE") takes the bundle\'s.')
        if in_chans != 3 or global_pool != "avg":
            raise InputError(f"expected in_chans 3 and global_pool 'avg', got {in_chans} and '{global_pool}'.")
        net = Architecture.from_json(architecture)
        space = space_around(net, structure=structure_of(architecture, net.family))
        super().__init__(space, net, max(num_classes, 1), dropout=drop_rate)
        linear = self.classifier.get_submodule("linear")
        assert isinstance(linear, nn.Linear)
        self.num_features: int = linear.in_features
        self.head_hidden_size: int = linear.in_features
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        """The last layer; an identity if `num_classes` is 0."""
        return self.classifier.get_submodule("linear")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new classifier in the place of the old, unless it has as many outputs already."""
        if num_classes == self.num_classes and isinstance(self.get_classifier(), nn.Linear):
            return
        self.num_classes = num_classes
        self.classifier.linear = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """Maps (n, channels, h, w) behind the stages, of images (n, 3, h, w)."""
        return self.features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of maps, or the vectors before the classifier."""
        vectors = self.pooled(features)
        if pre_logits:
            return vectors
        logits: Tensor = self.classifier(self.dropout(vectors))
        return logits


@register_model
def nat_subnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The entrypoint; timm calls it with the model_args of a bundle's config.json."""
    model: nn.Module = build_model_with_cfg(TimmSubnet, "nat_subnet", pretrained, **kwargs)
    return model
