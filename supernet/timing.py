"""Measuring latency tables on the present machine, and how far their sums are from whole networks.

One image at a time, plain layers, channels last, as bundles run. Parts are timed in turn, as they run in a network, and
not each alone again and again, which would find its weights in the caches: so timed, sums were 5-8 % off whole networks
instead of 11-24 % (benchmarks/README.md). A time is the median over passes behind a warm-up; with one thread on a CPU
it is the thread's own time, which other work on the machine does not lengthen as much as the clock's.
"""

import platform
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import Tensor

from nat.supernet.latency import LatencyTable, SpaceLatency, block_key, end_key, start_key
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import Encodings, MobileNetSpace
from nat.supernet.subnet import InvertedResidual, Subnet

Floats = NDArray[np.float64]
Report = Callable[[int, int], None]  # done, in all
Timed = tuple[Callable[[Tensor], Tensor], Tensor]  # a forward pass and its input
WARM_UP = 2
PASSES = 16
CHECKED = 24


def measure_table(
    space: MobileNetSpace,
    num_classes: int,
    device: torch.device | str = "cpu",
    report: Report = lambda done, total: None,
    passes: int = PASSES,
) -> LatencyTable:
    """Measures every part of a space, and random subnets whole to say how far the table is from them.

    Args:
        space: whose parts; time grows with its input sizes.
        num_classes: outputs of the classifier.
        device: where networks run; on a CPU with the threads that torch has.
        report: called after each pass.
        passes: times that each is measured.
    """
    device = torch.device(device)
    parts = timed_parts(space, num_classes, device)
    encodings = sample_uniform(space, CHECKED, np.random.default_rng(0))
    whole: list[Timed] = [
        (Subnet(space, net, num_classes).eval().to(device), _images(3, net.resolution, device))
        for net in space.decode(encodings)
    ]
    times = milliseconds([*parts.values(), *whole], passes, report)
    table = LatencyTable(dict(zip(parts, np.median(times[:, : len(parts)], axis=0).tolist(), strict=True)))
    error = table_error(SpaceLatency(space, table), encodings, times[:, len(parts) :])
    return LatencyTable(table.ms, _machine(device), error)


def table_error(latency: SpaceLatency, encodings: Encodings, times: Floats) -> dict[str, float]:
    """A table's sums against subnets measured whole; the form of `LatencyTable.error`.

    Args:
        latency: the table.
        encodings: the subnets (n, genes).
        times: milliseconds of each in each pass (passes, n). Even and odd passes are two measurements, whose difference
            is what no table can be better than.
    """
    whole, halves = np.median(times, axis=0), [np.median(times[start::2], axis=0) for start in (0, 1)]
    found = {"subnets": float(len(whole))}
    for name, first, second in (("", latency.ms(encodings), whole), ("noise_", halves[0], halves[1])):
        tau = float(kendalltau(first, second).statistic)
        found[f"{name}mape"] = float(np.mean(np.abs(first - second) / second))
        found[f"{name}kendall_tau"] = 0.0 if np.isnan(tau) else tau
    return found


def milliseconds(timed: Sequence[Timed], passes: int, report: Report = lambda done, total: None) -> Floats:
    """Times of forward passes, one after the other in each of the passes, shape (passes, n)."""
    device = timed[0][1].device
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter
    times = np.zeros((WARM_UP + passes, len(timed)))
    with torch.inference_mode():
        for row in range(WARM_UP + passes):
            for column, (forward, images) in enumerate(timed):
                images = images.clone(memory_format=torch.preserve_format)  # as fresh as what a layer hands on
                _wait(device)
                started = clock()
                forward(images)
                _wait(device)
                times[row, column] = clock() - started
            report(row + 1, WARM_UP + passes)
    return 1e3 * times[WARM_UP:]


def timed_parts(space: MobileNetSpace, num_classes: int, device: torch.device) -> dict[str, Timed]:
    """The distinct parts of a space by their keys, in the order in which they run, with random weights."""
    frame = Subnet(space, space.smallest(), num_classes).eval().to(device)
    parts: dict[str, Timed] = {}
    blocks: dict[str, InvertedResidual] = {}
    for resolution in space.resolutions:
        parts[start_key(space, resolution)] = frame.start, _images(3, resolution, device)
        *sizes, last = space.map_sizes(resolution)
        for slot, choices, size in zip(space.slots, space.choices, sizes, strict=True):
            for kernel, expand in choices:
                key, any_size = (block_key(slot, kernel, expand, side) for side in (size, 0))
                if any_size not in blocks:
                    blocks[any_size] = InvertedResidual(slot, kernel, expand).eval().to(device)
                if key not in parts:
                    parts[key] = blocks[any_size], _images(slot.in_channels, size, device)
        parts[end_key(space, last)] = frame.finish, _images(space.slots[-1].out_channels, last, device)
    return parts


def _machine(device: torch.device) -> dict[str, str | int]:
    return {
        "processor": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _images(channels: int, size: int, device: torch.device | str) -> Tensor:
    """Any numbers will do."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, channels, size, size, generator=generator)
    return images.to(device).contiguous(memory_format=torch.channels_last)
