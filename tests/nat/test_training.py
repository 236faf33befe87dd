"""Fine-tuning, the first classifier, and pretraining, on images that can be learnt in a few steps."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from nat.classifier import fit_classifier
from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.datasets.stream import TrainStream
from nat.errors import RunError, TransferError
from nat.evaluation import SubnetEvaluator
from nat.finetuning import FinetuneRecipe, train_subnet
from nat.pretrained.store import load_supernet_file
from nat.pretraining import STATE, Pretraining, PretrainRecipe, pretrain_supernet
from nat.progress import Silence
from nat.supernet.space import MobileNetV3Space
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet

MakeSplits = Callable[[int], Splits]
HALF = (0.5, 0.5, 0.5)
CPU = torch.device("cpu")
RECIPE = PretrainRecipe(epochs=1, batch_size=8, resolutions=(24, 32), save_every=2, warmup_steps=1, seed=5)


class Stop(Exception):
    """Stands for any interruption."""


def preprocessing(resolution: int) -> Preprocess:
    return Preprocess.for_resolution(resolution, 1.0, HALF, HALF)


def stream_of(splits: Splits, seed: int = 0) -> TrainStream:
    return TrainStream(splits.train, 16, seed, flip=False, min_crop_area=0.5, mean=HALF, std=HALF)


def smallest_net(space: MobileNetV3Space, seed: int = 0) -> Subnet:
    return Supernet(space, 3, generator=torch.Generator().manual_seed(seed)).extract(space.smallest())


def tuned(space: MobileNetV3Space, splits: Splits, steps: int, seed: int = 0) -> Subnet:
    return train_subnet(smallest_net(space), stream_of(splits, seed), FinetuneRecipe(steps, 5e-3), CPU)


# --- fine-tuning ---------------------------------------------------------------------------------------------------


def test_finetuning_learns(space: MobileNetV3Space, make_splits: MakeSplits) -> None:
    splits = make_splits(3)
    images, labels = stream_of(splits).batch(100, 24)

    def loss(net: Subnet) -> float:
        net.train()  # few steps leave the running statistics behind
        with torch.no_grad():
            return float(F.cross_entropy(net(images), labels))

    before, after = loss(smallest_net(space)), loss(tuned(space, splits, 25))
    assert after < 0.7 * before


def test_finetuning_is_a_function_of_weights_stream_and_recipe(
    space: MobileNetV3Space, make_splits: MakeSplits
) -> None:
    splits = make_splits(3)
    first, second, other = (tuned(space, splits, 3, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_finetuning_reports_its_steps_and_leaves_evaluation_mode(
    space: MobileNetV3Space, make_splits: MakeSplits
) -> None:
    calls = list[int]()
    net = train_subnet(
        smallest_net(space), stream_of(make_splits(3)), FinetuneRecipe(3, 1e-3), CPU, lambda: calls.append(1)
    )
    assert len(calls) == 3
    assert not any(module.training for module in net.modules())


def test_finetuning_for_no_steps_changes_nothing(space: MobileNetV3Space, make_splits: MakeSplits) -> None:
    before, after = smallest_net(space).state_dict(), tuned(space, make_splits(3), 0).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_finetuning_that_diverges_says_so(space: MobileNetV3Space, make_splits: MakeSplits) -> None:
    net = smallest_net(space)
    with torch.no_grad():
        net.classifier.get_submodule("linear").get_parameter("bias").fill_(float("nan"))
    with pytest.raises(TransferError, match="diverged at step 0"):
        train_subnet(net, stream_of(make_splits(3)), FinetuneRecipe(2, 1e-3), CPU)


# --- the first classifier ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_the_classifier_is_the_logistic_regression_on_the_features(
    space: MobileNetV3Space, make_splits: MakeSplits, classes: int
) -> None:
    splits = make_splits(classes)
    supernet = Supernet(space, classes, generator=torch.Generator().manual_seed(0)).eval()
    before = copy.deepcopy(supernet.state_dict())
    smallest, images = space.smallest(), splits.train  # random features tell these apart, but do not generalise
    evaluator = SubnetEvaluator(images, images, preprocessing, calibration_images=48)
    chance = 1 - evaluator.top1_error(supernet, smallest)
    fit_classifier(supernet, smallest, images, evaluator, seed=0)
    accuracy = 1 - evaluator.top1_error(supernet, smallest)

    net = evaluator.calibrated(supernet, smallest)
    classifier, net.classifier = net.classifier, torch.nn.Sequential()
    preprocess = preprocessing(smallest.resolution)

    def features(split: ImageSet) -> np.ndarray:
        with torch.no_grad():
            return net(preprocess.normalise(split.stored(preprocess))).double().numpy()

    train, val = features(images), features(splits.val)
    mean, std = train.mean(axis=0), train.std() + 1e-6
    labels = images.labels.numpy()
    model = LogisticRegression(C=0.1, max_iter=100).fit((train - mean) / std, labels)
    for split in (train, val):
        with torch.no_grad():
            ours = classifier(torch.from_numpy(split).float()).softmax(dim=1).numpy()
        assert ours == pytest.approx(model.predict_proba((split - mean) / std), abs=1e-3)
    assert accuracy == pytest.approx(model.score((train - mean) / std, labels))
    assert accuracy > 0.95 and chance < 0.8

    after = supernet.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"classifier.linear.weight", "classifier.linear.bias"}, "nothing else moves"


# --- pretraining ---------------------------------------------------------------------------------------------------


def same(first: Supernet, second: Supernet) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def begin(space: MobileNetV3Space, splits: Splits, folder: Path, recipe: PretrainRecipe = RECIPE) -> Pretraining:
    folder.mkdir(exist_ok=True)
    return Pretraining(splits, space.with_resolutions(recipe.resolutions), recipe, folder)


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_a_training_that_is_stopped_ends_with_the_same_weights(
    space: MobileNetV3Space, make_splits: MakeSplits, tmp_path: Path, at: int
) -> None:
    splits = make_splits(3)
    whole = begin(space, splits, tmp_path / "whole")
    assert whole.steps == 6
    losses = list[float]()
    expected = whole.run(lambda step, steps, loss: losses.append(loss))

    def stop(step: int, steps: int, loss: float) -> None:
        assert (steps, loss) == (6, losses[step - 1])
        if step == at:
            raise Stop

    stopped = begin(space, splits, tmp_path / "stopped")
    with pytest.raises(Stop):
        stopped.run(stop)
    again = begin(space, splits, tmp_path / "stopped")
    assert again.trainer.step_count == at // 2 * 2, "it goes on from the last checkpoint"
    steps = list[int]()
    assert same(again.run(lambda step, steps_, loss: steps.append(step)), expected)
    assert steps == list(range(at // 2 * 2 + 1, 7))
    assert not same(begin(space, splits, tmp_path / "new").supernet, expected), "the training changes the weights"


def test_a_training_of_another_length_is_refused(
    space: MobileNetV3Space, make_splits: MakeSplits, tmp_path: Path
) -> None:
    splits = make_splits(3)
    begin(space, splits, tmp_path).run()
    with pytest.raises(RunError, match="6 steps, this one has 12"):
        begin(space, splits, tmp_path, PretrainRecipe(epochs=2, batch_size=8, resolutions=(24, 32), seed=5))


def test_a_training_that_diverges_says_so(space: MobileNetV3Space, make_splits: MakeSplits, tmp_path: Path) -> None:
    training = begin(space, make_splits(3), tmp_path)
    with torch.no_grad():
        training.supernet.classifier.get_submodule("linear").get_parameter("bias").fill_(float("nan"))
    with pytest.raises(TransferError, match="diverged at step 0"):
        training.run()
    assert not (tmp_path / STATE).exists()


def test_pretraining_writes_a_supernet_that_loads(
    space: MobileNetV3Space, make_splits: MakeSplits, tmp_path: Path
) -> None:
    path = pretrain_supernet(make_splits(3), space, RECIPE, tmp_path / "deep" / "out", "mine", Silence())
    supernet, card = load_supernet_file(path)
    assert (path.name, card.name, card.num_classes) == ("mine.safetensors", "mine", 3)
    assert card.space == space.with_resolutions((24, 32))
    assert card.recipe["seed"] == 5 and "coloured" not in card.name and "48 images" in card.trained_on
    assert all(tensor.isfinite().all() for tensor in supernet.state_dict().values())
    stamp = path.parent.joinpath(STATE).stat().st_mtime_ns
    again = pretrain_supernet(make_splits(3), space, RECIPE, tmp_path / "deep" / "out", "mine", Silence())
    assert same(load_supernet_file(again)[0], supernet)
    assert path.parent.joinpath(STATE).stat().st_mtime_ns == stamp, "a finished training is not trained again"


def test_resolutions_grow_from_the_smaller_to_all() -> None:
    recipe = PretrainRecipe(resolutions=(24, 32, 40, 48))

    def drawn(step: int) -> set[int]:
        return {recipe.resolution(step, 100, np.random.default_rng(seed)) for seed in range(200)}

    assert drawn(0) == {24, 32}
    assert drawn(30) == {24, 32, 40}
    assert drawn(60) == drawn(99) == {24, 32, 40, 48}
    assert PretrainRecipe(resolutions=(24,)).resolution(0, 100, np.random.default_rng(0)) == 24
