"""What a family of networks has in common, as data: everything about stem, stages and head that is not searched.

    >>> MOBILENETV3.stages[1]
    Stage(width=40, stride=2, squeeze_excite=True, activation='relu', most=None, layers=None)

Every network here is a stem convolution (3x3, stride 2), a fixed depthwise-separable block, stages of inverted residual
blocks, and a head; the families differ in numbers, activations and conventions only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from nat.errors import InputError, unknown_name

Activation = Literal["relu", "relu6", "h_swish"]


@dataclass(frozen=True, slots=True)
class Conventions:
    """What frameworks do differently with the same layers.

    Attributes:
        same_padding: TensorFlow's "same" padding: convolutions of stride 2 pad images of even sizes less in front.
        epsilon: of batch norm.
    """

    same_padding: bool = False
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class Layer:
    """The largest choice of one layer, where a stage has its own for each.

    Attributes:
        kernel: largest kernel size.
        expanded: channels between expansion and projection at expand ratio 1.
        least: its least expand ratio.
    """

    kernel: int
    expanded: int
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of inverted residual blocks.

    Attributes:
        width: output channels, before the width multiplier.
        stride: of its first layer.
        squeeze_excite: whether its blocks have a squeeze-and-excite unit.
        activation: of its blocks.
        most: most layers; None for the greatest depth of the space.
        layers: the largest choice of each layer; None where kernels are any of the space's, and expand ratios multiply
            the input channels.
    """

    width: int
    stride: int
    squeeze_excite: bool
    activation: Activation
    most: int | None = None
    layers: tuple[Layer, ...] | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What follows the stages.

    Attributes:
        expand: channels of a 1x1 convolution with batch norm before the pooling (MobileNetV3), or None (MobileNetV2).
        mix: inputs of the classifier, from a 1x1 convolution: behind the pooling and without batch norm if there is
            one before it, else before the pooling and with batch norm.
        bias: whether the one behind the pooling has a bias.
        activation: of both.
    """

    expand: int | None
    mix: int
    bias: bool
    activation: Activation


@dataclass(frozen=True, slots=True)
class Structure:
    """A family of networks. Widths are before the width multiplier.

    Attributes:
        name: in architectures' JSON, as "space".
        stem: output channels of the first convolution.
        stem_activation: its activation.
        fixed: output channels of the block behind, which is not searched.
        fixed_activation: its activation.
        stages: the searched ones.
        head: what follows them.
        conventions: padding and batch norm.
    """

    name: str
    stem: int
    stem_activation: Activation
    fixed: int
    fixed_activation: Activation
    stages: tuple[Stage, ...]
    head: Head
    conventions: Conventions = Conventions()

    def to_json(self) -> dict[str, Any]:
        """Everything, for a checkpoint's card or a bundle."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> "Structure":
        """Reads `to_json`'s form.

        Raises:
            InputError: a field is missing or of the wrong kind.
        """
        try:
            return _READER.validate_python(data)
        except ValidationError as error:
            details = error.errors()[0]
            place = ".".join(map(str, details["loc"]))
            raise InputError(f"expected the structure of a family of networks: {place}: {details['msg']}.") from error


_READER = TypeAdapter(Structure)

# NAT (Lu et al., TPAMI 2021) and once-for-all (Cai et al., ICLR 2020), after MobileNetV3-Large (Howard et al.,
# ICCV 2019).
MOBILENETV3 = Structure(
    name="mobilenetv3",
    stem=16,
    stem_activation="h_swish",
    fixed=16,
    fixed_activation="relu",
    stages=(
        Stage(24, 2, False, "relu"),
        Stage(40, 2, True, "relu"),
        Stage(80, 2, False, "h_swish"),
        Stage(112, 1, True, "h_swish"),
        Stage(160, 2, True, "h_swish"),
    ),
    head=Head(expand=960, mix=1280, bias=False, activation="h_swish"),
)

# Once-for-all's second family, after ProxylessNAS (Cai et al., ICLR 2019) and MobileNetV2 (Sandler et al., CVPR 2018).
PROXYLESS = Structure(
    name="proxyless",
    stem=32,
    stem_activation="relu6",
    fixed=16,
    fixed_activation="relu6",
    stages=(
        Stage(24, 2, False, "relu6"),
        Stage(40, 2, False, "relu6"),
        Stage(80, 2, False, "relu6"),
        Stage(96, 1, False, "relu6"),
        Stage(192, 2, False, "relu6"),
        Stage(320, 1, False, "relu6", most=1),
    ),
    head=Head(expand=None, mix=1280, bias=False, activation="relu6"),
    conventions=Conventions(epsilon=1e-3),
)


def named_structures() -> Mapping[str, Structure]:
    """The structures that an architecture may name without bringing them along."""
    return {structure.name: structure for structure in (MOBILENETV3, PROXYLESS)}


def find_structure(name: str) -> Structure:
    """The structure of a name.

    Raises:
        InputError: there is no such name; the nearest one is proposed.
    """
    known = named_structures()
    if name not in known:
        raise unknown_name("space", name, known)
    return known[name]


def with_structure(data: dict[str, Any], structure: Structure) -> dict[str, Any]:
    """A JSON object that brings its structure along, unless the structure's name says it."""
    return data if structure in named_structures().values() else {**data, "structure": structure.to_json()}


def structure_of(data: Mapping[str, Any], name: str) -> Structure:
    """The structure that a JSON object brings along, or the one of a name.

    Raises:
        InputError: there is none of that name, or the one brought along is malformed or of another name.
    """
    if data.get("structure") is None:
        return find_structure(name)
    structure = Structure.from_json(data["structure"])
    if structure.name != name:
        raise InputError(f"expected the structure of space '{name}', got that of '{structure.name}'.")
    return structure
