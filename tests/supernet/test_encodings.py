import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.encodings import (
    at_resolution,
    from_nat_digits,
    from_nat_genes,
    read_architecture,
    to_nat_digits,
    to_nat_genes,
    to_ofa_lists,
)
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace


@st.composite
def nat_nets(draw: st.DrawFn) -> Architecture:
    space = MobileNetSpace(width=draw(st.sampled_from([1.0, 1.2])))
    seed = draw(st.integers(0, 2**32 - 1))
    return space.decode(sample_uniform(space, 1, np.random.default_rng(seed)))[0]


@given(nat_nets())
def test_every_spelling_comes_back_as_the_same_network(net: Architecture) -> None:
    digits, genes = to_nat_digits(net), to_nat_genes(net)
    assert (len(digits), len(genes)) == (23, 22)
    assert from_nat_digits(digits) == net
    assert from_nat_genes(genes) == net
    subnet_file = {key: value for key, value in net.to_json().items() if key != "space"}
    for text in (digits, f" {digits}\n", json.dumps(genes), json.dumps(net.to_json()), json.dumps(subnet_file)):
        assert read_architecture(text) == net
    lists = to_ofa_lists(net)
    assert (len(lists["ks"]), len(lists["e"])) == (20, 20)
    assert read_architecture(json.dumps(lists)) == net


def test_slot_codes_are_those_of_nat() -> None:
    # NAT's alphabet: 1 + 3 * index of the expand ratio in (3, 4, 6) + index of the kernel in (3, 5, 7)
    net = from_nat_digits("08" + "1" + "1234" + "5670" + "8900" + "1100" + "9100")
    assert net.resolution == 192 + 4 * 8
    assert net.width == 1.2
    assert net.depths == (4, 3, 2, 2, 2)
    assert net.kernels == (3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 3, 7, 3)
    assert net.expands == (3, 3, 3, 4, 4, 4, 6, 6, 6, 3, 3, 6, 3)


def test_a_layer_behind_a_skipped_one_is_dropped() -> None:
    assert from_nat_digits("000" + "1105" + "1100" * 4) == from_nat_digits("000" + "1100" * 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0801100", r"expected 23 digits, got '0801100' \(7 characters\)"),
        ("1" * 5000, r"expected 23 digits, got '1{60}' \(5000 characters\)"),
        ("²" * 23, "expected 23 digits"),
        ("17" + "0" + "1100" * 5, "gene 1 between 0 and 16, got 17"),
        ("00" + "2" + "1100" * 5, r"gene 2 \(width\) to be 0 or 1, got 2"),
        ("00" + "0" + "0100" * 5, "gene 3 between 1 and 9, got 0"),
        ("[1, 2]", "expected 22 genes, got 2"),
        ("[1.5, 0]", "22 whole numbers"),
        ("[0, 0, " + "10, " * 19 + "1]", "gene 3 between 1 and 9, got 10"),
        ("ks=3", "expected an architecture as JSON, as 23 digits"),
        ("", "expected an architecture as JSON, as 23 digits"),
        ("[" + "1" * 5000 + "]", "expected an architecture as JSON"),
        ("[" * 100_000, "expected an architecture as JSON"),
        ("3.5", "JSON object, got float"),
        ("null", "JSON object, got NoneType"),
    ],
)
def test_text_that_is_no_architecture_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_architecture(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "change", [{"w": 0.5}, {"r": 130}, {"ks": [9] * 10}, {"e": [2] * 10}, {"ks": [3] * 5, "e": [3] * 5, "d": [1] * 5}]
)
def test_networks_outside_of_nats_space_have_no_digits(change: dict[str, Any]) -> None:
    net = Architecture.from_json({**MobileNetSpace().smallest().to_json(), **change})
    with pytest.raises(InputError, match=r"expected .*got"):
        to_nat_digits(net)


def test_lists_with_too_few_slots_are_refused() -> None:
    with pytest.raises(InputError, match=r"at most 3 layers a stage, got depths \[4, 4, 4, 4, 4\]"):
        to_ofa_lists(MobileNetSpace().largest(), layers_per_stage=3)


def test_at_resolution_changes_nothing_else() -> None:
    net = MobileNetSpace().largest()
    moved = at_resolution(net, 192)
    assert moved.resolution == 192
    assert at_resolution(moved, 256) == net
