"""What `--balance` is worth on a folder made hard on purpose, with three classes at a twentieth of the others' images.

    python benchmarks/hard_folder.py flowers/ --results hard_folder.jsonl
    python benchmarks/hard_folder.py caltech/ --classes 10 --most 120 --results hard_caltech.jsonl

FOLDER has train/ and test/ of class sub-folders. The hard folder (`hard_images.py`) is made anew each time; its test
images are not uneven. Each transfer is a small one; what is told is the mean over the nets of its front. Transfers are
written to `--results` as they end, and not repeated.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hard_images import harden
from rich.console import Console
from rich.table import Table

from nat.datasets.balance import MODES
from nat.files import read_json
from nat.options import TransferOptions
from nat.pipeline import transfer

AMOUNTS: dict[str, bool | int | float | str] = {
    **{"initial": 8, "rounds": 1, "per_round": 4, "archive": 8, "front": 2, "controls": "none"},
    **{"first_training": "100 steps", "round_training": "20 steps", "finetuning": "300 steps", "batch": 32},
}
Balance = Literal["none", "sampler", "loss", "auto"]
KEYS = ("balanced_accuracy", "rare_recall", "common_recall", "top1")


def measured(data: Path, rare: list[str], balance: Balance, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One transfer: means over the nets of its front, of test images, and CPU seconds."""
    options = TransferOptions(
        data=str(data), supernet=arguments.supernet, balance=balance, seed=seed, threads=1, device="cpu",
        resolutions=(arguments.resolution,), overrides=AMOUNTS,
    )  # fmt: skip
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        transfer(options, run)
        bundles = [path for path in sorted((run / "subnets").iterdir()) if path.is_dir()]
        told = [(read_json(path / "metrics.json")["test"], read_json(path / "labels.json")) for path in bundles]
    rows = []
    for test, labels in told:
        is_rare = np.array([label in rare for label in labels])
        recalls = np.array(test["recalls"])
        rows.append([test["balanced_accuracy"], recalls[is_rare].mean(), recalls[~is_rare].mean(), test["top1"]])
    means = dict(zip(KEYS, np.mean(rows, axis=0).tolist(), strict=True))
    key = {"balance": balance, "seed": seed, "data": arguments.folder.name}
    return {**key, **means, "nets": len(rows), "cpu_seconds": time.process_time() - started}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The transfers that are done."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def show(rows: list[dict[str, Any]]) -> None:
    """Means and standard deviations over seeds, by balance."""
    table = Table("balance", "seeds", *(key.replace("_", " ") for key in KEYS), "CPU s")
    for balance in dict.fromkeys(row["balance"] for row in rows):
        own = [row for row in rows if row["balance"] == balance]
        cells = [np.array([row[key] for row in own]) for key in KEYS]
        shown = [f"{values.mean():.3f} ± {values.std(ddof=len(own) > 1):.3f}" for values in cells]
        table.add_row(balance, str(len(own)), *shown, f"{np.mean([row['cpu_seconds'] for row in own]):.0f}")
    Console().print(table)


def main() -> None:
    """Makes the folder, runs what is not done, and prints a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="image folder with train/ and test/")
    parser.add_argument("--results", type=Path, required=True, help="one transfer a line, to go on with")
    parser.add_argument("--balances", nargs="+", choices=MODES, default=["none", "auto", "sampler", "loss"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--classes", type=int, default=5, help="how many are used, the largest")
    parser.add_argument("--most", type=int, default=400, help="training images of a class")
    parser.add_argument("--share", type=float, default=0.05, help="of them, training images of a rare class")
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--supernet", default="tiny-small")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, seeds = Path(folder) / "my hard [b]images ü", range(arguments.seeds)
        sizes = {"classes": arguments.classes, "most": arguments.most, "rare": 3, "share": arguments.share}
        rare = harden(arguments.folder, data, **sizes)
        for seed, balance in ((seed, balance) for seed in seeds for balance in arguments.balances):
            if any((row["balance"], row["seed"]) == (balance, seed) for row in read_rows(arguments.results)):
                continue
            row = measured(data, rare, balance, seed, arguments)
            with arguments.results.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
    rows = read_rows(arguments.results)
    print(json.dumps(rows)) if arguments.json else show(rows)


if __name__ == "__main__":
    main()
