"""A network of timm that answers for the training images."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from nat.datasets.splits import Splits
from nat.errors import CheckpointError, InputError
from nat.pretraining import teacher
from nat.pretraining.teacher import ANSWERS, TeacherOptions, answers_for, features_of, fit_probe, load_teacher
from nat.progress import Silence
from nat.supernet.evaluation import top1_accuracy

MakeSplits = Callable[[int], Splits]
MODEL = "test_byobnet"  # timm's network for tests: 0.5 M parameters
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TeacherOptions:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "weights.safetensors"
    save_file(timm.create_model(MODEL).state_dict(), path)
    return TeacherOptions(MODEL, path, 32)


def answers(splits: Splits, options: TeacherOptions, out: Path) -> Tensor:
    return answers_for(splits, options, out, CPU, Silence())


def test_a_teacher_answers_rightly_and_once(
    make_splits: MakeSplits, options: TeacherOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = make_splits(3)
    first = answers(splits, options, tmp_path)
    assert first.shape == (48, 3) and first.dtype == torch.float16
    assert top1_accuracy(first.float(), splits.train.labels) > 0.9, "colours are easily told apart"
    monkeypatch.setattr(teacher, "load_teacher", None)
    assert torch.equal(answers(splits, options, tmp_path), first), "read from the file"


def test_answers_of_others_are_not_taken(make_splits: MakeSplits, options: TeacherOptions, tmp_path: Path) -> None:
    splits = make_splits(3)
    first = answers(splits, options, tmp_path)
    larger = TeacherOptions(MODEL, options.weights, 48)
    assert not torch.equal(answers(splits, larger, tmp_path), first)
    (tmp_path / ANSWERS).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="is damaged: delete it"):
        answers(splits, options, tmp_path)


def test_features_are_those_of_the_network_before_its_classifier(
    make_splits: MakeSplits, options: TeacherOptions
) -> None:
    images = make_splits(3).val
    network, preprocess = load_teacher(options, CPU)
    counts = list[int]()
    features = features_of(network, preprocess, images, CPU, counts.append)
    assert sum(counts) == len(images) == len(features)
    with torch.no_grad():
        expected = network(preprocess.normalise(images.stored(preprocess)))
        head = network.get_classifier()  # type: ignore[operator]
        torch.testing.assert_close(head(features.float()), expected, rtol=1e-2, atol=1e-2)


def test_a_probe_learns_and_is_reproducible() -> None:
    labels = torch.arange(600) % 4
    features = torch.randn(600, 10, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(4, 10)[labels]
    state = torch.random.get_rng_state()
    probes = [fit_probe(features.half(), labels, 4) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state), "torch's own random numbers are not touched"
    first, second = (probe(features) for probe in probes)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("model", "weights", "error"),
    [("no_such_net", None, InputError), (MODEL, "nowhere.pth", CheckpointError), (MODEL, "junk.pth", CheckpointError)],
)
def test_teachers_that_cannot_be_had(tmp_path: Path, model: str, weights: str | None, error: type[Exception]) -> None:
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(error):
        load_teacher(TeacherOptions(model, tmp_path / weights if weights else None), CPU)
