"""Depthwise convolutions on tiny maps: `nat.supernet.layers.depthwise` against torch's, forward and backward.

uv run python benchmarks/depthwise.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from nat.supernet.layers import depthwise

CASES = [(160, 2, 3, 1), (224, 2, 5, 2), (96, 4, 5, 1), (96, 4, 5, 2), (320, 3, 5, 1), (960, 1, 7, 1), (672, 4, 7, 1)]
BATCH, REPEATS = 64, 15


def median_ms(convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> float:
    """Median milliseconds of a forward and a backward pass."""
    seconds = []
    for _ in range(REPEATS):
        x.grad = weight.grad = None
        started = time.perf_counter()
        convolve(x, weight).sum().backward()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def main() -> None:
    """Prints a line for each case."""
    torch.set_num_threads(1)
    print(f"batch {BATCH}, one thread, torch {torch.__version__}")
    print("channels map kernel stride   torch ms   ours ms   ratio")
    for channels, size, kernel, stride in CASES:
        x = torch.randn(BATCH, channels, size, size).contiguous(memory_format=torch.channels_last).requires_grad_()
        weight = torch.randn(channels, 1, kernel, kernel, requires_grad=True)

        def torchs(x: Tensor, w: Tensor, stride: int = stride, kernel: int = kernel) -> Tensor:
            return F.conv2d(x, w, None, stride, kernel // 2, 1, x.shape[1])

        def ours(x: Tensor, w: Tensor, stride: int = stride) -> Tensor:
            return depthwise(x, w, stride)

        theirs_ms, ours_ms = median_ms(torchs, x, weight), median_ms(ours, x, weight)
        ratio = theirs_ms / ours_ms
        print(f"{channels:8} {size:3} {kernel:6} {stride:6} {theirs_ms:10.2f} {ours_ms:9.2f} {ratio:7.1f}")


if __name__ == "__main__":
    main()
