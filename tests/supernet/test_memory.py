"""The table of peak memory against networks that are run, with every tensor that is alive counted."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from nat.supernet.costs import CostTable
from nat.supernet.layers import BatchNorm
from nat.supernet.memory import MemoryTable
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.structure import PROXYLESS
from nat.supernet.subnet import Subnet

SPACES = {
    "mobilenetv3": MobileNetSpace(resolutions=(64, 160, 224)),
    "proxyless": MobileNetSpace(1.0, (3, 5), (1, 3, 6), (1, 2, 4), (32, 97, 224), PROXYLESS),
    "tiny maps": MobileNetSpace(0.35, (3, 5), (1, 2.5, 6), (1, 3), (8, 16, 33)),
}


class Meter(fx.Interpreter):
    """Runs a traced network, drops each tensor behind its last use, and keeps the greatest sum of what is alive."""

    peak = 0

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        tensors = [value for value in (*self.env.values(), result) if isinstance(value, Tensor)]
        storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
        self.peak = max(self.peak, sum(storages.values()))
        return result


class Convolutions(fx.Tracer):
    """Sees convolutions whole, with their padding."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def without_batch_norm(network: nn.Module) -> nn.Module:
    """What folding leaves: no operation where batch norm was."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchNorm):
                setattr(module, name, nn.Identity())
    return network


def measured_peak(space: MobileNetSpace, net: Any, classes: int) -> int:
    with torch.device("meta"):
        network = without_batch_norm(Subnet(space, net, classes)).eval()
        meter = Meter(fx.GraphModule(network, Convolutions().trace(network)))
        with torch.no_grad():
            assert meter.run(torch.empty(1, 3, net.resolution, net.resolution)).shape == (1, classes)
    return meter.peak


def check(space: MobileNetSpace, classes: int, count: int) -> None:
    nets = [space.smallest(), *space.decode(sample_uniform(space, count, np.random.default_rng(0))), space.largest()]
    found = MemoryTable(space, classes).peak_bytes(space.encode(nets))
    assert found.tolist() == [measured_peak(space, net, classes) for net in nets]
    assert len(set(found.tolist())) > 1


@pytest.mark.parametrize("name", SPACES)
def test_peaks_equal_those_of_networks_that_run(name: str) -> None:
    check(SPACES[name], 10, 5)


def test_peaks_of_any_structure_equal_those_of_networks_that_run(any_space: MobileNetSpace) -> None:
    check(any_space, 7, 2)


def test_a_classifier_of_many_classes_counts() -> None:
    space = MobileNetSpace(0.25, (3,), (2,), (1,), (8,))
    assert CostTable(space, 100_000).memory(space.encode([space.smallest()]))[0] == measured_peak(
        space, space.smallest(), 100_000
    )


def test_the_smallest_and_the_largest_have_the_least_and_the_most() -> None:
    space = SPACES["tiny maps"]
    peaks = CostTable(space, 10).memory(sample_uniform(space, 500, np.random.default_rng(1)))
    least, most = CostTable(space, 10).memory(space.encode([space.smallest(), space.largest()]))
    assert least <= peaks.min() < peaks.max() <= most
