from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nat.errors import InputError
from nat.supernet.elastic import ElasticInvertedResidual
from nat.supernet.growth import counterpart, grow, grown_space, shrink_space
from nat.supernet.importance import contributions, sort_channels
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import Conventions, Head, Layer, Stage, Structure
from nat.supernet.supernet import Supernet

IMAGES = torch.randn(2, 3, 41, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
HEADS = {
    "two convolutions": Head(expand=24, mix=32, bias=True, activation="h_swish"),
    "one convolution": Head(expand=None, mix=32, bias=False, activation="relu6"),
}


def structure_of(head: str, *, same_padding: bool = False) -> Structure:
    """Two stages with choices of their own, one with squeeze-and-excite, expanded less than NAT's 3 here and there."""
    return Structure(
        "source",
        stem=8,
        stem_activation="h_swish",
        fixed=8,
        fixed_activation="relu",
        stages=(
            Stage(16, 2, True, "relu", layers=(Layer(5, 32), Layer(3, 40), Layer(5, 48))),
            Stage(24, 2, False, "h_swish", layers=(Layer(3, 96), Layer(3, 56))),
        ),
        head=HEADS[head],
        conventions=Conventions(same_padding, 1e-3),
    )


@pytest.fixture(params=HEADS)
def source(request: pytest.FixtureRequest, make_supernet) -> Supernet:  # type: ignore[no-untyped-def]
    space = shrink_space(structure_of(request.param, same_padding=request.param == "two convolutions"))
    supernet: Supernet = make_supernet(space).double()
    for block in list(supernet.blocks)[1:]:  # a network that was not elastic: smaller kernels are the centres
        for name, parameter in block.named_parameters():
            if name.endswith("_matrix"):
                parameter.data = torch.eye(len(parameter), dtype=torch.float64)
    return supernet


def answers(supernet: Supernet, net) -> Tensor:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        return supernet(IMAGES, net)


def test_a_shrinking_space_holds_the_source_and_nothing_larger(source: Supernet) -> None:
    space, largest = source.space, source.space.largest()
    assert (space.kernels, space.expands, space.depths) == ((3, 5), (0.5, 0.75, 1), (2, 3))
    assert largest.depths == (3, 2)
    layers = [layer for stage in space.structure.stages for layer in stage.layers or ()]
    found = [(kernel, space.slots[i].mid_channels(expand)) for i, kernel, expand in space.active_slots(largest)]
    assert found == [(layer.kernel, layer.expanded) for layer in layers]
    limits = {index: (kernel, expanded) for index, (kernel, expanded) in enumerate(found)}
    for net in space.decode(sample_uniform(space, 50, np.random.default_rng(0))):
        for index, kernel, expand in space.active_slots(net):
            assert kernel <= limits[index][0]
            assert space.slots[index].mid_channels(expand) <= limits[index][1]


def test_a_grown_supernet_has_its_sources_function(source: Supernet) -> None:
    space = grown_space(source.space.structure)
    grown = grow(source, space, torch.Generator().manual_seed(1)).double()
    own = source.space.largest()
    expected = answers(source, own)
    least = counterpart(own, source.space, space)
    wider = replace(least, kernels=(7,) * 5)
    largest = space.largest()
    assert largest.depths == (4, 4)
    for net in (least, wider, largest):
        torch.testing.assert_close(answers(grown, net), expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(answers(grown, space.smallest()), expected, atol=1e-2)


def test_what_was_added_can_learn(source: Supernet) -> None:
    space = grown_space(source.space.structure)
    grown = grow(source, space, torch.Generator().manual_seed(1)).double()
    grown(IMAGES, space.largest()).square().sum().backward()
    learning = 0
    for place, block in enumerate(list(grown.blocks)[1:]):
        project = block.get_parameter("conv.point_linear.conv.conv.weight")
        gain = block.get_parameter("conv.point_linear.bn.bn.weight")
        assert gain.grad is not None and gain.grad.abs().max() > 0, place
        silent = project.abs().sum((0, 2, 3)) == 0  # new channels of the source's layers: no way out yet
        assert project.grad is not None
        learning += int((project.grad[:, silent].abs().sum((0, 2, 3)) > 0).sum())
    assert learning > 20


def test_growing_does_not_touch_the_source(source: Supernet) -> None:
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    grow(source, grown_space(source.space.structure))
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items())


def test_slices_of_a_grown_supernet_keep_the_strongest_channels(source: Supernet) -> None:
    grown = grow(source, grown_space(source.space.structure))
    for block in list(grown.blocks)[1:]:
        layer = block.get_submodule("conv")
        assert isinstance(layer, ElasticInvertedResidual)
        if layer.point_linear.bn.bn.weight.abs().max() > 0:
            importance = contributions(layer)
            assert (importance[:-1] >= importance[1:]).all()


def test_contributions_are_how_far_a_channel_moves_the_output() -> None:
    """Against a block that is run on normal inputs with all channels but one shut off."""
    structure = structure_of("one convolution")
    supernet = Supernet(shrink_space(structure), 3, generator=torch.Generator().manual_seed(0)).eval()
    block = supernet.blocks[2].get_submodule("conv")
    assert isinstance(block, ElasticInvertedResidual)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in (block.depth_conv.bn.bn, block.point_linear.bn.bn):
            norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
            norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator))
        found = contributions(block)
        normal = torch.randn(20_000, len(found), 1, 1, generator=generator)
        inner = block.depth_conv.bn.bn
        hidden = block.depth_conv.act(normal * inner.weight[:, None, None] + inner.bias[:, None, None])
        for channel in (0, 7, 31):
            alone = torch.zeros_like(hidden)
            alone[:, channel] = hidden[:, channel]
            output = block.point_linear(alone, block.slot.out_channels)
            expected = output.std(dim=0).square().sum().sqrt()
            torch.testing.assert_close(found[channel], expected, rtol=0.03, atol=1e-4)


def test_sorting_keeps_the_function_of_the_largest(source: Supernet) -> None:
    before = answers(source, source.space.largest())
    sort_channels(source, importance=contributions)
    torch.testing.assert_close(answers(source, source.space.largest()), before, rtol=1e-9, atol=1e-9)


def test_shallower_networks_have_counterparts_too(source: Supernet) -> None:
    space = grown_space(source.space.structure)
    net = source.space.uniform(3, 0.5, 2, 128)
    found = counterpart(net, source.space, space)
    space.validate(found)
    assert (found.depths, found.kernels, found.family) == (net.depths, net.kernels, "source-grown")
    for (index, _, expand), (place, _, ratio) in zip(
        source.space.active_slots(net), space.active_slots(found), strict=True
    ):
        assert space.slots[place].mid_channels(ratio) >= source.space.slots[index].mid_channels(expand)


def test_a_target_without_room_is_refused(source: Supernet) -> None:
    space = grown_space(source.space.structure)
    for smaller, message in (
        (replace(space, expands=(1, 2)), "room for 32 channels"),
        (replace(space, kernels=(3,)), "a kernel of 5"),
        (replace(space, depths=(1, 2)), "a depth among"),
    ):
        with pytest.raises(InputError, match=message):
            grow(source, smaller)


def test_a_last_stage_of_one_layer_stays_so() -> None:
    structure = structure_of("one convolution")
    single = replace(structure, stages=(*structure.stages, Stage(32, 1, False, "relu6", layers=(Layer(3, 96),))))
    assert grown_space(single).largest().depths == (4, 4, 1)
    assert shrink_space(single).largest().depths == (3, 2, 1)
    deep = replace(structure, stages=(Stage(16, 2, False, "relu", layers=(Layer(3, 48),) * 6), structure.stages[1]))
    assert grown_space(deep).depths == (2, 3, 4, 5, 6)


def test_spaces_of_grown_networks_survive_json(source: Supernet) -> None:
    for space in (source.space, grown_space(source.space.structure)):
        assert MobileNetSpace.from_json(space.to_json()) == space


def test_narrow_layers_keep_three_times_their_inputs_channels_or_all(source: Supernet) -> None:
    space = shrink_space(source.space.structure)
    for slot in space.slots:
        assert slot.expands == tuple(
            share for share in (0.5, 0.75, 1) if share == 1 or share * slot.base >= 3 * slot.in_channels
        )
    widths = [slot.mid_channels(share) for slot, share in zip(space.slots, space.largest().expands, strict=True)]
    assert widths == [slot.base for slot in space.slots], "the largest subnet has all channels"
