"""From a bundle to files for other runtimes: what they hold, that they do the same alone, and what is refused."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from nat.bundle import Bundle, load_bundle, save_bundle
from nat.datasets.loading import load_dataset
from nat.datasets.preprocess import Preprocess
from nat.deployment import exporting, formats
from nat.deployment.checking import compare, expected_of
from nat.errors import TransferError
from nat.metrics import measure
from nat.pretrained.catalogue import load_supernet
from nat.supernet.calibration import recalibrate

Command = Callable[..., Any]
PLAIN = {"Conv", "Relu", "Clip", "HardSwish", "HardSigmoid", "Mul", "Add", "ReduceMean", "Reshape", "Flatten", "Gemm"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that can tell digits: the shipped supernet's smallest net with a linear classifier on its vectors."""
    splits, (supernet, card) = load_dataset("digits"), load_supernet("tiny-small")
    supernet.reset_classifier(10)
    preprocess = Preprocess.for_resolution(32, 1.0, card.mean, card.std)
    images = preprocess.normalise(splits.train.original(preprocess))
    net = replace(card.space.smallest(), resolution=32)
    subnet = recalibrate(supernet.extract(net), images.split(128)).eval()
    with torch.inference_mode():
        vectors = subnet.pooled(subnet.features(images))
        inputs = torch.cat([vectors, torch.ones(len(vectors), 1)], 1).double()
        gram = inputs.T @ inputs
        gram += 0.1 * gram.diag().mean() * torch.eye(len(gram))
        targets = nn.functional.one_hot(splits.train.labels, 10).double()
        weights = torch.linalg.solve(gram, inputs.T @ targets).float()
        linear = subnet.classifier.get_submodule("linear")
        linear.weight.copy_(10 * weights[:-1].T)
        linear.bias.copy_(10 * weights[-1])
    found = {name: measure(subnet, preprocess, getattr(splits, name)) for name in ("val", "test")}
    data: dict[str, Any] = {"name": "digits", "source": "digits", "data_root": None, "seed": 0}
    data |= {"skip_corrupt": False, "fingerprint": splits.fingerprint}
    known = {"id": net.id, "macs": 1, "params": 1, "resolution": 32, "finetuned": False, "supernet": "tiny-small"}
    path = tmp_path_factory.mktemp("digits") / "net"
    save_bundle(path, subnet, preprocess, splits.classes, {**known, **found, "data": data})
    return path


@pytest.fixture(scope="module")
def exported(digits: Path, command: Command) -> tuple[Path, dict[str, Any]]:
    outcome = command("export", digits, "--calibration", "128", "--json")
    assert outcome.code == 0, outcome.err
    (facts,) = outcome.json
    return digits / "exports", facts


def test_every_format_does_the_same_alone(exported: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = exported
    assert json.loads((folder / "export.json").read_text()) == facts
    assert facts["compared_on"] == {"images": 355, "kind": "test"}
    assert facts["eager"]["top1"] == facts["bundle_test_top1"] > 0.8
    for name, runtime in (("onnx", "onnxruntime"), ("pt2", "torch"), ("int8", "onnxruntime")):
        form = facts["formats"][name]
        assert form["imported"] == [runtime] and runtime in form["versions"]
        assert form["bytes"] == (folder / form["file"]).stat().st_size
        latency = form["latency"]
        assert 0 < latency["q1_ms"] <= latency["median_ms"] <= latency["q3_ms"] and latency["threads"] == 1
    for name in ("onnx", "pt2"):
        form = facts["formats"][name]
        assert form["top1"] == facts["eager"]["top1"] and form["differing_answers"] == 0
        assert form["max_logit_difference"] < 1e-4 < form["largest_logit"]


def test_int8_is_small_and_loses_little(exported: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = exported
    int8 = facts["formats"]["int8"]
    assert int8["calibration_images"] == 128
    assert int8["top1_drop"] == pytest.approx(facts["eager"]["top1"] - int8["top1"])
    assert int8["top1_drop"] < 0.1  # fine-tuned nets lose 0.3 points (docs/export.md), this linear classifier 5
    assert int8["bytes"] < 0.5 * facts["formats"]["onnx"]["bytes"]
    kinds = Counter(node.op_type for node in onnx.load(folder / "model.int8.onnx").graph.node)
    assert kinds["DequantizeLinear"] > kinds["Conv"] > 20


def test_files_carry_labels_and_preprocessing_and_no_paths(exported: tuple[Path, dict[str, Any]], digits: Path) -> None:
    folder, _ = exported
    expected = formats.carried(load_bundle(digits))
    for name in ("model.onnx", "model.int8.onnx"):
        assert {prop.key: prop.value for prop in onnx.load(folder / name).metadata_props} == expected
        assert b"subnet.py" not in (folder / name).read_bytes()
    extra = dict.fromkeys(expected, "")
    torch.export.load(str(folder / "model.pt2"), extra_files=extra)
    assert extra == expected
    assert b"subnet.py" not in (folder / "model.pt2").read_bytes()
    for name in ("labels.json", "preprocess.json"):
        assert (folder / name).read_bytes() == (digits / name).read_bytes()


def test_the_copied_runner_needs_no_toolkit(
    exported: tuple[Path, dict[str, Any]], digits: Path, photos: Path, command: Command, tmp_path: Path
) -> None:
    folder, _ = exported
    for name in ("predict.py", "model.onnx"):
        shutil.copy(folder / name, tmp_path / name)
    image = photos / "red" / "0.png"
    words = [sys.executable, "-I", str(tmp_path / "predict.py"), str(image), "--top", "2"]
    alone = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = command("predict", digits, image, "--top", "2")
    assert ours.code == 0, ours.err
    assert [line.split() for line in alone] == [line.split() for line in ours.out.splitlines()]
    for model in (folder, folder / "model.pt2"):
        theirs = command("predict", model, image, "--json").json[str(image)]
        expected = command("predict", digits, image, "--json").json[str(image)]
        assert [label for label, _ in theirs] == [label for label, _ in expected]
        assert [p for _, p in theirs] == pytest.approx([p for _, p in expected], abs=1e-5)


def check_plain(folder: Path, bundle: Path) -> None:
    """No batch norms, no padding of its own, no dense products in the place of small convolutions."""
    graph = onnx.load(folder / "model.onnx").graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["Conv"] == sum(isinstance(module, nn.Conv2d) for module in load_bundle(bundle).model.modules())
    assert kinds["Gemm"] == 1 and set(kinds) <= PLAIN
    assert graph.input[0].name == "images" and graph.output[0].name == "logits"
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_graphs_are_plain_convolutions(exported: tuple[Path, dict[str, Any]], digits: Path) -> None:
    check_plain(exported[0], digits)


@pytest.mark.parametrize("family", ["minimal", "mobilenetv2"])
def test_grown_families_export(family: str, bundles: dict[str, Path], command: Command, tmp_path: Path) -> None:
    outcome = command("export", bundles[family], "--format", "onnx", "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    form = outcome.json[0]["formats"]["onnx"]
    assert form["top1"] == outcome.json[0]["eager"]["top1"] and form["differing_answers"] == 0
    assert form["prepared_from_files"]["max_difference"] <= 1 and form["prepared_from_files"]["pixels_differing"] < 0.05
    check_plain(tmp_path / "out", bundles[family])


def test_what_differs_is_not_written(exported: tuple[Path, dict[str, Any]], bundles: dict[str, Path]) -> None:
    folder, _ = exported
    expected = expected_of(load_bundle(folder.parent), None, 1)
    wrong = replace(expected, logits=expected.logits + 0.01)
    with pytest.raises(TransferError, match=r"'model.onnx' does not do what the network does: logits differ by 0\.01"):
        compare(folder / "model.onnx", folder / "predict.py", wrong, exact=True)
    with pytest.raises(TransferError, match="does not run in a process with onnxruntime alone"):
        compare(folder / "labels.json", folder / "predict.py", expected, exact=True)


def test_an_export_that_fails_leaves_nothing(
    bundles: dict[str, Path], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TransferError("no luck")

    monkeypatch.setattr("nat.deployment.exporting.write_pt2", fail)
    out = tmp_path / "out"
    outcome = command("export", bundles["minimal"], "--format", "pt2", "--data", "none", "-o", out)
    assert outcome.code == 1 and "no luck" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_goes_on(
    bundles: dict[str, Path], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, out = ("minimal", "mobilenetv2"), tmp_path / "out"
    monkeypatch.setattr(exporting, "_bundles", lambda path: [bundles[name] for name in names])
    write, written = exporting.write_pt2, list[str]()

    def stopped(bundle: Bundle, path: Path) -> None:
        written.append(bundle.path.name)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(bundle, path)

    monkeypatch.setattr(exporting, "write_pt2", stopped)
    words = ("export", tmp_path, "--format", "pt2", "--data", "none", "-o", out)
    assert command(*words).code == 130
    assert [path.name for path in out.iterdir()] == ["minimal"]
    before = (out / "minimal" / "export.json").read_bytes()
    again = command(*words, "--json")
    assert again.code == 0 and written == ["minimal", "mobilenetv2", "mobilenetv2"], again.err
    assert (out / "minimal" / "export.json").read_bytes() == before
    assert [facts["asked"] for facts in again.json] == [
        json.loads((out / name / "export.json").read_text())["asked"] for name in names
    ]
    whole = command(*words)
    assert whole.code == 0 and "2 of 2 exported already; remove" in whole.err and len(written) == 3
    other = command(*words, "--threads", "2")
    assert other.code == 2 and "holds another export. Name another --out" in other.err


def test_images_are_stored_as_the_bundle_had_them(bundles: dict[str, Path], command: Command, tmp_path: Path) -> None:
    shutil.copytree(bundles["minimal"], tmp_path / "net")
    metrics = json.loads((tmp_path / "net" / "metrics.json").read_text())
    metrics["data"]["store_size"] = 0  # refused, where it is heeded
    (tmp_path / "net" / "metrics.json").write_text(json.dumps(metrics))
    outcome = command("export", tmp_path / "net", "--format", "pt2")
    assert outcome.code == 2 and "expected a store size of at least 1 pixel" in outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("NOTHING",), "expected the folder of a subnet (with architecture.json) or of a run"),
        (("BUNDLE", "--format", "onx"), "unknown format 'onx'. Did you mean 'onnx'? There are: int8, onnx, pt2."),
        (("BUNDLE", "--format", ","), "expected --format with some of onnx, pt2, int8"),
        (("BUNDLE", "--format", "pt2", "--data", "nowhere"), "nowhere"),
        (("BUNDLE", "--format", "int8", "--data", "none"), "int8 needs images to calibrate on"),
        (("BUNDLE", "--format", "pt2", "-o", "THERE"), "is there already. Name another."),
        (("BUNDLE", "--format", "pt2", "--data", "digits"), "expected images of the subnet's 3 classes"),
        (("MOVED", "--format", "pt2"), "Say where they are with --data"),
    ],
)
def test_bad_input_is_said(
    words: tuple[str, ...], said: str, bundles: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(bundles["minimal"], moved)
    metrics = json.loads((moved / "metrics.json").read_text())
    metrics["data"]["source"] = "/no/such/folder"
    (moved / "metrics.json").write_text(json.dumps(metrics))
    places = {"NOTHING": tmp_path / "nothing", "BUNDLE": bundles["minimal"], "THERE": tmp_path, "MOVED": moved}
    outcome = command("export", *(places.get(word, word) for word in words))
    assert outcome.code == 2 and said in outcome.err.replace("\n", " "), outcome.err


def test_what_is_not_installed_is_named(
    bundles: dict[str, Path], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    outcome = command("export", bundles["minimal"], "--format", "onnx")
    assert outcome.code == 2 and "needs onnxscript" in outcome.err
    assert "pip install 'neural-architecture-transfer[onnx]'" in outcome.err


@pytest.mark.parametrize(
    ("model", "image", "said"),
    [
        ("nothing", "red/0.png", "expected a subnet's folder"),
        ("nothing.onnx", "red/0.png", "expected an exported network at"),
        ("broken.onnx", "red/0.png", "Export it again"),
        ("BUNDLE", "red", "expected an image file, got the folder"),
        ("BUNDLE", "broken.onnx", "as an image"),
    ],
)
def test_bad_words_of_predict_are_said(
    model: str, image: str, said: str, bundles: dict[str, Path], photos: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    path = bundles["minimal"] if model == "BUNDLE" else tmp_path / model
    outcome = command("predict", path, (tmp_path if image == "broken.onnx" else photos) / image)
    assert outcome.code == 2 and said in outcome.err, outcome.err
