"""Networks of timm as controls: which, with which weights, and how they are made ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm import create_model, is_model, is_model_pretrained

from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.errors import CheckpointError, InputError
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.finetuning import FinetuneRecipe
from nat.progress import Silence
from nat.supernet.evaluation import predict, top1_accuracy
from nat.timm_controls import (
    CANDIDATES,
    PRETRAINED,
    check_named,
    make_ready,
    timm_control,
    timm_costs,
    timm_like,
    with_weights,
)
from nat.tuning import Tuner

MODEL, SIZE = "mobilenetv3_small_050", 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in timm's format, of a network of five classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(create_model(MODEL, pretrained=False, num_classes=5).state_dict(), path)
    return path


def test_candidates_are_models_of_timm_and_have_weights_where_they_need_them() -> None:
    assert all(is_model(name) for name in CANDIDATES)
    assert all(is_model_pretrained(name) for name in PRETRAINED)


def test_costs_of_timm_networks_are_those_of_convolutions_and_linear_layers() -> None:
    macs, params = timm_costs("lcnet_050", 32, 3)
    more, heavier = timm_costs("lcnet_050", 32, 13)
    assert (more - macs, heavier - params) == (10 * 1280, 10 * 1281), "ten more classes of 1,280 features"


def test_a_network_of_timm_is_chosen_by_its_multiply_adds() -> None:
    macs, _ = timm_costs("mobilenetv3_small_100", 32, 3)
    assert timm_like(macs, 32, 3) == "mobilenetv3_small_100"
    assert timm_like(10**12, 32, 3, most=macs) != timm_like(10**12, 32, 3)
    assert timm_costs(timm_like(10**12, 32, 3, most=macs), 32, 3)[0] <= macs
    cheapest = timm_like(10**12, 32, 3, most=1)
    assert timm_costs(cheapest, 32, 3)[0] == min(timm_costs(name, 32, 3)[0] for name in CANDIDATES)


def test_weights_of_a_file_with_a_fresh_classifier_and_its_own_normalisation(weights: Path) -> None:
    found, again = (with_weights(MODEL, weights, 3, seed=0) for _ in range(2))
    kept, fresh = found.network.state_dict(), again.network.state_dict()
    assert found.name == f"pretrained {MODEL} of timm" and found.weights == "weights.safetensors"
    assert found.mean == (0.485, 0.456, 0.406), "as timm says of the model"
    assert kept["classifier.weight"].shape[0] == 3
    assert torch.equal(kept["classifier.weight"], fresh["classifier.weight"]), "of one seed"
    given = load_file(weights)
    assert all(torch.equal(kept[key], value) for key, value in given.items() if "classifier" not in key)


def test_what_cannot_be_a_control_is_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_named(MODEL, weights, 3, (SIZE,))
    with pytest.raises(InputError, match="expected the name of a timm model, got 'mobilnet'"):
        check_named("mobilnet", weights, 3, (SIZE,))
    with pytest.raises(CheckpointError, match="does not hold the weights of timm's lcnet_050"):
        check_named("lcnet_050", weights, 3, (SIZE,))
    save_file(create_model("vit_tiny_patch16_224", pretrained=False).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(InputError, match="takes images of 32 px"):
        check_named("vit_tiny_patch16_224", tmp_path / "vit.safetensors", 3, (SIZE,))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect")

    monkeypatch.setattr("nat.pretrained.timm_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("nat.pretrained.timm_hub.get_hf_file_metadata", refuse)
    with pytest.raises(InputError, match=f"couldn't connect.*--control-weights FILE --control-model {MODEL}"):
        check_named(MODEL, None, 3, (SIZE,))


def test_a_control_is_made_ready_and_written(
    weights: Path, make_splits: Callable[[int], Splits], tmp_path: Path
) -> None:
    splits, seed = make_splits(3), 0
    found = with_weights(MODEL, weights, 3, seed)
    preprocessing = preprocessing_of(1.0, found)
    stream = TrainStream(splits.train, Batching.suited(splits.card, 8, seed, found.mean, found.std))
    tuner = Tuner(
        splits, stream, FinetuneRecipe(0, 1e-3), preprocessing, {"name": "colours"}, torch.device("cpu"), Silence()
    )
    evaluator = SubnetEvaluator(splits.train, splits.val, preprocessing)
    make_ready(found, SIZE, evaluator, tuner, seed)
    preprocess = preprocessing(SIZE)
    logits = predict(found.network, splits.train.stored(preprocess), preprocess.normalise)
    assert top1_accuracy(logits, splits.train.labels) > 0.9, "a classifier fitted on colours, of random features"

    control = timm_control(found, SIZE, tuner, tmp_path / "control")
    assert (control.name, control.kind, control.architecture) == (found.name, "timm", None)
    told = control.metrics
    assert (told["timm"], told["weights"], told["finetuned"]) == (MODEL, "weights.safetensors", False)
    assert (told["macs"], told["params"]) == timm_costs(MODEL, SIZE, 3)
    assert told["val"]["top1"] > 0.9 and "id" not in told
