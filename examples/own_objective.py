"""An objective of your own, and a transfer that trades accuracy against it.

A function takes architectures and gives one number for each, to be minimised. Here: how many layers a net has, which
decides how often a small accelerator must be started.

python examples/own_objective.py photos/textures runs/own-objective

or, on the command line, `--objectives top1,examples/own_objective.py:layers`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import nat


def layers(architectures: Sequence[nat.Architecture]) -> list[int]:
    """Blocks of each network."""
    return [sum(architecture.depths) for architecture in architectures]


def main(data: str, out: str) -> None:
    """Transfers with the objective and prints what the front trades."""
    options = nat.TransferOptions(data=data, objectives=f"top1,{__file__}:layers", max_macs=4_000_000)
    report = nat.transfer(options, Path(out))
    for net in sorted(report["front"], key=lambda net: net["layers"]):
        print(f"{net['id']}  {net['layers']:.0f} layers  {net['macs'] / 1e6:.2f} M  test top-1 {net['test_top1']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
