import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from timm import create_model
from torch import nn

from nat.errors import CheckpointError, InputError
from nat.growing import GrowthOptions, grow_to_folder
from nat.pretrained.catalogue import load_supernet
from nat.pretrained.growing import greatest_difference, grown, preserved, source_of
from nat.pretrained.store import load_supernet_file
from nat.pretrained.timm_models import TESTED, check_family, convert, load_timm
from nat.progress import Silence

MODEL = "mobilenetv2_035"  # the smallest


def network_of(model: str, classes: int = 7) -> nn.Module:
    """Random weights, and batch norm off its neutral starting values."""
    torch.manual_seed(0)
    network = create_model(model, pretrained=False, num_classes=classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.2)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.3)
    return network.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(network_of(MODEL).state_dict(), path)
    return path


@pytest.mark.parametrize("kind", ["shrink", "nat"])
@pytest.mark.parametrize(
    "model",
    [
        "mobilenetv3_large_100",
        "mobilenetv3_large_075",
        "tf_mobilenetv3_large_100",
        "tf_mobilenetv3_large_minimal_100",
        "mobilenetv2_100",
        "mobilenetv2_140",
    ],
)
def test_grown_networks_keep_their_function(model: str, kind: str) -> None:
    network = network_of(model)
    source, card = convert(network, model)
    supernet, card = grown(source, card, kind)  # type: ignore[arg-type]
    nets = preserved(source, supernet)
    assert ("greatest depths" in nets) == (kind == "nat")
    differences, largest = greatest_difference(network, supernet, nets, size=65)
    assert set(differences) == set(nets) and max(differences.values()) < 1e-4 * largest
    others, _ = greatest_difference(network, supernet, {"smallest": card.space.smallest()}, size=65)
    assert others["smallest"] > 0.01 * largest  # so the test could have failed


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("mobilenetv3_small_100", "its first block"),
        ("efficientnet_b0", "squeeze-and-excite"),
        ("resnet18", "no attribute 'blocks'"),
    ],
)
def test_other_networks_are_refused_with_the_families_there_are(model: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"MobileNetV3-Large or MobileNetV2 of timm .*{reason}"):
        convert(create_model(model, pretrained=False).eval(), model)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("mobilenetv3_rw", "its squeeze-and-excite has another width"),
        ("semnasnet_075", "its squeeze-and-excite has another width"),
        ("mobilenetv3_large_150d", "its first stage is not one plain block"),
    ],
)
def test_what_looks_alike_is_refused_before_anything_is_downloaded(model: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"mobilenetv3_large_075, .*mobilenetv2_120d.*, got '{model}' .{reason}"):
        check_family(model)


def test_the_refusal_names_what_can_grow() -> None:
    names = timm.list_models(["*mobilenetv3_large*", "mobilenetv2*"])
    assert set(TESTED) == {name for name in names if can_grow(name)} == set(names) - {"mobilenetv3_large_150d"}


def can_grow(model: str) -> bool:
    try:
        check_family(model)
    except InputError:
        return False
    return True


def test_tensors_that_do_not_fit_are_named() -> None:
    network = network_of(MODEL)
    network.add_module("extra", nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"MobileNetV2 of timm .*tensors unexpected \(extra.weight, extra.bias\)"):
        convert(network, MODEL)
    network = network_of(MODEL)
    network.get_submodule("blocks.1.0").add_module("bn3", nn.BatchNorm2d(9))
    with pytest.raises(InputError, match=r"MobileNetV2 of timm .*4 tensors of other shapes"):
        convert(network, MODEL)


def test_oddities_that_are_not_read_off_are_noticed() -> None:
    network = network_of(MODEL)
    network.get_submodule("blocks.2.1").register_forward_hook(lambda module, inputs, output: 1.5 * output)
    with pytest.raises(InputError, match="does something else"):
        convert(network, MODEL)


def test_a_file_grows_into_a_supernet_that_loads(weights: Path, tmp_path: Path) -> None:
    options = GrowthOptions(str(weights), MODEL, name="mine")
    found = grow_to_folder(options, tmp_path / "out", None, 64, Silence())
    json.dumps(found)
    assert found["max_logit_difference"] < 1e-4 * found["largest_logit"]
    assert found["smallest"]["macs"] < found["checks"]["source"]["macs"] == found["largest"]["macs"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mine.json", "mine.safetensors"]
    supernet, card = load_supernet_file(Path(found["file"]))
    assert (card.name, card.num_classes, card.space.structure.name) == ("mine", 7, MODEL)
    again, _ = load_supernet(weights, model=MODEL)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in supernet.state_dict().items())


def test_accuracies_are_measured_on_images_of_the_sources_classes(weights: Path, tmp_path: Path) -> None:
    folder = noise_in(tmp_path / "seven", classes=7, images=3)
    found = grow_to_folder(GrowthOptions(str(weights), MODEL), tmp_path / "out", str(folder), 64, Silence())
    assert found["source_top1"] == found["grown_top1"] == found["checks"]["source"]["top1"]
    for classes in (5, 9):
        other = noise_in(tmp_path / str(classes), classes=classes, images=1)
        with pytest.raises(InputError, match=f"expected --data with the 7 classes of the weights, got {classes} in"):
            grow_to_folder(GrowthOptions(str(weights), MODEL), tmp_path / "other", str(other), 64, Silence())
    assert not (tmp_path / "other").exists()


def noise_in(folder: Path, classes: int, images: int) -> Path:
    """Noise in class sub-folders of folder/test."""
    rng = np.random.default_rng(0)
    for number in range(classes):
        (folder / "test" / str(number)).mkdir(parents=True)
        for image in range(images):
            pixels = rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "test" / str(number) / f"{image}.png")
    return folder


def broken(weights: Path, path: Path, kind: str) -> str:
    """A file that cannot be used, and what is said of it."""
    state = network_of(MODEL).state_dict()
    if kind == "truncated":
        path.write_bytes(weights.read_bytes()[:100_000])
        return "truncated, damaged"
    if kind == "header that lies":
        data = weights.read_bytes()
        path.write_bytes((10**9).to_bytes(8, "little") + data[8:])
        return "truncated, damaged"
    if kind == "not finite":
        state["conv_stem.weight"][0, 0, 0, 0] = float("nan")
        expected = "not finite, in conv_stem.weight"
    elif kind == "lacking":
        del state["conv_head.weight"]
        expected = "1 tensors missing \\(conv_head.weight\\)"
    else:
        state["conv_head.weight"] = torch.zeros(3, 3)
        expected = "1 tensors of other shapes"
    save_file(state, path)
    return expected


@pytest.mark.parametrize("kind", ["truncated", "header that lies", "not finite", "lacking", "misshapen"])
def test_files_that_cannot_be_used_leave_nothing(weights: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    message = broken(weights, path, kind)
    with pytest.raises(CheckpointError, match=message):
        grow_to_folder(GrowthOptions(str(path), MODEL), tmp_path / "out", None, 64, Silence())
    assert not (tmp_path / "out").exists()


def test_weights_of_another_model_are_refused(weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weights of timm's mobilenetv2_100: 256 tensors of other shapes"):
        load_timm("mobilenetv2_100", weights)


def test_sources_are_models_or_files(weights: Path) -> None:
    assert source_of("timm:mobilenetv2_100", None) == source_of("mobilenetv2_100", None) == ("mobilenetv2_100", None)
    assert source_of("mobilenetv3_large_100.ra_in1k", None) == ("mobilenetv3_large_100.ra_in1k", None)
    assert source_of(str(weights), MODEL) == (MODEL, weights)
    for file in (str(weights), "mobilenetv2_100.pth", "here/weights"):
        with pytest.raises(InputError, match="expected --model with the file"):
            source_of(file, None)
    with pytest.raises(InputError, match="name of a timm model, got 'mobilenetv9'"):
        load_supernet("timm:mobilenetv9")


def test_without_a_network_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(model: str, *, pretrained: bool) -> nn.Module:
        if pretrained:
            raise OSError("no route to host\nand more")
        network: nn.Module = create_model(model)
        return network

    monkeypatch.setattr("nat.pretrained.timm_hub.get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr("nat.pretrained.timm_hub.create_model", offline)
    for model, said in (
        ("mobilenetv2_100", "fetch 'model.safetensors' of 'timm/mobilenetv2_100.ra_in1k' on the Hugging Face hub"),
        ("mobilenetv2_035", "There are none of it on the Hugging Face hub: take a file of your own"),
    ):
        with pytest.raises(InputError, match=f"cannot get the weights of '{model}' .no route to host.*{said}.*--model"):
            load_supernet(f"timm:{model}")


def test_a_hub_that_cannot_be_reached_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timm itself would ask for each of two files six times, for 46 seconds."""
    asked = list[str]()

    def unreachable(url: str, **_: object) -> None:
        asked.append(url)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("nat.pretrained.timm_hub.get_hf_file_metadata", unreachable)
    monkeypatch.setattr("nat.pretrained.timm_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(InputError, match=r"cannot get the weights of 'mobilenetv2_100' \(Name or service not known"):
        load_supernet("timm:mobilenetv2_100")
    assert len(asked) == 2


class _Missing(HfHubHTTPError):
    def __init__(self) -> None:
        """Without a response, which every version of the hub's library makes in its own way."""


@pytest.mark.parametrize("cached", [True, False])
def test_what_is_cached_or_answered_for_is_left_to_timm(monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
    def missing(url: str, **_: object) -> None:
        assert not cached, "the hub is not asked for what is there"
        raise _Missing

    def published(model: str, *, pretrained: bool = False) -> nn.Module:
        network: nn.Module = create_model(model)
        return network

    monkeypatch.setattr("nat.pretrained.timm_hub.get_hf_file_metadata", missing)
    monkeypatch.setattr("nat.pretrained.timm_hub.try_to_load_from_cache", lambda *_: "file" if cached else None)
    monkeypatch.setattr("nat.pretrained.timm_hub.create_model", published)
    assert load_supernet("timm:mobilenetv2_100")[1].name == "mobilenetv2_100"


def test_what_is_there_is_not_overwritten(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_text("precious")
    with pytest.raises(InputError, match="is there already"):
        grow_to_folder(GrowthOptions(str(weights), MODEL, name="mine"), tmp_path, None, 64, Silence())
    assert (tmp_path / "mine.safetensors").read_text() == "precious"


def test_a_full_disk_leaves_nothing(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("nat.pretrained.store.save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        grow_to_folder(GrowthOptions(str(weights), MODEL), tmp_path / "deep" / "out", None, 64, Silence())
    assert not (tmp_path / "deep").exists()


def test_names_and_places_that_cannot_be_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a --name"):
        grow_to_folder(GrowthOptions(str(weights), MODEL, name="a/b"), tmp_path, None, 64, Silence())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a folder as --out"):
        grow_to_folder(GrowthOptions(str(weights), MODEL), tmp_path / "file", None, 64, Silence())
