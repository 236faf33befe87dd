import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nat.errors import CheckpointError, InputError
from nat.pretrained.card import Card
from nat.pretrained.store import load_supernet_file, read_tensors, save_supernet
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

LogitsOf = Callable[[Supernet], Tensor]


def refusal(path: Path) -> str:
    """The message that loading the file ends with: a `CheckpointError`, of a line or two, that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_supernet_file(path)
    message = str(caught.value)
    assert path.stem in message
    assert len(message.splitlines()) <= 2
    assert len(message) < 400 + 2 * len(str(path))
    return message


# --- round trips


def test_saved_supernets_come_back_exactly(saved: Path, supernet: Supernet, card: Card, logits_of: LogitsOf) -> None:
    loaded, its_card = load_supernet_file(saved)
    assert its_card == card
    assert loaded.space == supernet.space
    expected = supernet.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name]), name
    assert torch.equal(logits_of(loaded), logits_of(supernet))
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_half_precision_halves_the_file_and_rounds_the_weights(
    saved: Path, supernet: Supernet, card: Card, logits_of: LogitsOf
) -> None:
    path = saved.with_name("half.safetensors")
    save_supernet(supernet, card, path, half=True)
    loaded, _ = load_supernet_file(path)
    assert path.stat().st_size < 0.65 * saved.stat().st_size  # the header is as long in both
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == supernet.state_dict()[name].dtype
        torch.testing.assert_close(tensor, supernet.state_dict()[name], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(logits_of(loaded), logits_of(supernet), rtol=0.02, atol=0.002)


def test_loaded_supernets_train(saved: Path) -> None:
    loaded, _ = load_supernet_file(saved)
    assert all(p.requires_grad and p.is_leaf for p in loaded.parameters())
    loaded.train()(torch.randn(2, 3, 48, 48), loaded.space.smallest()).sum().backward()
    assert loaded.get_parameter("classifier.linear.weight").grad is not None
    assert int(loaded.state_dict()["first_conv.bn.num_batches_tracked"]) == 4  # three of the fixture's and this one


def test_loading_leaves_the_global_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_supernet_file(saved)
    assert torch.equal(torch.rand(3), expected)


# --- published files, in every spelling


def legacy(name: str) -> str:
    """The spelling of the distributed files: `mobile_inverted_conv`, and one level of nesting less."""
    name = re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name)
    return re.sub(r"\b(bn|conv)\.\1\b", r"\1", name)


def nested(name: str) -> str:
    """The spelling of files that later code saved: static layers nested, too."""
    name = re.sub(r"(?<!\bconv\.)(?<!\bbn\.)\b(bn)\.(?!bn\.)", r"\1.\1.", name)
    return name.replace("classifier.linear.", "classifier.linear.linear.")


@pytest.fixture(scope="module")
def published() -> Supernet:
    supernet = Supernet(MobileNetSpace(width=1.0), 20, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for name, p in supernet.named_parameters():
            if name.endswith("_matrix"):
                p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(4)))
    return supernet.eval()


@pytest.mark.parametrize(
    ("spell", "wrap"),
    [
        (legacy, lambda state: {"state_dict": state}),
        (legacy, lambda state: {"model_state_dict": state, "epoch": 3}),
        (nested, lambda state: state),
        (legacy, lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}),
    ],
    ids=["state_dict", "model_state_dict", "bare and nested", "module."],
)
def test_published_checkpoints_load_in_every_spelling(
    tmp_path: Path,
    published: Supernet,
    logits_of: LogitsOf,
    spell: Callable[[str], str],
    wrap: Callable[[dict[str, Tensor]], Any],
) -> None:
    path = tmp_path / "ofa_mbv3_d234_e346_k357_w1.0"
    names = {spell(name) for name in published.state_dict()}
    assert len(names) == 475 and names != set(published.state_dict())
    torch.save(wrap({spell(name): tensor for name, tensor in published.state_dict().items()}), path)
    loaded, card = load_supernet_file(path)
    assert card.space == MobileNetSpace(width=1.0)
    assert card.num_classes == 20
    assert torch.equal(logits_of(loaded), logits_of(published))


def test_legacy_spelling_is_the_one_that_once_for_all_maps() -> None:
    # names of tensors in once-for-all's files before the renamings (nat.md 2.2: its loader's mapping)
    assert legacy("blocks.5.conv.depth_conv.conv.conv.weight") == "blocks.5.mobile_inverted_conv.depth_conv.conv.weight"
    assert legacy("blocks.5.conv.depth_conv.bn.bn.bias") == "blocks.5.mobile_inverted_conv.depth_conv.bn.bias"
    assert nested("first_conv.bn.running_mean") == "first_conv.bn.bn.running_mean"
    assert nested("blocks.5.conv.depth_conv.bn.bn.bias") == "blocks.5.conv.depth_conv.bn.bn.bias"


def test_counters_of_batches_may_be_absent(saved: Path, supernet: Supernet, logits_of: LogitsOf) -> None:
    state = {name: t for name, t in load_file(saved).items() if not name.endswith("num_batches_tracked")}
    save_file(state, saved)
    assert torch.equal(logits_of(load_supernet_file(saved)[0]), logits_of(supernet))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"conv.weight": torch.zeros(2)}, "expected the weights of a MobileNetV3 supernet .* 1 tensors such as 'conv"),
        (
            {"first_conv.conv.weight": torch.zeros(48, 3, 3, 3), "classifier.linear.weight": torch.zeros(9, 1280)},
            r"stem of 16 \(width 1.0\) or 24 channels \(width 1.2\) .* 40 without it .*, got 48",
        ),
        ({"first_conv.conv.weight": torch.tensor(1.0), "classifier.linear.weight": torch.tensor(1.0)}, "stem of 16"),
        ({}, "expected a state dict"),
        ([1, 2], "expected a state dict"),
        (torch.zeros(3), "expected a state dict"),
        ({"weights": [torch.zeros(3)]}, "some entries are not tensors"),
        ({"a.bn.weight": torch.zeros(1), 3: torch.zeros(1)}, "some entries are not tensors"),
    ],
)
def test_other_peoples_state_dicts_are_refused(tmp_path: Path, state: object, message: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=message):
        load_supernet_file(path)


def test_one_tensor_under_two_names_is_refused(tmp_path: Path, saved: Path) -> None:
    state = load_file(saved)
    path = saved.with_suffix(".pth")
    torch.save({**state, "first_conv.bn.bn.weight": state["first_conv.bn.weight"]}, path)
    with pytest.raises(CheckpointError, match=r"'first_conv.bn.weight' under two names"):
        load_supernet_file(path)


# --- damaged files


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.1, 0.99])
def test_truncated_safetensors_are_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "truncated, damaged or not a checkpoint" in refusal(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_pickles_are_refused(tmp_path: Path, supernet: Supernet, share: float, zipped: bool) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"state_dict": supernet.state_dict()}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert re.search("damaged", refusal(path))


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_pickles_end_in_no_other_error(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "damaged.pth"
    state = {"state_dict": {"a": torch.ones(3, 3), "b.c": torch.arange(4)}}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert isinstance(read_tensors(path), dict)  # flipped bits of values are values
        except CheckpointError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ""])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><title>404</title>", b"\x80", b"PK\x03\x04", bytes(300)])
def test_files_of_other_kinds_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def safetensors(header: dict[str, Any] | bytes, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


FLOATS = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({"a": {**FLOATS, "data_offsets": [0, 8_000_000]}}, bytes(8)),
        safetensors({"a": {**FLOATS, "shape": [2_000_000]}}, bytes(8)),
        safetensors({"a": {**FLOATS, "shape": [2**40, 2**40]}}, bytes(8)),
        safetensors({"a": {**FLOATS, "shape": [-2]}}, bytes(8)),
        safetensors({"a": {**FLOATS, "dtype": "F99"}}, bytes(8)),
        safetensors({"a": FLOATS, "b": FLOATS}, bytes(8)),
        safetensors({"a": FLOATS}, bytes(16)),
        safetensors({"a": FLOATS}, bytes(8), length=2**62),
        safetensors({"a": FLOATS}, bytes(8), length=10),
        safetensors(b"\xff\xfe not json", bytes(8)),
    ],
)
def test_safetensors_whose_headers_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "liar.safetensors"
    path.write_bytes(content)
    assert "truncated, damaged or not a checkpoint" in refusal(path)


class Burglar:
    """Would create a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: {"state_dict": {"a": torch.zeros(2), "b": bad}}])
@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy"])
def test_pickles_that_would_run_code_are_refused_and_do_not(
    tmp_path: Path, wrap: Callable[[object], object], kind: str
) -> None:
    path, marker = tmp_path / "burglar.pth", tmp_path / "marker"
    bad = wrap(Burglar(marker))
    if kind == "pickle":
        path.write_bytes(pickle.dumps(bad))
    else:
        torch.save(bad, path, _use_new_zipfile_serialization=kind == "zip")
    assert "wants to run code, which is refused" in refusal(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists()  # so the test could have failed


# --- weights that are not the card's


def with_tensors(saved: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    state = load_file(saved)
    change(state)
    save_file(state, saved)
    return saved


def test_missing_tensors_are_named(saved: Path) -> None:
    path = with_tensors(saved, lambda state: state.pop("first_conv.conv.weight"))
    assert "1 tensors missing (first_conv.conv.weight)" in refusal(path)


def test_surplus_tensors_are_named(saved: Path) -> None:
    path = with_tensors(saved, lambda state: state.update({f"extra.{i}": torch.zeros(1) for i in range(5)}))
    assert re.search(r"5 tensors unexpected \((extra\.\d, ){3}\.\.\.\)", refusal(path))


@pytest.mark.parametrize("wrong", [torch.zeros(3, 3), torch.zeros(8, 3, 3, 3, dtype=torch.int32)])
def test_tensors_of_other_shapes_or_types_are_named(saved: Path, wrong: Tensor) -> None:
    path = with_tensors(saved, lambda state: state.update({"first_conv.conv.weight": wrong}))
    assert "1 tensors of other shapes or types (first_conv.conv.weight)" in refusal(path)


@pytest.mark.parametrize("kind", ["sparse", "complex"])
def test_tensors_of_other_layouts_are_named(saved: Path, kind: str) -> None:
    state = load_file(saved)
    weight = state["first_conv.conv.weight"]
    state["first_conv.conv.weight"] = weight.to_sparse() if kind == "sparse" else weight.to(torch.complex64)
    path = saved.with_suffix(".pth")
    torch.save(state, path)
    assert "1 tensors of other shapes or types (first_conv.conv.weight)" in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(saved: Path, value: float) -> None:
    path = with_tensors(saved, lambda state: state["classifier.linear.bias"].fill_(value))
    assert "not finite, in classifier.linear.bias" in refusal(path)


def test_weights_of_another_space_are_refused(saved: Path, card: Card) -> None:
    other = {**card.to_json(), "space": MobileNetSpace(0.5, (3, 5), (2, 3), (1, 2), (32,)).to_json()}
    saved.with_suffix(".json").write_text(json.dumps(other))
    assert re.search(r"does not hold the tensors of this network: \d+ tensors of other shapes", refusal(saved))


def test_a_card_of_huge_widths_costs_no_memory(saved: Path, card: Card) -> None:
    huge = {**card.to_json(), "space": {**card.space.to_json(), "width": 1e4}}
    saved.with_suffix(".json").write_text(json.dumps(huge))
    assert "of other shapes" in refusal(saved)


# --- cards


def test_safetensors_without_a_card_are_refused(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    assert "expected the card 'tiny.json' beside" in refusal(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'{"schema": 2}'])
def test_files_that_are_no_cards_are_refused(saved: Path, content: bytes) -> None:
    saved.with_suffix(".json").write_bytes(content)
    assert re.search(r"tiny\.json'.*expected", refusal(saved))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("space", [], "space as a JSON object"),
        ("space", None, "space as a JSON object"),
        ("space", {"family": "resnet"}, "unknown space 'resnet'"),
        ("num_classes", 0, "num_classes must be at least 1"),
        ("num_classes", "ten", "complete card"),
        ("mean", [0.1, 0.2], "three values"),
        ("std", [0.1, 0.2, 0.0], "std above 0"),
        ("std", [0.1, 0.2, float("nan")], "std above 0"),
        ("std", 0.5, "complete card"),
        ("recipe", 5, "complete card"),
        ("accuracy", "good", "complete card"),
    ],
)
def test_cards_with_unusable_fields_are_refused(
    saved: Path, card: Card, field: str, value: object, message: str
) -> None:
    saved.with_suffix(".json").write_text(json.dumps({**card.to_json(), field: value}))
    assert message in refusal(saved)


@pytest.mark.parametrize("field", ["name", "title", "space", "num_classes", "mean", "std", "trained_on", "licence"])
def test_cards_without_a_field_are_refused_with_its_name(saved: Path, card: Card, field: str) -> None:
    data = card.to_json()
    del data[field]
    saved.with_suffix(".json").write_text(json.dumps(data))
    assert f"'{field}'" in refusal(saved)


# --- places


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "there is none. See 'nat checkpoints list'" in refusal(tmp_path / "absent.safetensors")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, supernet: Supernet, card: Card) -> None:
    with pytest.raises(InputError, match=r"cannot write '.*none/tiny\.safetensors'"):
        save_supernet(supernet, card, tmp_path / "none" / "tiny.safetensors")
    assert list(tmp_path.iterdir()) == []
