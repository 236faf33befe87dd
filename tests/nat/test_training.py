"""Fine-tuning, on images that can be learnt in a few steps."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.errors import TransferError
from nat.finetuning import FinetuneRecipe, train_subnet
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet

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


def test_finetuning_that_diverges_says_so(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    net = smallest_net(space)
    with torch.no_grad():
        net.classifier.get_submodule("linear").get_parameter("bias").fill_(float("nan"))
    with pytest.raises(TransferError, match="diverged at step 0"):
        train_subnet(net, stream_of(make_splits(3)), FinetuneRecipe(2, 1e-3), CPU)
