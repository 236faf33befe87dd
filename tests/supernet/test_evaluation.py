from collections.abc import Callable

import pytest
import torch
from torch import nn

from nat.supernet.evaluation import batched, calibration_error, folded, predict, recalls, top1_accuracy
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet


@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
def test_predictions_do_not_depend_on_the_batches(
    space: MobileNetSpace, make_supernet: Callable[..., Supernet], batch_size: int
) -> None:
    subnet = make_supernet(space).extract(space.smallest())
    images = torch.randint(256, (9, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logits = predict(subnet, images, lambda batch: batch.float() / 255 - 0.5, batch_size)
    with torch.no_grad():
        torch.testing.assert_close(logits, subnet(images.float() / 255 - 0.5), rtol=1e-4, atol=1e-5)


def test_batches_are_consecutive_and_complete() -> None:
    images = torch.arange(7)
    assert [batch.tolist() for batch in batched(images, 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_top1_accuracy_is_a_fraction_of_the_rows() -> None:
    logits = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    assert top1_accuracy(logits, torch.tensor([1, 0, 0, 1])) == 0.5


@pytest.mark.parametrize("resolution", [24, 40])
def test_folded_networks_answer_as_before(
    any_space: MobileNetSpace, make_supernet: Callable[..., Supernet], resolution: int
) -> None:
    supernet = make_supernet(any_space)
    images = torch.randn(3, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))
    for architecture in (any_space.largest(), any_space.smallest()):
        subnet = supernet.extract(architecture, fast=True)
        with torch.no_grad():
            before = subnet(images)
            fast = folded(subnet)
            assert not [module for module in fast.modules() if isinstance(module, nn.BatchNorm2d)]
            torch.testing.assert_close(fast(images), before, rtol=1e-4, atol=1e-5)


def test_recalls_of_absent_classes_are_not_numbers() -> None:
    logits = torch.eye(4)[[0, 1, 1, 2]]
    found = recalls(logits, torch.tensor([0, 0, 1, 2]))
    assert found[:3].tolist() == [0.5, 1.0, 1.0] and found[3].isnan()


def test_calibration_error_by_hand() -> None:
    sure = torch.tensor([[20.0, 0.0]] * 4)  # probability 1
    assert calibration_error(sure, torch.tensor([0, 0, 0, 0])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.5, abs=1e-6)
    mixed = torch.cat([sure, torch.tensor([[0.7, 0.3]] * 4).log()])  # the bins of 1.0 and of 0.7
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 1, 1])
    assert calibration_error(mixed, labels) == pytest.approx((4 * 0.25 + 4 * 0.2) / 8, abs=1e-6)
