"""The search network: which operations run, which gradients there are, and what it says of its choices."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from nat.errors import InputError
from nat.oneshot.base import Settings, Strategy
from nat.oneshot.darts import Darts
from nat.oneshot.gdas import Gdas
from nat.oneshot.nasp import Nasp
from nat.oneshot.relaxation import constant_parameters, discrete_mixtures, prox_c1, select, softmax_mixtures
from nat.oneshot.trainer import OneShotTrainer
from nat.supernet.cells.mixed import MixedCell, MixedNetwork, QuickAvgPool, QuickMaxPool
from nat.supernet.cells.network import DIGITS, IMAGENET, CellForm
from nat.supernet.cells.space import cell_spaces
from nat.supernet.mixture import Mixture

FORM = CellForm(layers=3, channels=4, num_classes=10)
IMAGES = torch.randn(4, 3, 8, 8, generator=Generator().manual_seed(0))
BATCH = (IMAGES, torch.tensor([0, 1, 2, 3]))
CELLS, EDGES, KEPT = 3, 14, 8


@pytest.fixture(scope="module")
def network() -> MixedNetwork:
    """NASP's seven operations: those of DARTS without `none`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MixedNetwork(cell_spaces()["nasp-7"], FORM)


@contextmanager
def counted(network: MixedNetwork) -> Iterator[Counter[bool]]:
    """Calls of operations, by whether autograd saw them."""
    calls: Counter[bool] = Counter()
    hooks = [
        option.register_forward_hook(lambda *_: calls.update([torch.is_grad_enabled()]))
        for cell in network.cells
        if isinstance(cell, MixedCell)
        for options in cell.operations
        for option in options
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def forwards(network: MixedNetwork, strategy: Strategy) -> tuple[Counter[bool], Counter[bool]]:
    """Calls in a step of the architecture and in one of the weights."""
    trainer = OneShotTrainer(network, strategy, Settings(epochs=1))
    with counted(network) as architecture:
        trainer.step_architecture(BATCH, BATCH)
    with counted(network) as weights:
        trainer.step_weights(BATCH)
    return architecture, weights


def test_each_strategy_runs_what_it_should(network: MixedNetwork) -> None:
    every, edges, kept = CELLS * EDGES * 7, CELLS * EDGES, CELLS * KEPT
    assert forwards(network, Darts(1)) == ({True: every}, {True: every})
    assert forwards(network, Darts(2)) == ({True: 2 * every}, {True: every})
    assert forwards(network, Darts(2, hvp="fd")) == ({True: 4 * every}, {True: every})
    assert forwards(network, Nasp()) == ({True: kept, False: every - kept}, {True: kept})
    assert forwards(network, Nasp(prune=False)) == ({True: edges, False: every - edges}, {True: edges})
    assert forwards(network, Nasp(frugal=False)) == ({True: every}, {True: kept})
    assert forwards(network, Gdas()) == ({True: edges}, {True: edges})


@pytest.mark.parametrize("prune", [True, False])
def test_frugal_gradients_are_exactly_the_full_ones(network: MixedNetwork, prune: bool) -> None:
    parameters = constant_parameters(network.choices.counts, 0.5)
    winners = select(parameters, Generator().manual_seed(1), network.choices.groups if prune else ())
    found = []
    for probe in (True, False):
        projected = prox_c1(parameters, winners)
        mixtures = discrete_mixtures(projected, winners, probe=probe, full=not probe)
        loss = torch.nn.functional.cross_entropy(network(IMAGES, mixtures), BATCH[1])
        found.append(torch.autograd.grad(loss, list(projected.values())))
    assert all(torch.equal(frugal, full) for frugal, full in zip(*found, strict=True))
    assert sum(bool((vector != 0).all()) for vector in found[0]) > EDGES


def test_operations_that_did_not_run_get_no_gradient(network: MixedNetwork) -> None:
    network.zero_grad(set_to_none=True)
    winners = select(constant_parameters(network.choices.counts, 0.5), Generator().manual_seed(1))
    network(
        IMAGES, discrete_mixtures(prox_c1(constant_parameters(network.choices.counts, 0.5), winners), winners)
    ).sum().backward()
    for cell in network.cells:
        for name, options in zip(cell.names, cell.operations, strict=True):
            for index, option in enumerate(options):
                for weight in option.parameters():
                    assert (weight.grad is not None) == (index == winners[name])


def test_choices_are_those_of_the_space() -> None:
    darts = MixedNetwork(cell_spaces()["darts"], FORM).choices
    assert len(darts.options) == 2 * EDGES and darts.excluded == {"none"} and darts.kept == 2
    assert [len(group) for group in darts.groups] == 2 * [3, 4, 5], "nodes with two edges keep them"
    nasp = MixedNetwork(cell_spaces()["nasp"], FORM).choices
    assert nasp.counts["normal:0->2"] == 8 and nasp.counts["reduce:0->2"] == 5
    digits = MixedNetwork(cell_spaces()["digits"], DIGITS).choices
    assert digits.groups == () and digits.excluded == frozenset() and len(digits.options) == 3
    assert digits.sizes is not None and digits.sizes["normal:0->1"] == (0, 0, 8**2 + 16**2, 9 * (8**2 + 16**2), 0)


def test_none_adds_nothing_and_has_no_gradient_of_its_own() -> None:
    network = MixedNetwork(cell_spaces()["digits"], DIGITS)
    logits = {name: torch.zeros(5, requires_grad=True) for name in network.choices.options}
    mixtures = softmax_mixtures(logits)
    for mixture in mixtures.values():
        mixture.weights.retain_grad()
    network(IMAGES, mixtures).square().sum().backward()
    for name, mixture in mixtures.items():
        gradient = mixture.weights.grad
        assert gradient is not None and gradient[0] == 0 and (gradient[1:] != 0).all()
        slope = logits[name].grad
        assert slope is not None and slope[0] != 0, "but the softmax takes from `none` what it gives to others"


def only(network: MixedNetwork, option: int) -> Mapping[str, Mixture]:
    return {
        name: Mixture(torch.eye(len(options))[option], active=(option,))
        for name, options in network.choices.options.items()
    }


def test_a_cell_of_nothing_but_none_gives_zeros() -> None:
    network = MixedNetwork(cell_spaces()["digits"], DIGITS)
    rows: Tensor = network(IMAGES, only(network, 0))
    assert torch.allclose(rows, rows[:1].expand_as(rows)), "no image can be told from another"
    assert not torch.allclose(network(IMAGES, only(network, 1))[0], network(IMAGES, only(network, 1))[1])


def test_batch_norms_keep_no_statistics_and_operations_have_no_scale(network: MixedNetwork) -> None:
    assert not list(network.buffers())
    inside = [m for cell in network.cells for m in cell.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert inside and not any(norm.affine for norm in inside)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_pooling_without_gradients_gives_the_same_numbers(kernel: int, stride: int) -> None:
    largest = torch.nn.MaxPool2d(kernel, stride, kernel // 2)
    mean = torch.nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
    for size in ((16, 16), (8, 8), (7, 4), (2, 3), (1, 1)):
        maps = torch.randn(2, 3, *size, generator=Generator().manual_seed(0))
        for pool, quick in ((largest, QuickMaxPool(largest)), (mean, QuickAvgPool(mean))):
            with torch.no_grad():
                assert torch.equal(quick(maps), pool(maps))
            assert torch.equal(quick(maps.clone().requires_grad_()), pool(maps))


def test_what_is_derived_is_a_genotype_of_the_space(network: MixedNetwork) -> None:
    for strategy in (Darts(), Nasp(), Gdas()):
        trainer = OneShotTrainer(network, strategy, Settings(epochs=1), seed=3)
        genotype = network.genotype(trainer.run(lambda epoch: [(BATCH, BATCH)]).derived)
        network.space.validate(genotype)
        assert all(len(node) == 2 for cell in genotype.cells.values() for node in cell.nodes)


def test_a_stem_of_imagenet_is_refused() -> None:
    with pytest.raises(InputError, match="one convolution as stem"):
        MixedNetwork(cell_spaces()["darts"], replace(IMAGENET, channels=4))
