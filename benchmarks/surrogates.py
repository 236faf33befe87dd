"""How well the surrogates rank networks that they have not seen, on tables of measured subnets.

    python benchmarks/surrogates.py --table measured.csv more.csv --n 100 200 300 --seeds 5

A table has the columns `Sub-network` (a Python literal with `ks`, `e`, `d` and `r`, as once-for-all writes them) and
`Top-1 Acc (%)`; DyNAS-T (https://github.com/IntelLabs/DyNAS-T) publishes such tables of the once-for-all MobileNetV3
supernet. Rows of one architecture are averaged. Each surrogate is trained on n random networks, described as
`nat transfer` describes them, and judged by Kendall's tau on all the others, the mean over the seeds; with `--unseen`
on the networks of other tables instead. Times are of the processor.
"""

import argparse
import ast
import csv
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nat.errors import InputError
from nat.supernet.architecture import Architecture
from nat.supernet.space import MobileNetSpace
from nat.surrogates import SURROGATES, Surrogate, TrendGaussianProcess

Floats = NDArray[np.float64]
PREDICTIONS = 10_000


def main() -> int:
    """Runs the benchmark as the command line says; 0, or 2 if a table cannot be used."""
    options = _parser().parse_args()
    try:
        known = read_tables(options.table)
        unseen = {} if options.unseen is None else read_tables(options.unseen)
        too_many = [n for n in options.n if not 1 <= n <= len(known) - 2]
        if too_many:
            raise InputError(f"expected 1 to {len(known) - 2} networks to train on, got {too_many[0]}.")
        features, errors = described({**known, **unseen})
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not options.json:
        print(f"{len(known)} networks; Kendall's tau on unseen ones, mean of {options.seeds} draws")
        heads = [*(f"n={n}" for n in options.n), "s a fit", f"s for {PREDICTIONS}"]
        print(f"{'':14}" + "".join(f"{head:>12}" for head in heads))
    elsewhere = np.array([net in unseen for net in {**known, **unseen}])
    judge = Judge(
        features, errors, len(known), elsewhere, range(options.first_seed, options.first_seed + options.seeds)
    )
    taus: dict[str, dict[str, float]] = {}
    for make in SURROGATES.values():
        if options.only and make().name not in options.only:
            continue
        surrogate, judge.seconds_to_fit = make(), 0.0
        taus[surrogate.name] = {str(n): judge.mean_tau(surrogate, n) for n in options.n}
        if not options.json:
            fit, predict = judge.seconds_to_fit / (options.seeds * len(options.n)), judge.seconds_to_predict(surrogate)
            row = "".join(f"{tau:12.4f}" for tau in taus[surrogate.name].values())
            print(f"{surrogate.name:14}{row}{fit:12.2f}{predict:12.2f}", flush=True)
    if options.json:
        print(json.dumps({"default": TrendGaussianProcess.name, "tau": taus}))
    return 0


class Judge:
    """Draws networks to train on, and ranks the others.

    Args:
        features: of all networks, shape (n, d).
        errors: their top-1 errors, shape (n,).
        known: how many rows, from the first on, may be trained on.
        elsewhere: rows to judge by; where there are none, all those that were not drawn.
        seeds: one draw each.

    Attributes:
        seconds_to_fit: processor time of all fits.
    """

    def __init__(
        self, features: Floats, errors: Floats, known: int, elsewhere: NDArray[np.bool_], seeds: range
    ) -> None:
        self.features, self.errors, self.known, self.elsewhere = features, errors, known, elsewhere
        self.seeds = seeds
        self.seconds_to_fit = 0.0

    def mean_tau(self, surrogate: Surrogate, n: int) -> float:
        """Kendall's tau on what draws of n leave, averaged."""
        return statistics.fmean(self._tau(surrogate, n, seed) for seed in self.seeds)

    def _tau(self, surrogate: Surrogate, n: int, seed: int) -> float:
        drawn = np.random.default_rng(seed).permutation(self.known)[:n]
        left = np.ones(len(self.errors), bool) if not self.elsewhere.any() else self.elsewhere.copy()
        left[drawn] = False
        start = time.process_time()
        surrogate.fit(self.features[drawn], self.errors[drawn])
        self.seconds_to_fit += time.process_time() - start
        predicted, _ = surrogate.predict(self.features[left])
        return float(kendalltau(predicted, self.errors[left]).statistic)

    def seconds_to_predict(self, surrogate: Surrogate) -> float:
        """Processor time of 10,000 predictions."""
        many, start = np.resize(self.features, (PREDICTIONS, self.features.shape[1])), time.process_time()
        surrogate.predict(many)
        return time.process_time() - start


def described(networks: dict[Architecture, float]) -> tuple[Floats, Floats]:
    """Features (n, d), as searches have them, and errors (n,)."""
    width = next(iter(networks)).width
    space = MobileNetSpace(width=width)
    sizes = {network.resolution for network in networks}
    space = space if sizes <= set(space.resolutions) else space.with_resolutions(sizes.union(space.resolutions))
    return space.features(space.encode(list(networks))), np.array(list(networks.values()))


def read_tables(paths: list[Path]) -> dict[Architecture, float]:
    """Top-1 errors of the distinct networks of some tables.

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
    return {network: 1.0 - statistics.fmean(values) / 100.0 for network, values in accuracies.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="CSV files of measured subnets")
    parser.add_argument("--unseen", type=Path, nargs="+", help="CSV files to judge by, instead of the rest of --table")
    parser.add_argument("--n", type=int, nargs="+", default=[100, 200, 300], help="how many to train on")
    parser.add_argument("--seeds", type=int, default=5, help="number of draws")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--only", nargs="+", help="names of the surrogates to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
