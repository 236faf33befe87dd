"""Fine-tuning, on images that can be learnt in a few steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.errors import InputError, TransferError
from nat.finetuning import Best, train_subnet
from nat.finetuning_recipe import FinetuneRecipe
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer

MakeSplits = Callable[[int], Splits]
HALF = (0.5, 0.5, 0.5)
CPU = torch.device("cpu")


def preprocessing(resolution: int) -> Preprocess:
    return Preprocess.for_resolution(resolution, 1.0, HALF, HALF)


def stream_of(splits: Splits, seed: int = 0) -> TrainStream:
    return TrainStream(splits.train, Batching(16, seed, flip=False, min_crop_area=0.5, mean=HALF, std=HALF))


def smallest_net(space: MobileNetSpace, seed: int = 0) -> Subnet:
    return Supernet(space, 3, generator=torch.Generator().manual_seed(seed)).extract(space.smallest())


def tuned(space: MobileNetSpace, splits: Splits, steps: int, seed: int = 0) -> Subnet:
    return train_subnet(smallest_net(space), stream_of(splits, seed), FinetuneRecipe(steps, 5e-3), CPU)


# --- fine-tuning ---------------------------------------------------------------------------------------------------


def test_finetuning_learns(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    splits = make_splits(3)
    images, labels = stream_of(splits).batch(100, 24)

    def loss(net: Subnet) -> float:
        net.train()  # few steps leave the running statistics behind
        with torch.no_grad():
            return float(F.cross_entropy(net(images), labels))

    before, after = loss(smallest_net(space)), loss(tuned(space, splits, 25))
    assert after < 0.7 * before


def test_finetuning_is_a_function_of_weights_stream_and_recipe(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    splits = make_splits(3)
    first, second, other = (tuned(space, splits, 3, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_finetuning_reports_its_steps_and_leaves_evaluation_mode(
    space: MobileNetSpace, make_splits: MakeSplits
) -> None:
    calls = list[int]()
    net = train_subnet(
        smallest_net(space), stream_of(make_splits(3)), FinetuneRecipe(3, 1e-3), CPU, lambda: calls.append(1)
    )
    assert len(calls) == 3
    assert not any(module.training for module in net.modules())


def test_finetuning_for_no_steps_changes_nothing(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    before, after = smallest_net(space).state_dict(), tuned(space, make_splits(3), 0).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_usual_recipe_is_plain_adamw(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    """What recipes have gained since leaves those without it as they were, to the last digit."""
    splits, net = make_splits(3), smallest_net(space).to(memory_format=torch.channels_last)
    stream = stream_of(splits)
    trainer = WeightTrainer(net, Schedule(5e-3, 3, 0), optimizer="adamw", weight_decay=0.02)
    net.train()
    for step in range(3):
        images, labels = stream.batch(step, net.architecture.resolution)
        F.cross_entropy(
            net(images.contiguous(memory_format=torch.channels_last)), labels, label_smoothing=0.1
        ).backward()
        trainer.update()
    found, expected = tuned(space, splits, 3).state_dict(), net.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("extra", [{"ema": 0.5}, {"mixup": 0.4}, {"drop_path": 0.5}, {"optimizer": "lamb"}])
def test_each_extra_changes_the_weights_and_stays_a_function_of_the_recipe(
    space: MobileNetSpace, make_splits: MakeSplits, extra: dict[str, Any]
) -> None:
    splits = make_splits(3)

    def weights(**extra: Any) -> dict[str, torch.Tensor]:
        net = Supernet(space, 3, generator=torch.Generator().manual_seed(0)).extract(space.largest())
        return train_subnet(net, stream_of(splits), FinetuneRecipe(3, 5e-3, **extra), CPU).state_dict()

    plain, first, second = weights(), weights(**extra), weights(**extra)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], plain[name]) for name in first)


def test_the_best_weights_are_kept_and_patience_ends_it(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    errors, kept, calls = iter([0.5, 0.3, 0.4, 0.6]), list[torch.Tensor](), list[int]()

    def error_of(network: torch.nn.Module) -> float:
        kept.append(network.get_parameter("classifier.linear.weight").detach().clone())
        return next(errors)

    best = Best(error_of, every=1, patience=2)
    net, recipe = smallest_net(space), FinetuneRecipe(9, 5e-3)
    train_subnet(net, stream_of(make_splits(3)), recipe, CPU, lambda: calls.append(1), best)
    assert len(calls) == 4 and (best.step, best.error) == (2, 0.3)
    assert torch.equal(net.get_parameter("classifier.linear.weight"), kept[1])


@pytest.mark.parametrize("wrong", [{"optimizer": "adamv"}, {"ema": 1.0}, {"mixup": -1.0}, {"randaugment": 31}])
def test_recipes_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FinetuneRecipe(3, 1e-3, **wrong)


def test_finetuning_that_diverges_says_so(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    net = smallest_net(space)
    with torch.no_grad():
        net.classifier.get_submodule("linear").get_parameter("bias").fill_(float("nan"))
    with pytest.raises(TransferError, match="diverged at step 0"):
        train_subnet(net, stream_of(make_splits(3)), FinetuneRecipe(2, 1e-3), CPU)
