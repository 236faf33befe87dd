import pytest
import torch
from torch import nn

from nat.supernet.layers import FastConv2d, cropped_kernel

SIZES = [(1, 1), (2, 2), (3, 1), (1, 3), (3, 3), (4, 2), (5, 7), (9, 9)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_cropped_convolution_is_the_plain_one_forward_and_backward(
    size: tuple[int, int], kernel: int, stride: int, bias: bool
) -> None:
    torch.manual_seed(0)
    cropped, plain = (make(6, 6, kernel, stride, kernel // 2, groups=6, bias=bias) for make in (FastConv2d, nn.Conv2d))
    plain.load_state_dict(cropped.state_dict())
    x = torch.randn(2, 6, *size)
    results = []
    for conv in (cropped, plain):
        images = x.clone().requires_grad_()
        out = conv(images)
        (out * torch.arange(out.numel()).reshape(out.shape)).sum().backward()
        results.append((out.detach(), images.grad, conv.weight.grad))
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * (1 + float(theirs.abs().max())))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (1, 1)), ((2, 2), (3, 3)), ((3, 1), (5, 1)), ((4, 4), (7, 7)), ((4, 3), (7, 5)), ((30, 30), (7, 7))],
)
def test_a_seven_by_seven_kernel_keeps_the_taps_that_can_meet_the_input(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    weight = torch.randn(4, 1, 7, 7)
    kept = cropped_kernel(weight, *size)
    assert kept.shape[2:] == expected
    top, left = ((7 - side) // 2 for side in expected)
    assert torch.equal(kept, weight[:, :, top : 7 - top, left : 7 - left])


@pytest.mark.parametrize("size", [(2, 2), (4, 3), (6, 6)])
def test_networks_train_after_a_first_call_in_inference_mode(size: tuple[int, int]) -> None:
    # nothing that a call without gradients prepares may be unfit for a later one with gradients
    conv = FastConv2d(3, 3, 5, 1, 2, groups=3, bias=False)
    with torch.inference_mode():
        conv(torch.randn(1, 3, *size))
    conv(torch.randn(1, 3, *size)).sum().backward()
    assert conv.weight.grad is not None and conv.weight.grad.any()


def test_nothing_of_an_export_is_left_for_later_calls() -> None:
    conv = FastConv2d(3, 3, 7, 1, 3, groups=3, bias=False)
    images = torch.randn(1, 3, 3, 4)
    exported = torch.export.export(conv, (images,)).module()
    torch.testing.assert_close(exported(images), conv(images))
