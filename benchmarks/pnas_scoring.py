"""CPU seconds that PNAS's predictors take to score what a beam of 256 is extended by, and to be fitted.

    python benchmarks/pnas_scoring.py --json

The last of five levels: 256 cells of four blocks, each with all 1,176 distinct blocks (2,304 before the halves of a
block count as one order, 589,824 in all). Ensembles of five; of the LSTM a share is timed.
"""

import argparse
import json
import time

import numpy as np
import torch

from nat.searchers.predictors import PredictorEnsemble, lstm, mlp
from nat.supernet.cells.blocks import BlockSpace

BEAM, STEPS, SHARE = 256, 20, 100


def main() -> None:
    """Measures as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    space, rng = BlockSpace(5), np.random.default_rng(0)
    beam = np.unique(space.draw(BEAM, rng)[:, :16], axis=0)
    candidates = space.expand(beam)
    found: dict[str, float] = {"candidates": len(candidates)}
    cases: list[tuple[str, PredictorEnsemble, int]] = [
        ("mlp", mlp(space.vocabulary, steps=STEPS), 1),
        ("lstm", lstm(space.vocabulary, steps=STEPS), SHARE),
    ]
    for name, predictor, share in cases:
        started = time.process_time()
        predictor.fit([space.first()], [rng.random(136)])
        fitted = time.process_time()
        predictor.predict(candidates[::share])
        found[f"{name}_fit_step"] = round((fitted - started) / STEPS / len(predictor.networks), 5)
        found[f"{name}_score_all"] = round(share * (time.process_time() - fitted), 2)
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
