from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nat.errors import InputError
from nat.supernet.calibration import raise_low_variances, rebase, recalibrate
from nat.supernet.space import MobileNetSpace
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet


@pytest.fixture
def batches() -> list[Tensor]:
    return list(torch.randn(3, 6, 3, 64, 64, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def subnet(space: MobileNetSpace, make_supernet: Callable[..., Supernet]) -> Subnet:
    return make_supernet(space).extract(space.largest())


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_statistics_are_the_means_over_the_batches(subnet: Subnet, batches: list[Tensor]) -> None:
    recalibrate(subnet, batches)
    with torch.no_grad():
        convolved = [subnet.first_conv[0](images) for images in batches]
    mean = torch.stack([x.mean((0, 2, 3)) for x in convolved]).mean(0)
    variance = torch.stack([x.transpose(0, 1).flatten(1).var(1, correction=1) for x in convolved]).mean(0)
    torch.testing.assert_close(subnet.first_conv[1].running_mean, mean)
    torch.testing.assert_close(subnet.first_conv[1].running_var, variance)


def test_each_layer_sees_what_the_layers_before_it_give_in_training(subnet: Subnet, batches: list[Tensor]) -> None:
    inputs: list[Tensor] = []
    last = norms_of(subnet)[-1]
    hook = last.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    subnet.train()
    with torch.no_grad():
        for images in batches:
            subnet(images)
    hook.remove()
    recalibrate(subnet, batches)
    expected = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    torch.testing.assert_close(last.running_mean, expected, rtol=1e-4, atol=1e-5)


def test_earlier_statistics_do_not_matter(subnet: Subnet, batches: list[Tensor]) -> None:
    recalibrate(subnet, batches)
    first = {name: tensor.clone() for name, tensor in subnet.state_dict().items()}
    for norm in norms_of(subnet):
        norm.running_mean.fill_(7)
        norm.running_var.fill_(100)
    recalibrate(subnet, iter(batches))
    for name, tensor in subnet.state_dict().items():
        assert torch.equal(tensor, first[name]), name


def test_only_statistics_change_and_training_goes_on_as_before(subnet: Subnet, batches: list[Tensor]) -> None:
    weights = {name: p.detach().clone() for name, p in subnet.named_parameters()}
    assert recalibrate(subnet.train(), batches) is subnet
    assert not any(module.training for module in subnet.modules())
    assert {norm.momentum for norm in norms_of(subnet)} == {0.1}
    assert all(torch.equal(weights[name], p) for name, p in subnet.named_parameters())
    norm = subnet.first_conv[1]
    before = norm.running_mean.clone()
    subnet.train()(batches[0]).sum().backward()  # buffers written in inference mode do not break autograd
    batch_mean = subnet.first_conv[0](batches[0]).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * batch_mean)


def test_momentum_is_put_back_after_a_failure(subnet: Subnet) -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        recalibrate(subnet, [torch.zeros(1, 3, 16, 16)])
    assert {norm.momentum for norm in norms_of(subnet)} == {0.1}
    assert not any(norm.training for norm in norms_of(subnet))


def test_no_batches_are_refused_and_leave_the_statistics(subnet: Subnet) -> None:
    before = subnet.first_conv[1].running_mean.clone()
    with pytest.raises(InputError, match="at least one batch"):
        recalibrate(subnet, [])
    assert torch.equal(subnet.first_conv[1].running_mean, before)


# --- channels that are silent on training images --------------------------------------------------------------------


def test_a_channel_that_wakes_up_does_not_decide_everything(subnet: Subnet, batches: list[Tensor]) -> None:
    conv, norm = subnet.first_conv.get_submodule("conv"), subnet.first_conv.get_submodule("bn")
    with torch.no_grad():
        conv.weight[0] = 0  # silent on all training images
        norm.weight.fill_(1), norm.bias.fill_(0)
        recalibrate(subnet, batches)
        conv.weight[0] = conv.weight[1]  # and then as loud as another one
        quiet, loud = norm(conv(batches[0]))[:, :2].std((0, 2, 3))
    assert norm.running_var[0] == 0.01 * norm.running_var.median()
    assert quiet / loud < 11 * (norm.running_var[1] / norm.running_var.median()).sqrt()


def test_variances_of_channels_that_are_awake_stay(subnet: Subnet, batches: list[Tensor]) -> None:
    norm = subnet.first_conv.get_submodule("bn")
    norm.running_var.copy_(torch.linspace(0.02, 2, len(norm.running_var)))
    before = norm.running_var.clone()
    assert raise_low_variances(subnet) is subnet
    assert torch.equal(norm.running_var, before)


# --- other images, the same function ---------------------------------------------------------------------------------


@pytest.fixture
def single(space: MobileNetSpace, make_supernet: Callable[..., Supernet], batches: list[Tensor]) -> Supernet:
    """Its statistics are those of its largest subnet on some images."""
    supernet = make_supernet(space)
    supernet.train()
    for images in batches:
        supernet(images, space.largest())
    return supernet.eval()


@pytest.fixture
def others() -> list[Tensor]:
    """Darker images of more contrast, of another size."""
    return list(3 * torch.randn(2, 8, 3, 48, 48, generator=torch.Generator().manual_seed(1)) - 1)


def test_rebasing_keeps_the_largest_subnets_function(
    single: Supernet, space: MobileNetSpace, batches: list[Tensor], others: list[Tensor]
) -> None:
    with torch.no_grad():
        expected = single(batches[0], space.largest())
        rebase(single, others)
        torch.testing.assert_close(single(batches[0], space.largest()), expected, rtol=1e-4, atol=1e-4)


def test_after_rebasing_recalibration_on_such_images_changes_little(
    single: Supernet, space: MobileNetSpace, others: list[Tensor]
) -> None:
    images = torch.cat(others)

    def change() -> float:
        with torch.no_grad():
            before = single(images, space.largest())
            after = recalibrate(single.extract(space.largest()), others)(images)
        return float((after - before).abs().max())

    unsettled = change()
    rebase(single, others)
    assert change() < 0.1 * unsettled


def test_statistics_after_rebasing_are_those_of_the_images(single: Supernet, others: list[Tensor]) -> None:
    rebase(single, others)
    stem = single.first_conv.get_submodule("conv")
    with torch.no_grad():
        convolved = [stem(images) for images in others]
    norm = single.first_conv.get_submodule("bn")
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in convolved]).mean(0))


def test_rebasing_on_nothing_is_an_error(single: Supernet) -> None:
    with pytest.raises(InputError, match="at least one batch"):
        rebase(single, [])
