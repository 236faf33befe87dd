"""For all tests: one thread, as the networks are tiny and several test processes may run at once; commands in
this process; a tiny supernet.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch; child processes inherit it

import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from nat.main import main
from nat.pretrained.card import Card
from nat.pretrained.store import save_supernet
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

AMOUNTS = {
    "initial": 4,
    "rounds": 1,
    "per_round": 2,
    "archive": 4,
    "population": 8,
    "generations": 2,
    "first_training": "3 steps",
    "round_training": "2 steps",
    "batch": 8,
    "fit_classifier": "true",
    "calibration_images": 32,
    "validation_images": 60,
    "finetuning": "3 steps",
    "front": 2,
    "controls": "ends",
}

CUT_WRITE = """
import os, signal, sqlite3, sys

class Connection(sqlite3.Connection):
    def commit(self):
        if self.in_transaction and commits.pop():
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit()

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.commit()
        return super().__exit__(kind, error, trace)

commits = [True] + [False] * int(sys.argv[2])
connect = sqlite3.connect
sqlite3.connect = lambda *words, **named: connect(*words, factory=Connection, **named)
"""


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def command() -> Callable[..., Outcome]:
    """Runs `nat` with the given words in this process."""

    def run(*words: str | Path) -> Outcome:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        code = stopped.value.code
        assert code is None or isinstance(code, int)
        return Outcome(code or 0, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def supernet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet of random weights, with its card; small enough that a step takes a tenth of a second."""
    space = MobileNetSpace(width=0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24,))
    path = tmp_path_factory.mktemp("supernet") / "mini.safetensors"
    supernet = Supernet(space, 5, generator=torch.Generator().manual_seed(0))
    save_supernet(supernet, Card("mini", "random weights", space, num_classes=5), path)
    return path


@pytest.fixture(scope="session")
def proxyless_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of ProxylessNAS for three classes as others publish it, one layer a stage, all tensors by name and
    shape: nothing of the toolkit's is used. It always answers the second class.
    """
    generator = torch.Generator().manual_seed(0)
    channels = (8, 16, 16, 24, 24, 32, 40)
    state: dict[str, torch.Tensor] = {}

    def add(name: str, outputs: int, inputs: int, kernel: int = 1) -> None:
        state[f"{name}.conv.weight"] = 0.1 * torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        for kind, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            state[f"{name}.bn.{kind}"] = torch.full((outputs,), float(value))
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(3)

    add("first_conv", 16, 3, 3)
    add("blocks.0.mobile_inverted_conv.depth_conv", 16, 1, 3)
    add("blocks.0.mobile_inverted_conv.point_linear", 8, 16)
    for stage in range(6):
        block = f"blocks.{1 + 4 * stage}.mobile_inverted_conv"
        add(f"{block}.inverted_bottleneck", 48, channels[stage])
        add(f"{block}.depth_conv", 48, 1, 5)
        add(f"{block}.point_linear", channels[stage + 1], 48)
    add("feature_mix_layer", 64, 40)
    state |= {"classifier.linear.weight": torch.zeros(3, 64), "classifier.linear.bias": torch.tensor([0.0, 1.0, 0.0])}
    path = tmp_path_factory.mktemp("proxyless") / "net-r32.pth"
    torch.save({"state_dict": state}, path)
    return path


@pytest.fixture(scope="session")
def small_amounts() -> dict[str, Any]:
    """Settings of an effort with which a transfer takes seconds."""
    return dict(AMOUNTS)


@pytest.fixture(scope="session")
def cut_write() -> str:
    """The head of a script that dies, by SIGKILL, when a write to an SQLite file lacks nothing but its COMMIT: the
    write whose number, from 0, is the script's second word.
    """
    return CUT_WRITE
