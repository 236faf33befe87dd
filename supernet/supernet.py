"""The elastic network of once-for-all and NAT: one set of weights, every architecture of its space.

    >>> supernet = Supernet(MobileNetSpace(), num_classes=1000)
    >>> sum(p.numel() for p in supernet.parameters()), len(supernet.state_dict())
    (7678880, 475)

The names of the tensors are those of the published checkpoints `ofa_mbv3_d234_e346_k357_w1.0` and `_w1.2` as current
once-for-all code spells them.
"""

import torch
from torch import Tensor, nn

from nat.supernet.architecture import Architecture
from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.layers import initialise, initialise_classifier
from nat.supernet.slots import squeeze_channels
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Block, Skeleton, Subnet


class Supernet(Skeleton):
    """Weights for every architecture of a space.

    Args:
        space: the choices.
        num_classes: outputs.
        dropout: probability before the classifier, in training.
        generator: for the random initial weights.
    """

    def __init__(
        self,
        space: MobileNetSpace,
        num_classes: int,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(space, num_classes, dropout, fast=True)
        self.space = space
        for slot in space.slots:
            self.blocks.append(Block(ElasticInvertedResidual(slot)))
        if not self.classifier.get_submodule("linear").get_parameter("weight").is_meta:  # seconds of imports there
            initialise(self, generator)

    def forward(self, images: Tensor, architecture: Architecture) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, h, w) by the given architecture; nothing of it is remembered.

        The size of the images counts, not the architecture's resolution, so that one batch can serve several
        architectures.

        Raises:
            InputError: the architecture is not of this supernet.
        """
        self.space.validate_layers(architecture)
        x = self.start(images)
        for index, kernel, expand in self.space.active_slots(architecture):
            x = self.blocks[index + 1].get_submodule("conv")(x, kernel, expand)
        return self.finish(x)

    def reset_classifier(self, num_classes: int, generator: torch.Generator | None = None) -> None:
        """Puts a fresh classifier for that many classes in place of the old one."""
        linear = self.classifier.get_submodule("linear")
        assert isinstance(linear, nn.Linear)
        fresh = nn.Linear(linear.in_features, num_classes, device=linear.weight.device)
        initialise_classifier(fresh, generator)
        self.classifier.add_module("linear", fresh)
        self.num_classes = num_classes

    def extract(self, architecture: Architecture, *, dropout: float = 0.0, fast: bool = False) -> Subnet:
        """A plain network with copies of the architecture's weights, in the supernet's mode of training or evaluation.

        Kernel transforms are baked in. The batch-norm statistics are the supernet's, which fit no subnet in particular:
        recalibrate (`nat.supernet.calibration.recalibrate`) before judging it.
        """
        device = self.first_conv.get_submodule("conv").get_parameter("weight").device
        with torch.device("meta"):
            subnet = Subnet(self.space, architecture, self.num_classes, dropout=dropout, fast=fast)
        subnet.load_state_dict(self._sliced_state(architecture), assign=True)
        for parameter in subnet.parameters():
            parameter.requires_grad_(True)
        return subnet.to(device).train(self.training)

    def _sliced_state(self, architecture: Architecture) -> dict[str, Tensor]:
        """Copies of the tensors of an architecture, under the names of `Subnet`."""
        skeleton = {"first_conv", "final_expand_layer", "feature_mix_layer", "classifier"}
        state = {
            name: tensor
            for name, tensor in self.state_dict().items()
            if name.split(".")[0] in skeleton or name.startswith("blocks.0.")
        }
        for place, (index, kernel, expand) in enumerate(self.space.active_slots(architecture), start=1):
            block = self.blocks[index + 1].get_submodule("conv")
            assert isinstance(block, ElasticInvertedResidual)
            for name, tensor in sliced_block(block, kernel, expand).items():
                state[f"blocks.{place}.conv.{name}"] = tensor
        return {name: tensor.detach().clone() for name, tensor in state.items()}


def sliced_block(block: ElasticInvertedResidual, kernel: int, expand: float) -> dict[str, Tensor]:
    """The tensors of one choice of a block, under the names of `InvertedResidual`; views where slices can be."""
    slot, mid = block.slot, block.slot.mid_channels(expand)
    state = {
        "inverted_bottleneck.conv.weight": block.inverted_bottleneck.conv.kernel(slot.in_channels, mid),
        "depth_conv.conv.weight": block.depth_conv.conv.kernel(mid, kernel),
        "point_linear.conv.weight": block.point_linear.conv.kernel(mid, slot.out_channels),
    }
    for layer, channels in (("inverted_bottleneck", mid), ("depth_conv", mid), ("point_linear", slot.out_channels)):
        for name, tensor in block.get_submodule(f"{layer}.bn.bn").state_dict().items():
            state[f"{layer}.bn.{name}"] = tensor[:channels] if tensor.ndim else tensor
    if slot.squeeze_excite:
        hidden = squeeze_channels(mid)
        fc = block.get_submodule("depth_conv.se.fc")
        state["depth_conv.se.fc.reduce.weight"] = fc.get_parameter("reduce.weight")[:hidden, :mid]
        state["depth_conv.se.fc.reduce.bias"] = fc.get_parameter("reduce.bias")[:hidden]
        state["depth_conv.se.fc.expand.weight"] = fc.get_parameter("expand.weight")[:mid, :hidden]
        state["depth_conv.se.fc.expand.bias"] = fc.get_parameter("expand.bias")[:mid]
    return state
