"""How well the surrogates rank networks that they have not seen, on tables of measured subnets.

    python benchmarks/surrogates.py --table measured.csv more.csv --n 100 200 300 --seeds 5

A table has the columns `Sub-network` (a Python literal with `ks`, `e`, `d` and `r`, as once-for-all writes them) and
`Top-1 Acc (%)`; DyNAS-T (https://github.com/IntelLabs/DyNAS-T) publishes such tables of the once-for-all MobileNetV3
supernet. Rows of one architecture are averaged. Each surrogate is trained on n random networks and judged by Kendall's
tau on all the others, the mean over the seeds.
"""

import argparse
import ast
import csv
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.surrogates import CubicRBF, GaussianProcess, Surrogate, SwitchingSurrogate

Floats = NDArray[np.float64]
SURROGATES: dict[str, Callable[[], Surrogate]] = {
    "rbf": CubicRBF,
    "gp": GaussianProcess,
    "switching": SwitchingSurrogate,
}
DEFAULT = "gp"
KERNELS = (3, 5, 7)
EXPANDS = (3, 4, 6)
SLOTS = 4


def main() -> int:
    """Runs the benchmark as the command line says; 0, or 2 if a table cannot be used."""
    options = _parser().parse_args()
    try:
        features, targets = read_tables(options.table)
        too_many = [n for n in options.n if not 1 <= n <= len(targets) - 2]
        if too_many:
            raise InputError(f"expected 1 to {len(targets) - 2} networks to train on, got {too_many[0]}.")
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    taus: dict[str, dict[str, float]] = {}
    if not options.json:
        print(f"{len(targets)} networks; Kendall's tau on unseen ones, mean of {options.seeds} draws")
        print(f"{'':12}" + "".join(f"{f'n={n}':>9}" for n in options.n) + f"{'s a fit':>9}")
    for name, make in SURROGATES.items():
        start = time.perf_counter()
        taus[name] = {str(n): mean_tau(make(), features, targets, n, options.seeds) for n in options.n}
        seconds = (time.perf_counter() - start) / (options.seeds * len(options.n))
        if not options.json:
            print(f"{name:12}" + "".join(f"{tau:9.4f}" for tau in taus[name].values()) + f"{seconds:9.2f}")
    if options.json:
        print(json.dumps({"default": DEFAULT, "tau": taus}))
    return 0


def mean_tau(surrogate: Surrogate, features: Floats, targets: Floats, n: int, seeds: int) -> float:
    """Kendall's tau on what a draw of n leaves, averaged over draws with seeds 0, 1, ..."""
    taus = []
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(len(targets))
        surrogate.fit(features[drawn[:n]], targets[drawn[:n]])
        predicted, _ = surrogate.predict(features[drawn[n:]])
        taus.append(float(kendalltau(predicted, targets[drawn[n:]]).statistic))
    return statistics.fmean(taus)


def read_tables(paths: list[Path]) -> tuple[Floats, Floats]:
    """Features `(n, d)` and top-1 errors `(n,)` of the distinct networks of some tables.

    Raises:
        InputError: a column is missing, or a row is not an architecture with an accuracy.
    """
    accuracies: dict[Architecture, list[float]] = defaultdict(list)
    for path in paths:
        with path.open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    architecture = Architecture.from_json(ast.literal_eval(row["Sub-network"]))
                    accuracies[architecture].append(float(row["Top-1 Acc (%)"]))
                except (KeyError, ValueError, SyntaxError, TypeError) as error:
                    raise InputError(f"cannot read line {number} of '{path}': {error!r}.") from error
    features = np.array([encode(architecture) for architecture in accuracies])
    return features, np.array([1.0 - statistics.fmean(values) / 100.0 for values in accuracies.values()])


def encode(architecture: Architecture) -> Floats:
    """Kernel and expand ratio of each slot, shape `(2 * stages * 4,)`: 1/3, 2/3 or 1, and 0 for absent layers."""
    slots = np.zeros((len(architecture.depths), SLOTS, 2))
    layers = iter(zip(architecture.kernels, architecture.expands, strict=True))
    for stage, depth in enumerate(architecture.depths):
        for slot in range(depth):
            kernel, expand = next(layers)
            slots[stage, slot] = (KERNELS.index(kernel) + 1) / 3, (EXPANDS.index(int(expand)) + 1) / 3
    return slots.ravel()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="CSV files of measured subnets")
    parser.add_argument("--n", type=int, nargs="+", default=[100, 200, 300], help="how many to train on")
    parser.add_argument("--seeds", type=int, default=5, help="number of draws")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
