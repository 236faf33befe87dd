"""Steps of the published DARTS and NASP codes on today's PyTorch and a CPU, for `oneshot.py`.

Their files are read from a checkout and run as they are; what keeps them from running is patched from outside, while
they run only (`_as_of_old`).
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
MODULES = ("architect", "genotypes", "model_search", "operations")
RATE = 0.025


def peer_steps(path: Path, train: Batch, valid: Batch, channels: int, layers: int) -> dict[str, Callable[[], object]]:
    """Steps of the architecture and the weights, with their own networks and architects.

    Args:
        path: a checkout of quark0/darts or xujinfan/NASP-codes.
        train: batch of the weights.
        valid: batch of the architecture.
        channels: of the first cells.
        layers: cells.

    Raises:
        SystemExit: it is neither.
    """
    folders = {"cnn": _darts_steps, "codes": _nasp_steps}
    for folder, steps in folders.items():
        if (path / folder / "model_search.py").is_file():
            with _as_of_old():
                return steps(_load(path / folder), train, valid, channels, layers)
    sys.exit(f"{path}: expected a checkout of quark0/darts or xujinfan/NASP-codes, with cnn/ or codes/ in it.")


def _darts_steps(modules: Any, train: Batch, valid: Batch, channels: int, layers: int) -> dict[str, Any]:
    def make(unrolled: bool) -> Callable[[], object]:
        network = modules["model_search"].Network(channels, 10, layers, nn.CrossEntropyLoss())
        architect, optimizer = modules["architect"].Architect(network, ARGUMENTS), _sgd(network)

        def step() -> None:
            with _as_of_old():
                architect.step(*train, *valid, RATE, optimizer, unrolled=unrolled)
                optimizer.zero_grad()
                network._loss(*train).backward()
                _descend(network, optimizer)

        return step

    return {"darts1_peer": make(False), "darts2_fd_peer": make(True)}


def _nasp_steps(modules: Any, train: Batch, valid: Batch, channels: int, layers: int) -> dict[str, Any]:
    search = modules["model_search"]
    mixed, project = search.MixedOp.forward, search.Network.proximal_step
    # each weight had a dimension of its own in PyTorch 0.3
    search.MixedOp.forward = lambda self, x, weights, update: mixed(self, x, weights.unsqueeze(-1), update)
    # on a CPU the projection would overwrite what it is to be restored from
    search.Network.proximal_step = lambda self, var, winners=None: project(self, var.detach().clone(), winners)
    network = search.Network(channels, 10, layers, nn.CrossEntropyLoss())
    architect, optimizer = modules["architect"].Architect(network, ARGUMENTS), _sgd(network)

    def step() -> None:
        with _as_of_old():
            architect.step(*train, *valid, RATE, optimizer)
            network.clip()
            optimizer.zero_grad()
            network.binarization()
            network._loss(*train, "weights").backward()
            network.restore()
            _descend(network, optimizer)

    return {"nasp_peer": step}


ARGUMENTS = argparse.Namespace(momentum=0.9, weight_decay=3e-4, arch_learning_rate=3e-4, arch_weight_decay=1e-3)


def _sgd(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), RATE, momentum=ARGUMENTS.momentum, weight_decay=ARGUMENTS.weight_decay)


def _descend(network: nn.Module, optimizer: torch.optim.SGD) -> None:
    nn.utils.clip_grad_norm_(network.parameters(), 5)
    optimizer.step()


def _load(folder: Path) -> dict[str, Any]:
    """The modules of a folder; both codes have the same names for them."""
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    try:
        return {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(folder))
        for name in MODULES:
            sys.modules.pop(name, None)


def _scalar_first(function: Any) -> Any:
    """A method that also takes (number, tensor), as PyTorch 0.3 did."""

    def either(self: Tensor, first: Any, second: Any = None, **options: Any) -> Tensor:
        if second is None:
            result: Tensor = function(self, first, **options)
            return result
        old: Tensor = function(self, second, alpha=float(first))
        return old

    return either


@contextmanager
def _as_of_old() -> Iterator[None]:
    with (
        mock.patch.object(Tensor, "cuda", lambda self: self),
        mock.patch.object(nn.Module, "cuda", lambda self: self),
        mock.patch.object(Tensor, "add_", _scalar_first(Tensor.add_)),
        mock.patch.object(Tensor, "sub_", _scalar_first(Tensor.sub_)),
        mock.patch.object(Tensor, "sub", _scalar_first(Tensor.sub)),
    ):
        yield
