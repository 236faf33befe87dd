"""Fine-tuning, on images that can be learnt in a few steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm import create_model
from torch.nn import functional as F

from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.distillation import Teacher
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


EXTRAS: list[dict[str, Any]] = [
    {"ema": 0.5},
    {"mixup": 0.4},
    {"cutmix": 1.0},
    {"mixup": 0.4, "cutmix": 1.0},
    {"drop_path": 0.5},
    {"layer_decay": 0.5},
    {"optimizer": "lamb"},
]


@pytest.mark.parametrize("extra", EXTRAS)
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


WRONG = [
    {"ema": 1.0},
    {"mixup": -1.0},
    {"cutmix": float("inf")},
    {"randaugment": 31},
    {"layer_decay": 0.0},
    {"layer_decay": 1.5},
    {"distill": 1.1},
    {"distill": float("nan")},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_recipes_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"expected {name.replace('_', ' ')} .*, got {value}"):
        FinetuneRecipe(3, 1e-3, **wrong)  # type: ignore[arg-type]


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'adam'"):
        FinetuneRecipe(3, 1e-3, optimizer="adamv")


def test_a_recipe_says_what_is_switched_on() -> None:
    plain = FinetuneRecipe(3, 1e-3)
    full = FinetuneRecipe(3, 1e-3, cutmix=1.0, layer_decay=0.85, distill=0.5)
    assert full.in_words() == f"{plain.in_words()}, cutmix 1, layer decay 0.85, distill 0.5"
    assert FinetuneRecipe(**{**full.to_json(), "class_weights": ()}) == full


def test_finetuning_that_diverges_says_so(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    net = smallest_net(space)
    with torch.no_grad():
        net.classifier.get_submodule("linear").get_parameter("bias").fill_(float("nan"))
    with pytest.raises(TransferError, match="diverged at step 0"):
        train_subnet(net, stream_of(make_splits(3)), FinetuneRecipe(2, 1e-3), CPU)


# --- a teacher -----------------------------------------------------------------------------------------------------


def teacher_of(space: MobileNetSpace, splits: Splits, resolution: int = 32) -> Teacher:
    network = Supernet(space, 3, generator=torch.Generator().manual_seed(5)).extract(space.largest())
    network = train_subnet(network, stream_of(splits), FinetuneRecipe(12, 5e-3), CPU)
    return Teacher(network, resolution, stream_of(splits), "large")


@pytest.fixture(scope="module")
def teacher(space: MobileNetSpace, make_splits: MakeSplits) -> Teacher:
    return teacher_of(space, make_splits(3))


def test_the_loss_has_its_share_of_the_teachers_answers_to_the_same_crops(
    space: MobileNetSpace, make_splits: MakeSplits, teacher: Teacher
) -> None:
    net, stream = smallest_net(space).to(memory_format=torch.channels_last), stream_of(make_splits(3))
    trainer = WeightTrainer(net, Schedule(5e-3, 2, 0))
    net.train()
    for step in range(2):
        images, labels = stream.batch(step, 24)
        larger = stream.batch(step, 32)[0].contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            taught = teacher.network(larger).softmax(dim=1)
        logits = net(images.contiguous(memory_format=torch.channels_last))
        loss = 0.75 * F.cross_entropy(logits, labels, label_smoothing=0.1) + 0.25 * F.cross_entropy(logits, taught)
        loss.backward()
        trainer.update()
    recipe = FinetuneRecipe(2, 5e-3, distill=0.25)
    found = train_subnet(smallest_net(space), stream, recipe, CPU, teacher=teacher).state_dict()
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())
    assert not teacher.network.training


@pytest.mark.parametrize("extra", [{}, {"mixup": 0.4, "cutmix": 1.0}])
def test_with_the_teacher_alone_labels_mean_nothing(
    space: MobileNetSpace, make_splits: MakeSplits, teacher: Teacher, extra: dict[str, float]
) -> None:
    splits = make_splits(3)
    images = splits.train
    swapped = TrainStream(ImageSet(images.images, (images.labels + 1) % 3), Batching(16, 0, False, 0.5, HALF, HALF))

    def weights(stream: TrainStream, share: float) -> torch.Tensor:
        recipe = FinetuneRecipe(3, 5e-3, distill=share, **extra)  # type: ignore[arg-type]
        net = train_subnet(smallest_net(space), stream, recipe, CPU, teacher=teacher)
        return net.get_parameter("classifier.linear.weight")

    assert torch.equal(weights(swapped, 1.0), weights(stream_of(splits), 1.0))
    assert not torch.equal(weights(swapped, 0.5), weights(stream_of(splits), 0.5))


def test_a_recipe_with_a_teacher_needs_one(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    with pytest.raises(InputError, match="expected a teacher for distill"):
        train_subnet(smallest_net(space), stream_of(make_splits(3)), FinetuneRecipe(2, 1e-3, distill=0.5), CPU)


# --- layer-wise rates ----------------------------------------------------------------------------------------------


def rates_of(network: torch.nn.Module, decay: float) -> dict[str, float]:
    """Rates of the first step by parameter, as shares of the schedule's."""
    trainer = WeightTrainer(network, Schedule(0.5, 4), layer_decay=decay)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.update()
    rates = {parameter: group["lr"] / 0.5 for group in trainer.optimizer.param_groups for parameter in group["params"]}
    return {name: rates[parameter] for name, parameter in network.named_parameters()}


def test_rates_of_a_subnet_fall_block_by_block_towards_the_stem(space: MobileNetSpace) -> None:
    net = smallest_net(space)
    blocks, rates = len(net.blocks) - 1, rates_of(net, 0.5)
    for name, rate in rates.items():
        parts = name.split(".")
        if parts[0] == "first_conv" or parts[:2] == ["blocks", "0"]:
            assert rate == pytest.approx(0.5 ** (blocks + 1)), name
        elif parts[0] == "blocks":
            assert rate == pytest.approx(0.5 ** (blocks + 1 - int(parts[1]))), name
        else:
            assert rate == 1, name
    assert set(rates_of(net, 1.0).values()) == {1}


def test_rates_of_a_network_of_timm_fall_towards_the_stem() -> None:
    rates = rates_of(create_model("mobilenetv3_small_050", num_classes=3), 0.5)
    stem, middle, head = (rates[f"{name}.weight"] for name in ("conv_stem", "blocks.2.0.conv_pw", "classifier"))
    assert stem < middle < head == 1
    assert stem == min(rates.values()) and len(set(rates.values())) > 8


def test_a_small_decay_leaves_the_stem_nearly_as_it_was(space: MobileNetSpace, make_splits: MakeSplits) -> None:
    def moved(decay: float) -> dict[str, float]:
        before = smallest_net(space).state_dict()
        recipe = FinetuneRecipe(3, 5e-3, layer_decay=decay)
        after = train_subnet(smallest_net(space), stream_of(make_splits(3)), recipe, CPU).state_dict()
        names = ("first_conv.conv.weight", "classifier.linear.weight")
        return {name: float((after[name] - before[name]).norm()) for name in names}

    usual, layered = moved(1.0), moved(0.3)
    assert layered["first_conv.conv.weight"] < 0.05 * usual["first_conv.conv.weight"]
    assert layered["classifier.linear.weight"] > 0.5 * usual["classifier.linear.weight"]
