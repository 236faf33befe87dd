"""Which of the 125 measured cells DARTS, NASP and GDAS find on digits, and whether they beat drawing one.

    python benchmarks/oneshot_digits.py --results oneshot_digits.jsonl
    python benchmarks/oneshot_digits.py --results oneshot_digits.jsonl --table benchmarks/digits_cells.json

Each strategy searches with each seed on the 900 training images of the table (`digits_cells.py`): half of them train
weights, half the architecture; images that the table validates and tests with are never seen. A cell's percentile is
the share of the 125 cells whose accuracy, trained alone and averaged over the table's seeds, is lower, ties counting
half: 50 is what a cell drawn at random has on average. NASP is also run with its complexity term, for the parameters
of what it finds. Rates are not the published ones, which would hardly move an architecture in so few steps.

Searches are written to `--results` as they end and not repeated. Without `--table` only what was found is printed.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nat.oneshot.base import Settings, Strategy
from nat.oneshot.cells import search_cells
from nat.oneshot.darts import Darts
from nat.oneshot.gdas import Gdas
from nat.oneshot.nasp import Nasp
from nat.supernet.cells.mixed import choice_name
from nat.supernet.cells.network import DIGITS
from nat.supernet.cells.space import cell_spaces

SPACE = cell_spaces()["digits"]
TRAIN = 900
STRATEGIES: dict[str, Strategy] = {
    "darts1": Darts(1),
    "darts2": Darts(2),
    "nasp": Nasp(),
    "gdas": Gdas(),
    "nasp eta=0.1": Nasp(eta=0.1),
    "nasp eta=1": Nasp(eta=1.0),
}
DRAWS = 20_000


def main() -> int:
    """Searches what is missing and prints."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    settings = Settings(epochs=options.epochs, learning_rate=0.1, architecture_rate=0.02)
    rows = searched(options.results, options.strategies, options.seeds, settings)
    print_found(rows)
    if options.table:
        print_percentiles(rows, json.loads(options.table.read_text(encoding="utf-8")), options.seeds)
    return 0


def searched(path: Path, names: list[str], seeds: int, settings: Settings) -> list[dict[str, Any]]:
    """One search a row; those in the file with the same settings are not repeated."""
    done = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    done = [row for row in done if row["settings"] == json.loads(json.dumps(asdict(settings)))]
    images, labels = load_digits(return_X_y=True)
    rows, _ = train_test_split(np.arange(len(labels)), train_size=TRAIN, random_state=0, stratify=labels)
    scaled = torch.from_numpy((images[rows] - images[rows].mean()) / images[rows].std()).float()
    data = scaled.reshape(-1, 1, 8, 8).repeat(1, 3, 1, 1), torch.from_numpy(labels[rows])
    for seed in range(seeds):
        for name in names:
            if not any((row["strategy"], row["seed"]) == (name, seed) for row in done):
                start = time.process_time()
                found = search_cells(*data, SPACE, STRATEGIES[name], form=DIGITS, settings=settings, seed=seed)
                derived = found.history[found.epoch].derived
                sizes = found.trainer.state.choices.sizes or {}
                done.append(
                    {
                        "strategy": name,
                        "seed": seed,
                        "settings": asdict(settings),
                        "id": found.genotype.id,
                        "operations": [derived[choice_name("normal", *edge)] for edge in SPACE.edges],
                        "skips": found.history[found.epoch].skips,
                        "entropy": found.history[found.epoch].entropy,
                        "params": sum(sizes[edge][SPACE.normal.index(op)] for edge, op in derived.items() if op),
                        "seconds": time.process_time() - start,
                    }
                )
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[-1]) + "\n")
                print(name, seed, done[-1]["operations"], file=sys.stderr, flush=True)
    return [row for row in done if row["seed"] < seeds and row["strategy"] in names]


def print_found(rows: list[dict[str, Any]]) -> None:
    """What each strategy found."""
    print(f"{'':14}{'skips':>6}{'params':>8}{'CPU s':>7}  operations (in->node, in->out, node->out)")
    for name in dict.fromkeys(row["strategy"] for row in rows):
        mine = [row for row in rows if row["strategy"] == name]
        skips, params, seconds = (np.mean([row[key] for row in mine]) for key in ("skips", "params", "seconds"))
        cells = "; ".join(",".join(row["operations"]) for row in mine)
        print(f"{name:14}{skips:6.1f}{params:8.0f}{seconds:7.1f}  {cells}")


def print_percentiles(rows: list[dict[str, Any]], table: dict[str, Any], seeds: int) -> None:
    """Percentiles of what was found, beside those of as many cells drawn at random."""
    mean = np.array([np.mean(cell["val_top1"]) for cell in table["cells"]])
    ranks = dict(zip([cell["id"] for cell in table["cells"]], rankdata(mean), strict=True))
    percentile = {cell: 100 * (rank - 0.5) / len(ranks) for cell, rank in ranks.items()}
    print(f"\n{'':14}{'mean percentile':>16}{'least':>7}{'most':>6}")
    for name in dict.fromkeys(row["strategy"] for row in rows):
        found = [percentile[row["id"]] for row in rows if row["strategy"] == name]
        print(f"{name:14}{np.mean(found):16.1f}{min(found):7.1f}{max(found):6.1f}")
    draws = np.random.default_rng(0).choice(list(percentile.values()), (DRAWS, seeds)).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{'random':14}{draws.mean():16.1f}   95 % of means of {seeds} draws: {low:.1f} to {high:.1f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="one search a line, to go on with")
    parser.add_argument("--table", type=Path, help="the measured cells, as digits_cells.py writes them")
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=5, help="searches of each")
    parser.add_argument("--epochs", type=int, default=10, help="of a search, of 7 steps each")
    return parser


if __name__ == "__main__":
    sys.exit(main())
