import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.encodings import Described, describe, read_architecture
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace

# the published networks, as NAT's and once-for-all's code builds them (nat.md 1.1)
STAGES = ((2, False, "relu"), (2, True, "relu"), (2, False, "h_swish"), (1, True, "h_swish"), (2, True, "h_swish"))
CHANNELS = {1.0: (16, 16, 24, 40, 80, 112, 160, 960, 1280), 1.2: (24, 24, 32, 48, 96, 136, 192, 1152, 1536)}
Config = dict[str, Any]


def block(inputs: int, outputs: int, kernel: int, stride: int, expand: float, act: str, excite: bool) -> Config:
    layer = {
        "name": "MBInvertedConvLayer",
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": kernel,
        "stride": stride,
        "expand_ratio": expand,
        "mid_channels": None if expand == 1 else round(inputs * expand),
        "act_func": act,
        "use_se": excite,
    }
    return {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": layer, "shortcut": None}


def net_config(net: Architecture, classes: int = 1000, size: int | None = None) -> Config:
    """The file that NAT would publish for an architecture."""
    stem, fixed, *widths, final, mix = CHANNELS[net.width]
    blocks, channels = [block(stem, fixed, 3, 1, 1, "relu", False)], fixed
    choices = iter(zip(net.kernels, net.expands, strict=True))
    for width, depth, (stride, excite, act) in zip(widths, net.depths, STAGES, strict=True):
        for layer in range(depth):
            kernel, expand = next(choices)
            blocks.append(block(channels, width, kernel, stride if layer == 0 else 1, expand, act, excite))
            channels = width
    return {
        "name": "NATNet",
        "bn": {"momentum": 0.1, "eps": 1e-5},
        "first_conv": {"in_channels": 3, "out_channels": stem, "kernel_size": 3, "stride": 2, "act_func": "h_swish"},
        "blocks": blocks,
        "final_expand_layer": {"in_channels": channels, "out_channels": final, "act_func": "h_swish"},
        "feature_mix_layer": {"in_channels": final, "out_channels": mix, "act_func": "h_swish"},
        "classifier": {"in_features": mix, "out_features": classes},
    } | ({} if size is None else {"img_size": size})


def drawn(width: float, seed: int) -> Architecture:
    space = MobileNetSpace(width=width)
    return space.decode(sample_uniform(space, 1, np.random.default_rng(seed)))[0]


def described(config: Config) -> Described:
    return describe(json.dumps(config))


NET = drawn(1.2, 0)


@given(st.sampled_from([1.0, 1.2]), st.integers(0, 2**32 - 1), st.integers(1, 5000))
def test_a_config_and_its_subnet_are_one_architecture(width: float, seed: int, classes: int) -> None:
    net = drawn(width, seed)
    config = net_config(net, classes, net.resolution)
    subnet = {key: value for key, value in net.to_json().items() if key != "space"}
    assert read_architecture(json.dumps(config)) == read_architecture(json.dumps(subnet)) == net
    assert described(config) == Described("net.config", net, classes)


def test_the_newer_spelling_of_blocks_is_read() -> None:
    config = net_config(NET, size=NET.resolution)
    for one in config["blocks"]:
        one["conv"] = one.pop("mobile_inverted_conv")
    assert described(config).architecture == NET


def test_expanded_channels_may_be_left_to_the_ratio() -> None:
    config = net_config(NET, size=NET.resolution)
    for one in config["blocks"]:
        del one["mobile_inverted_conv"]["mid_channels"]
    assert described(config).architecture == NET


def test_a_config_without_an_input_size_says_so() -> None:
    found = described(net_config(NET))
    assert (found.assumed, found.architecture.resolution, found.remarks) == ("resolution", 224, ())


def test_a_subnet_without_a_width_says_so() -> None:
    data = NET.to_json()
    del data["w"], data["space"]
    found = describe(json.dumps(data))
    assert (found.kind, found.assumed, found.architecture.width) == ("net.subnet", "width", 1.0)
    assert describe(json.dumps({**data, "w": 1.2})) == Described("net.subnet", NET)
    assert describe(json.dumps(NET.to_json())) == Described("architecture", NET)
    assert describe("08011001100440052208877").kind == "encoding"


def activate(config: Config, act: Callable[[str], str]) -> None:
    layers = [one["mobile_inverted_conv"] for one in config["blocks"]]
    for layer in (config["first_conv"], *layers, config["final_expand_layer"], config["feature_mix_layer"]):
        layer["act_func"] = act(layer["act_func"])


def test_other_activations_are_told() -> None:
    config = net_config(NET, size=NET.resolution)
    activate(config, lambda _: "mish")
    (remark,) = described(config).remarks
    assert "mish throughout" in remark and "another function" in remark
    activate(config, lambda _: "h_swish")
    assert "h_swish throughout" in described(config).remarks[0]
    config = net_config(NET, size=NET.resolution)
    config["blocks"][-1]["mobile_inverted_conv"]["act_func"] = "relu"
    assert "h_swish and relu, in other places" in described(config).remarks[0]
    assert described(config).architecture == NET


def change(path: str, value: object) -> Config:
    config: Any = net_config(NET, size=NET.resolution)
    *folders, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = config
    for key in folders:
        place = place[key]
    place[last] = value
    return dict(config)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("first_conv.out_channels", 40, r"stem of 16 \(width 1.0\) or 24 channels \(width 1.2\), got 40"),
        ("blocks.1.mobile_inverted_conv.stride", 1, "layer 1 .*'stride': 2.*'stride': 1"),
        ("blocks.2.mobile_inverted_conv.in_channels", 40, "layer 2"),
        ("blocks.1.mobile_inverted_conv.use_se", True, "layer 1"),
        ("blocks.1.mobile_inverted_conv.mid_channels", 200, "layer 1"),
        ("blocks.1.mobile_inverted_conv.kernel_size", 9, "kernel sizes 'ks' among 3, 5, 7, got 9"),
        ("blocks.1.mobile_inverted_conv.kernel_size", "3", "whole numbers"),
        ("blocks.1.mobile_inverted_conv.expand_ratio", 5, "expand ratios 'e' among 3, 4, 6, got 5"),
        ("blocks.1.mobile_inverted_conv.expand_ratio", None, "missing or malformed"),
        ("blocks.1.mobile_inverted_conv.expand_ratio", "three", "missing or malformed"),
        ("blocks.1.mobile_inverted_conv.expand_ratio", float("inf"), "missing or malformed"),
        ("blocks.1.mobile_inverted_conv", None, "missing or malformed"),
        ("blocks.1.mobile_inverted_conv.out_channels", 48, "output channels of its stages"),
        ("blocks.0.mobile_inverted_conv.out_channels", 16, "block 0 and the head"),
        ("final_expand_layer.out_channels", 960, "block 0 and the head"),
        ("feature_mix_layer.out_channels", 1280, "block 0 and the head"),
        ("classifier", None, "missing or malformed"),
        ("classifier.out_features", 10.5, "whole numbers"),
        ("img_size", "224", "whole numbers"),
        ("blocks", [], "missing or malformed|output channels"),
        ("blocks", 5, "missing or malformed"),
        ("blocks", [5], "missing or malformed"),
    ],
)
def test_networks_outside_of_the_space_are_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        described(change(path, value))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("missing", ["first_conv", "final_expand_layer", "feature_mix_layer", "classifier"])
def test_missing_parts_are_named(missing: str) -> None:
    config = net_config(NET)
    del config[missing]
    with pytest.raises(InputError, match=f"malformed: '{missing}'"):
        described(config)
