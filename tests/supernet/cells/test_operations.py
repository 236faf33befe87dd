"""Operations keep channels, divide sizes, and have the parameters that papers' tables imply."""

import pytest
import torch
from torch import nn

from nat.errors import InputError
from nat.supernet.cells.operations import (
    DARTS,
    NAS_BENCH_201,
    NASP_NORMAL,
    NASP_REDUCTION,
    OPERATIONS,
    SEVEN,
    TWELVE,
    operation,
)

C = 6


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_stay_and_sizes_are_divided(name: str, size: int, stride: int) -> None:
    out = operation(name, C, stride)(torch.randn(2, C, size, size + 2))
    assert out.shape == (2, C, -(-size // stride), -(-(size + 2) // stride))


@pytest.mark.parametrize("name", OPERATIONS)
def test_inputs_are_left_alone(name: str) -> None:
    images = torch.randn(2, C, 6, 6)
    before = images.clone()
    operation(name, C, 1, affine=False, pool_norm=True)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("name", "stride", "weights"),
    [
        ("none", 1, 0),
        ("skip_connect", 1, 0),
        ("skip_connect", 2, C * C),
        ("avg_pool_3x3", 1, 0),
        ("max_pool_5x5", 2, 0),
        ("sep_conv_3x3", 1, 2 * (9 * C + C * C)),
        ("sep_conv_7x7", 2, 2 * (49 * C + C * C)),
        ("dil_conv_5x5", 1, 25 * C + C * C),
        ("conv_1x1", 1, C * C),
        ("conv_3x3", 1, 9 * C * C),
        ("conv_3x1_1x3", 2, 6 * C * C),
        ("conv_7x1_1x7", 1, 14 * C * C),
        ("nor_conv_3x3", 1, 9 * C * C),
    ],
)
def test_numbers_of_weights(name: str, stride: int, weights: int) -> None:
    assert sum(p.numel() for p in operation(name, C, stride, affine=False).parameters()) == weights
    norms = [m for m in operation(name, C, stride).modules() if isinstance(m, nn.BatchNorm2d)]
    affine = sum(p.numel() for p in operation(name, C, stride).parameters())
    assert affine == weights + 2 * C * len(norms)


def test_norms_of_search_networks() -> None:
    def norms(name: str, **options: bool) -> list[nn.BatchNorm2d]:
        return [m for m in operation(name, C, 1, **options).modules() if isinstance(m, nn.BatchNorm2d)]

    assert not norms("max_pool_3x3")
    assert [n.affine for n in norms("max_pool_3x3", pool_norm=True)] == [False]
    assert [n.affine for n in norms("sep_conv_3x3", affine=False)] == [False, False]
    assert all(n.running_mean is None for n in norms("dil_conv_3x3", tracked=False))


def test_average_pools_count_no_padding() -> None:
    assert torch.equal(operation("avg_pool_3x3", 1, 1)(torch.ones(1, 1, 3, 3)), torch.ones(1, 1, 3, 3))


def test_a_skip_at_stride_two_sees_every_second_diagonal() -> None:
    reduce = operation("skip_connect", 2, 2, affine=False).eval()
    for weight in reduce.parameters():
        nn.init.ones_(weight)
    images = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 2, 4, 4)
    even, odd = reduce(images)[0]
    assert torch.allclose(even, 2 * torch.tensor([[0.0, 2], [8, 10]]), rtol=1e-4)
    assert torch.allclose(odd, 2 * torch.tensor([[5.0, 7], [13, 15]]), rtol=1e-4)


def test_lists_of_candidates() -> None:
    counts = [len(set(ops)) for ops in (DARTS, SEVEN, NASP_NORMAL, NASP_REDUCTION, TWELVE, NAS_BENCH_201)]
    assert counts == [8, 7, 8, 5, 12, 5]
    assert {*DARTS, *TWELVE, *NAS_BENCH_201} <= set(OPERATIONS)


def test_unknown_names_are_told() -> None:
    with pytest.raises(InputError, match=r"unknown operation 'sep_conv3x3'. Did you mean 'sep_conv_3x3'\?"):
        operation("sep_conv3x3", 4, 1)
