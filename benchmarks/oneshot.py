"""One step of a differentiable search, weights and architecture: DARTS of both orders, NASP, GDAS, on DARTS' cells.

    python benchmarks/oneshot.py
    python benchmarks/oneshot.py --json
    git clone https://github.com/quark0/darts; git clone https://github.com/xujinfan/NASP-codes
    python benchmarks/oneshot.py --peer darts --peer NASP-codes

All strategies search cells of 14 edges and the same seven operations (DARTS and GDAS also have `none`, which never
runs). A step is one of the architecture and one of the weights, optimisers included. Times are CPU time of one
thread; contenders take turns, and medians count. Calls of operations are counted in one more step: forward, with and
without autograd, and gradients that reach an operation's output. `darts2` is exact, `darts2_fd` the published finite
difference.

The default size is that of the first cells of DARTS' search on CIFAR-10, 16 channels at 32 pixels, in small batches.
Ratios depend on it: on small maps a call costs much beside what it computes.

`--peer` runs the published codes' own networks and architects beside ours, on the same operations: DARTS' eight, and
NASP's eight and five (`nasp_released`). They are written for PyTorch 0.3 and a GPU: while they run, `cuda()` stays
on the CPU, `add_`, `sub_` and `sub` take their arguments in the old order, vectors that NASP overwrites are copied
first, and its weights have the dimension that they had (`oneshot_peers.py`).
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from oneshot_peers import peer_steps
from torch import Generator, Tensor, nn

from nat.oneshot.base import Batch, Strategy
from nat.oneshot.darts import Darts
from nat.oneshot.gdas import Gdas
from nat.oneshot.nasp import Nasp
from nat.oneshot.trainer import OneShotTrainer
from nat.supernet.cells.mixed import MixedCell, MixedNetwork
from nat.supernet.cells.network import CellForm
from nat.supernet.cells.space import cell_spaces

OURS: dict[str, tuple[Strategy, str]] = {
    "darts1": (Darts(1), "darts"),
    "darts2": (Darts(2), "darts"),
    "darts2_fd": (Darts(2, hvp="fd"), "darts"),
    "nasp": (Nasp(), "nasp-7"),
    "nasp_all_edges": (Nasp(prune=False), "nasp-7"),
    "nasp_full": (Nasp(frugal=False), "nasp-7"),
    "gdas": (Gdas(), "darts"),
}
COMPARED = ("darts1", "darts2", "darts2_fd", "nasp", "gdas")
RELEASED: tuple[Strategy, str] = (Nasp(), "nasp")  # the cells of NASP's code
Step = Callable[[], object]


def main() -> int:
    """Measures and prints."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    train, valid = _batch(options, 1), _batch(options, 2)
    chosen = {name: OURS[name] for name in options.strategies} | ({"nasp_released": RELEASED} if options.peer else {})
    trainers = {name: _trainer(*entry, options) for name, entry in chosen.items()}
    steps: dict[str, Step] = {name: _step(trainer, train, valid) for name, trainer in trainers.items()}
    for path in options.peer:
        steps |= peer_steps(path, train, valid, options.channels, options.layers)
    counts = {name: counted(trainers[name], steps[name]) for name in options.strategies}
    seconds = measured(steps, options.repeats)
    if options.json:
        print(json.dumps({**seconds, "calls": counts, "layers": options.layers, "channels": options.channels}))
    else:
        print_table(seconds, counts)
    return 0


def measured(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each, of steps that take turns; a turn goes before."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:
                times[name].append(time.process_time() - start)
        found = " ".join(f"{name} {values[-1]:.3f}" for name, values in times.items() if values)
        print(f"turn {turn} of {repeats}: {found}", file=sys.stderr, flush=True)
    return {name: statistics.median(found) for name, found in times.items()}


def counted(trainer: OneShotTrainer, step: Step) -> dict[str, int]:
    """Calls of operations in one step."""
    calls: Counter[str] = Counter({"forward": 0, "probe": 0, "backward": 0})
    with _hooks(trainer.state.network, calls):
        step()
    return dict(calls)


@contextmanager
def _hooks(network: nn.Module, calls: Counter[str]) -> Iterator[None]:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls["forward" if torch.is_grad_enabled() else "probe"] += 1
        if output.requires_grad and output is not inputs[0]:
            output.register_hook(lambda gradient: calls.update(["backward"]))

    cells = [cell for cell in network.modules() if isinstance(cell, MixedCell)]
    operations = [option for cell in cells for edge in cell.operations for option in edge.children()]
    handles = [option.register_forward_hook(count) for option in operations]
    yield
    for handle in handles:
        handle.remove()


def print_table(seconds: dict[str, float], counts: dict[str, dict[str, int]]) -> None:
    """Seconds, how often it fits into DARTS' steps, calls of operations."""
    print(f"{'':16}{'seconds':>9}{'darts1 /':>10}{'darts2 /':>10}{'fd /':>8}   forward  probe  backward")
    for name, value in seconds.items():
        ratios = "".join(f"{seconds.get(base, math.nan) / value:{width}.2f}" for base, width in _BASES)
        calls = counts.get(name)
        tail = "" if calls is None else f"{calls['forward']:10}{calls['probe']:7}{calls['backward']:10}"
        print(f"{name:16}{value:9.3f}{ratios}{tail}")


_BASES = (("darts1", 10), ("darts2", 10), ("darts2_fd", 8))


def _trainer(strategy: Strategy, space: str, options: argparse.Namespace) -> OneShotTrainer:
    form = CellForm(options.layers, options.channels, 10)
    return OneShotTrainer(MixedNetwork(cell_spaces()[space], form), strategy, seed=options.seed)


def _step(trainer: OneShotTrainer, train: Batch, valid: Batch) -> Step:
    return lambda: trainer.step(train, valid)


def _batch(options: argparse.Namespace, seed: int) -> Batch:
    generator = Generator().manual_seed(options.seed + seed)
    images = torch.randn(options.batch, 3, options.resolution, options.resolution, generator=generator)
    return images, torch.randint(10, (options.batch,), generator=generator)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peer", type=Path, action="append", default=[], help="a checkout of DARTS' or NASP's code; may be repeated"
    )
    parser.add_argument("--strategies", nargs="+", choices=list(OURS), default=COMPARED, help="of ours")
    parser.add_argument("--layers", type=int, default=3, help="cells; a third and two thirds through they reduce")
    parser.add_argument("--channels", type=int, default=16, help="of the first cells")
    parser.add_argument("--resolution", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images of a step")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each")
    parser.add_argument("--seed", type=int, default=0, help="of weights, images and draws")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
