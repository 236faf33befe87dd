"""How far sums of a latency table are from whole subnets: parts timed in turn, and each alone again and again.

python benchmarks/latency_table.py --space small --resolutions 16,24,40,48
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nat.quantities import read_sizes
from nat.supernet.latency import LatencyTable, SpaceLatency
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import named_spaces
from nat.supernet.subnet import Subnet
from nat.supernet.timing import milliseconds, table_error, timed_parts

PASSES = 16


def main() -> None:
    """Prints the errors of both tables, and of two measurements of the same subnets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="small", choices=named_spaces())
    parser.add_argument("--resolutions", type=read_sizes, default=[16, 24, 40, 48])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--subnets", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    space = named_spaces()[arguments.space].with_resolutions(arguments.resolutions)
    parts = timed_parts(space, 10, torch.device("cpu"))
    encodings = sample_uniform(space, arguments.subnets, np.random.default_rng(0))
    whole: list[tuple[Callable[[Tensor], Tensor], Tensor]] = []
    for net in space.decode(encodings):
        images = torch.randn(1, 3, net.resolution, net.resolution).contiguous(memory_format=torch.channels_last)
        whole.append((Subnet(space, net, 10).eval(), images))
    alone = {key: float(np.median(milliseconds([part], PASSES))) for key, part in parts.items()}
    times = milliseconds([*parts.values(), *whole], PASSES)
    in_turn = dict(zip(parts, np.median(times[:, : len(parts)], axis=0).tolist(), strict=True))
    for name, table in (("in turn", in_turn), ("alone", alone)):
        error = table_error(SpaceLatency(space, LatencyTable(table)), encodings, times[:, len(parts) :])
        print(name, {key: round(value, 3) for key, value in error.items()})


if __name__ == "__main__":
    main()
