import json
from pathlib import Path

import pytest

from nat.errors import InputError
from nat.pretrained.described import architecture_text, described_file
from nat.supernet.encodings import Described, to_nat_digits
from nat.supernet.space import MobileNetSpace

NET = MobileNetSpace(width=1.2).smallest()
SUBNET = {key: value for key, value in NET.to_json().items() if key != "space"}


@pytest.mark.parametrize(
    "text", [json.dumps(SUBNET), f"\n {json.dumps(SUBNET, indent=2)}\n", to_nat_digits(NET) + "\n"]
)
def test_descriptions_are_told_from_weights_by_their_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "anything.pth"
    path.write_text(text)
    found = architecture_text(path)
    assert found is not None and described_file(path, found).architecture == NET


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x10\x00\x00\x00\x00\x00\x00\x00{}", b"words"]
)
def test_anything_else_is_to_hold_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    assert architecture_text(tmp_path / "weights") is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read '.*absent': No such file"):
        architecture_text(tmp_path / "absent")
    with pytest.raises(InputError, match="got the folder"):
        architecture_text(tmp_path)
    with pytest.raises(InputError, match=r"broken': expected an architecture"):
        described_file(tmp_path / "broken", "{")


def without(key: str) -> str:
    return json.dumps({name: value for name, value in SUBNET.items() if name != key})


def test_a_missing_width_is_taken_from_the_config_beside(tmp_path: Path, config_of_net: str) -> None:
    path = tmp_path / "net.subnet"
    (assumed,) = described_file(path, without("w")).remarks
    assert assumed == "it says no width: 1.0 is assumed, as no net.config of this network is beside it."
    (tmp_path / "net.config").write_text(config_of_net)
    found = described_file(path, without("w"))
    said = "it says no width: that of the net.config beside it is taken."
    assert found == Described("net.subnet", NET, remarks=(said,))


def test_a_missing_input_size_is_taken_from_the_subnet_beside(tmp_path: Path, config_of_net: str) -> None:
    path = tmp_path / "net.config"
    found = described_file(path, config_of_net)
    assert found.architecture.resolution == 224
    assert found.remarks == ("it says no resolution: 224 is assumed, as no net.subnet of this network is beside it.",)
    (tmp_path / "net.subnet").write_text(without("w"))  # each says what the other does not
    found = described_file(path, config_of_net)
    assert found.architecture == NET and found.num_classes == 7
    assert found.remarks == ("it says no resolution: that of the net.subnet beside it is taken.",)


def test_another_network_beside_is_left_alone(tmp_path: Path, config_of_net: str) -> None:
    path = tmp_path / "net.config"
    for text in (json.dumps(MobileNetSpace(width=1.2).largest().to_json()), "{", "\x00"):
        (tmp_path / "net.subnet").write_text(text)
        assert described_file(path, config_of_net).architecture.resolution == 224


@pytest.fixture
def config_of_net() -> str:
    """The net.config of the smallest network of width 1.2 with 7 classes, without its input size."""
    stages = ((32, 2, False, "relu"), (48, 2, True, "relu"), (96, 2, False, "h_swish"), (136, 1, True, "h_swish"))
    blocks, channels = [layer(24, 24, 1, 1, False, "relu")], 24
    for width, stride, excite, act in (*stages, (192, 2, True, "h_swish")):
        blocks += [layer(channels, width, stride, 3, excite, act), layer(width, width, 1, 3, excite, act)]
        channels = width
    outer = {name: {"out_channels": n, "act_func": "h_swish"} for name, n in zip(OUTER, (24, 1152, 1536), strict=True)}
    wrapped = [{"mobile_inverted_conv": one} for one in blocks]
    return json.dumps({**outer, "blocks": wrapped, "classifier": {"out_features": 7}})


OUTER = ("first_conv", "final_expand_layer", "feature_mix_layer")


def layer(inputs: int, outputs: int, stride: int, expand: int, excite: bool, act: str) -> dict[str, object]:
    channels = {"in_channels": inputs, "out_channels": outputs, "kernel_size": 3, "stride": stride}
    return {**channels, "expand_ratio": expand, "use_se": excite, "act_func": act}
