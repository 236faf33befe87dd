"""One training step of a subnet: `nat.supernet.supernet.Supernet` against once-for-all's own modules.

    git clone https://github.com/mit-han-lab/once-for-all
    python benchmarks/train_step.py --peer once-for-all --threads 1

A step is the forward pass, the cross-entropy and the backward pass of one batch, without the optimiser. Both supernets
have the same weights and take the same images; that their logits agree is checked first. Each is used as its own
training code uses it: ours with weights and images channels last, once-for-all's as it is, with cuDNN free to try
algorithms. Their steps take turns, and the medians count. Without `--peer` only ours is measured.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from once_for_all import peer_supernet
from torch import Tensor, autograd, nn
from torch.nn import functional as F

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.encodings import to_ofa_lists
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import MobileNetSpace
from nat.supernet.supernet import Supernet

SPACE = MobileNetSpace()
CLASSES = 1000
TOLERANCE = 1e-6  # in float64, of logits of about 1
PRECISIONS = (torch.float64, torch.float32)  # of the check; the last is the one that is timed
WARMUP = 2


@dataclass(frozen=True)
class Contender:
    """A supernet and how its own training code uses it.

    Attributes:
        network: the weights.
        logits: of images (n, 3, h, w), by an architecture, shape (n, classes).
        cudnn_benchmark: whether its training lets cuDNN try algorithms.
    """

    network: nn.Module
    logits: Callable[[Tensor, Architecture], Tensor]
    cudnn_benchmark: bool


@dataclass(frozen=True)
class Row:
    """Median milliseconds of a step; `ratio` is theirs over ours."""

    resolution: int
    net: str
    precision: str
    ours_ms: float
    peer_ms: float | None
    ratio: float | None


def main() -> int:
    """Runs the benchmark as the command line says; 0, or 2 if the peer cannot be compared."""
    options = _parser().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        _check(options)
        contenders = [ours(options.device, options.seed)]
        if options.peer is not None:
            contenders.append(once_for_all(options.peer, contenders[0].network, options.device))
        found = differences(contenders, options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    rows = measured(contenders, options)
    if options.json:
        print(json.dumps({**conditions(options), "differences": found, "rows": [asdict(row) for row in rows]}))
    else:
        print_table(rows, found, options)
    return 0


# --- contenders ------------------------------------------------------------------------------------------------------


def ours(device: str, seed: int) -> Contender:
    """Our supernet with random weights.

    All of them are moved off their start, where the matrices of kernel sizes are identities and logits almost 0:
    a comparison of logits would miss much there.
    """
    generator = torch.Generator().manual_seed(seed)
    supernet = Supernet(SPACE, CLASSES, generator=generator)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    supernet.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def logits(images: Tensor, architecture: Architecture) -> Tensor:
        answer: Tensor = supernet(images.contiguous(memory_format=torch.channels_last), architecture)
        return answer

    return Contender(supernet, logits, cudnn_benchmark=False)


def once_for_all(checkout: Path, weights: nn.Module, device: str) -> Contender:
    """Once-for-all's supernet with the given weights.

    Raises:
        InputError: the folder is no checkout of once-for-all, or its tensors have other names.
    """
    network = peer_supernet(checkout, SPACE, CLASSES, weights)
    network.to(device).train()

    def logits(images: Tensor, architecture: Architecture) -> Tensor:
        network.set_active_subnet(**to_ofa_lists(architecture))
        answer: Tensor = network(images)
        return answer

    return Contender(network, logits, cudnn_benchmark=True)


# --- measuring -------------------------------------------------------------------------------------------------------


def subnets(seed: int) -> dict[str, Architecture]:
    """The largest, the smallest and a random subnet."""
    drawn = SPACE.decode(sample_uniform(SPACE, 1, np.random.default_rng(seed)))[0]
    return {"largest": SPACE.largest(), "smallest": SPACE.smallest(), "random": drawn}


def batch(options: argparse.Namespace, resolution: int) -> tuple[Tensor, Tensor]:
    """Random images (n, 3, resolution, resolution) and labels (n,)."""
    generator = torch.Generator().manual_seed(options.seed)
    images = torch.randn(options.batch, 3, resolution, resolution, generator=generator)
    labels = torch.randint(CLASSES, (options.batch,), generator=generator)
    return images.to(options.device), labels.to(options.device)


def differences(contenders: list[Contender], options: argparse.Namespace) -> dict[str, float]:
    """The greatest difference of two logits in training mode, by precision; empty without a peer.

    Float64 tells whether both compute the same function. What is left in float32 is rounding, which batch norm
    over few values magnifies from layer to layer.

    Raises:
        InputError: they do not compute the same function.
    """
    if len(contenders) < 2:
        return {}
    found = {str(dtype).removeprefix("torch."): _difference(contenders, options, dtype) for dtype in PRECISIONS}
    if not found["float64"] <= TOLERANCE:
        raise InputError(f"logits differ by {found['float64']:.2g}: the supernets compute different functions.")
    return found


def _difference(contenders: list[Contender], options: argparse.Namespace, dtype: torch.dtype) -> float:
    """The greatest difference of two logits over all nets and resolutions."""
    greatest = []
    for contender in contenders:
        contender.network.to(dtype)
    for resolution in options.resolution:
        images = batch(options, resolution)[0].to(dtype)
        for architecture in subnets(options.seed).values():
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                first, second = (contender.logits(images, architecture) for contender in contenders)
            greatest.append((first - second).abs().max())
    return float(torch.stack(greatest).max())  # NaN if any is


def measured(contenders: list[Contender], options: argparse.Namespace) -> list[Row]:
    """A row for each resolution, net and precision; only a GPU has a second precision."""
    return [
        _row(contenders, options, resolution, net, bfloat16)
        for resolution in options.resolution
        for net in subnets(options.seed)
        for bfloat16 in ([False, True] if options.device == "cuda" else [False])
    ]


def _row(contenders: list[Contender], options: argparse.Namespace, resolution: int, net: str, bfloat16: bool) -> Row:
    images, labels = batch(options, resolution)
    step = partial(
        step_seconds, images=images, labels=labels, architecture=subnets(options.seed)[net], bfloat16=bfloat16
    )
    seconds: list[list[float]] = [[] for _ in contenders]
    for turn in _turns(len(contenders), WARMUP + options.repeats):
        seconds[turn].append(step(contenders[turn]))
    medians = [1e3 * statistics.median(values[WARMUP:]) for values in seconds]
    peer = medians[1] if len(medians) > 1 else None
    precision = "bfloat16" if bfloat16 else "float32"
    return Row(resolution, net, precision, medians[0], peer, peer / medians[0] if peer else None)


def _turns(contenders: int, rounds: int) -> Iterator[int]:
    """Whose turn it is; who begins changes from round to round."""
    for number in range(rounds):
        for place in range(contenders):
            yield (number + place) % contenders


def step_seconds(
    contender: Contender, images: Tensor, labels: Tensor, architecture: Architecture, bfloat16: bool
) -> float:
    """Seconds of one step of a contender."""
    contender.network.zero_grad(set_to_none=True)
    torch.backends.cudnn.benchmark = contender.cudnn_benchmark
    started = now(images.device)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = contender.logits(images, architecture)
    autograd.backward(F.cross_entropy(logits.float(), labels))
    return now(images.device) - started


def now(device: torch.device) -> float:
    """Seconds, once all work is done: processor time if one thread does all, so that other programs matter less."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.process_time() if clock(device.type) == "processor" else time.perf_counter()


def clock(device: str) -> str:
    """Which time is measured: "processor" or "wall"."""
    return "processor" if device == "cpu" and torch.get_num_threads() == 1 else "wall"


# --- telling ---------------------------------------------------------------------------------------------------------


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the times depend on."""
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    settings = {key: getattr(options, key) for key in ("batch", "repeats", "seed")}
    threads = {"threads": torch.get_num_threads(), "time": clock(options.device)}
    return {"device": device, **threads, "torch": torch.__version__, **settings}


def print_table(rows: list[Row], found: dict[str, float], options: argparse.Namespace) -> None:
    """Prints conditions, the check and a line for each row."""
    print(", ".join(f"{key} {value}" for key, value in conditions(options).items()))
    if found:
        print("greatest difference of logits: " + ", ".join(f"{value:.1e} in {name}" for name, value in found.items()))
    else:
        print("no --peer: the comparison with once-for-all is skipped")
    print(f"{'px':>4} {'net':9}{'precision':10}{'ours ms':>9}{'once-for-all ms':>17}{'ratio':>7}")
    for row in rows:
        peer = "" if row.peer_ms is None else f"{row.peer_ms:17.1f}{row.ratio:7.2f}"
        print(f"{row.resolution:4} {row.net:9}{row.precision:10}{row.ours_ms:9.1f}{peer}")


def _check(options: argparse.Namespace) -> None:
    """Raises `InputError` for values that no step could be measured with."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("expected a GPU for --device cuda, there is none.")
    if min(options.resolution) < 8 or options.batch < 2 or options.repeats < 1:
        raise InputError("expected resolutions of at least 8, a batch of at least 2 and at least one repeat.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a checkout of once-for-all; without it only ours is measured")
    parser.add_argument("--resolution", type=int, nargs="+", default=[32, 64], help="sizes of the images, in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images of a step")
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the steps run")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if not given")
    parser.add_argument("--seed", type=int, default=0, help="of weights, images and the random net")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
