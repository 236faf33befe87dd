"""What a training step costs on the CPU where freed memory is kept, and where it goes back to the system.

    python benchmarks/allocation.py --threads 1

A step is the forward pass, the cross-entropy and the backward pass of one batch of 32, of a space's largest subnet,
with or without `nat.allocation.keep_freed_memory`. That is for a whole process, so that each case has one of its own.
Their turns alternate; the medians count.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional as F

from nat.allocation import keep_freed_memory
from nat.supernet.space import named_spaces
from nat.supernet.supernet import Supernet

BATCH, CLASSES, STEPS, WARMUP, TURNS = 32, 100, 8, 2, 3
CASES = (("small", 64), ("small", 128), ("nat-w1.0", 64), ("nat-w1.0", 128))


@dataclass(frozen=True)
class Step:
    """What one step costs: CPU seconds, those of them in the system, page faults; and the process's peak memory."""

    cpu_s: float
    system_s: float
    faults: float
    peak_mib: float


def main() -> int:
    """Runs the benchmark as the command line says; 0."""
    options = _parser().parse_args()
    if options.alone:
        space, resolution, kept = options.alone
        print(json.dumps(asdict(step(space, int(resolution), kept == "kept", options.threads))))
        return 0
    rows = []
    for space, resolution in CASES:
        found: dict[str, list[Step]] = {"given back": [], "kept": []}
        for _ in range(TURNS):
            for way, steps in found.items():
                steps.append(alone(space, resolution, way, options.threads))
        rows += [{"space": space, "resolution": resolution, "memory": way, **median(found[way])} for way in found]
        if not options.json:
            for row in rows[-2:]:
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if options.json:
        print(json.dumps({"threads": options.threads, "torch": torch.__version__, "rows": rows}))
    return 0


def alone(space: str, resolution: int, way: str, threads: int) -> Step:
    """One case, in a process of its own."""
    words = [sys.executable, __file__, "--threads", str(threads), "--alone", space, str(resolution), way]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return Step(**json.loads(done.stdout))


def step(space: str, resolution: int, kept: bool, threads: int) -> Step:
    """The mean over `STEPS`, in this process."""
    if kept and not keep_freed_memory():
        raise SystemExit("expected the GNU C library, got another one: there is nothing to compare here.")
    torch.set_num_threads(threads)
    network = Supernet(named_spaces()[space], CLASSES, generator=torch.Generator().manual_seed(0))
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.randn(BATCH, 3, resolution, resolution).contiguous(memory_format=torch.channels_last)
    labels, largest = torch.randint(CLASSES, (BATCH,)), network.space.largest()

    def train() -> None:
        network.zero_grad()
        F.cross_entropy(network(images, largest), labels).backward()

    for _ in range(WARMUP):
        train()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(STEPS):
        train()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    faults = after.ru_minflt - before.ru_minflt
    return Step((user + system) / STEPS, system / STEPS, faults / STEPS, after.ru_maxrss / 1024)


def median(steps: list[Step]) -> dict[str, float]:
    """Of each number."""
    columns = {key: [asdict(each)[key] for each in steps] for key in asdict(steps[0])}
    return {key: round(statistics.median(values), 4) for key, values in columns.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--alone", nargs=3, metavar=("SPACE", "PX", "WAY"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
