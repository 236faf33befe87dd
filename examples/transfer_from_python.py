"""A transfer from Python: what `nat transfer DATA --max-macs 4M --out OUT` does, and what its front.json holds.

python examples/transfer_from_python.py photos/textures runs/python
"""

import sys
from pathlib import Path

import nat


def main(data: str, out: str) -> None:
    """Transfers to the images of a folder and prints the front, cheapest net first."""
    options = nat.TransferOptions(data=data, max_macs=4_000_000, effort="quick", seed=0)
    report = nat.transfer(options, Path(out))  # a run that was stopped goes on with nat.resume(Path(out))
    for net in report["front"]:
        low, high = net["test_interval"]
        print(f"{net['id']}  {net['macs'] / 1e6:6.2f} M  test top-1 {net['test_top1']:.4f} ({low:.3f} to {high:.3f})")
    for sentence in report["verdict"]:
        print(sentence)
    best = max(report["front"], key=lambda net: net["finetuned_val_top1"])  # by validation: test images only report
    bundle = nat.load_bundle(Path(out) / "subnets" / best["id"])
    print(f"{bundle.path}: {len(bundle.labels)} classes, input {bundle.preprocess.crop} px")


if __name__ == "__main__":
    main(*sys.argv[1:])
