"""What searches by gradients derive at each price of multiply-adds, against random subnets of the same cost.

uv run python benchmarks/elastic_prices.py digits --resolution 24 --steps 80

Price 0 has no term of cost: it shows whether accuracy alone leads to the largest subnet. Errors are those of validation
images with the supernet's weights. Each derived subnet is compared with the random ones of the same supernet that are
nearest in multiply-adds.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from nat.archive import Archive
from nat.job import Job
from nat.oneshot.relaxation import select
from nat.options import TransferOptions
from nat.plan import Plan
from nat.progress import Silence
from nat.run_folder import RunFolder
from nat.search import Search
from nat.searchers import DartsSearcher, GdasSearcher, NaspSearcher
from nat.searchers.differentiable import PRICES, DifferentiableSearcher
from nat.supernet.categories import Categories
from nat.supernet.sampling import sample_stratified
from nat.supernet.training import Schedule, WeightTrainer

STRATEGIES: dict[str, type[DifferentiableSearcher]] = {
    "darts": DartsSearcher,
    "nasp": NaspSearcher,
    "gdas": GdasSearcher,
}
NEAREST = 6


def trained(job: Job, searcher: DifferentiableSearcher, steps: int, archive: Path) -> None:
    """A search of one round, for its training."""
    plan = Plan(2, 0, 1, 2, steps, 0, job.options.seed)
    trainer = WeightTrainer(job.supernet, Schedule(job.amounts.learning_rate, steps, 10))
    streams = [job.stream(job.options.seed, images) for images in (job.weight_images, job.held_out)]
    with Archive(archive) as rows:
        search = Search(
            job.problem,
            searcher,
            plan,
            trainer,
            streams[0],
            job.evaluator(),
            rows,
            archive.with_suffix(".pt"),
            held_out=streams[1],
        )
        search.run()


def judged(job: Job, searcher: DifferentiableSearcher, randoms: int) -> list[dict[str, float]]:
    """Of each price: the derived subnet's place between the smallest and the largest, and errors, its own and near."""
    space, costs, evaluator = job.space, job.problem.costs, job.evaluator()
    sampled = sample_stratified(costs, randoms, np.random.default_rng(job.options.seed))
    macs = np.log(costs.macs(sampled))
    errors = np.array([evaluator.top1_error(job.supernet, net) for net in space.decode(sampled)])
    low, high = np.log(costs.macs(space.encode([space.smallest(), space.largest()])))
    rows = []
    for price, parameters in zip(searcher.prices, searcher.sets, strict=True):
        best = select(parameters, torch.Generator().manual_seed(0))
        picks = {name: np.array([option]) for name, option in best.items()}
        row = Categories(space).encodings(picks, np.zeros(1, dtype=np.intp))
        own = float(np.log(costs.macs(row))[0])
        near = errors[np.argsort(np.abs(macs - own))[:NEAREST]]
        error = evaluator.top1_error(job.supernet, space.decode(row)[0])
        place = (own - low) / (high - low)
        rows.append({"price": price, "place": float(place), "error": error, "near": float(near.mean())})
    return rows


def main(
    data: Annotated[str, typer.Argument(help="A data set, as `nat transfer` takes it.")],
    resolution: Annotated[int, typer.Option(help="The one input size.")] = 24,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 80,
    randoms: Annotated[int, typer.Option(help="Random subnets of each supernet.")] = 24,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Of the strategies.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Trains each strategy's parameters and judges what they derive."""
    results = {}
    for name in only or STRATEGIES:
        options = TransferOptions(data=data, searcher=name, resolutions=(resolution,), seed=seed, threads=1)
        with tempfile.TemporaryDirectory() as folder:
            job = Job(options, RunFolder(Path(folder)), Silence())
            searcher = STRATEGIES[name](prices=(0.0, *PRICES))
            trained(job, searcher, steps, Path(folder) / "archive.sqlite")
            results[name] = judged(job, searcher, randoms)
        if not json_:
            print(f"{name}: price, place between smallest (0) and largest (1), error, error of random ones nearby")
            for row in results[name]:
                print("  {price:<6} {place:.2f}  {error:.3f}  {near:.3f}".format(**row), flush=True)
    if json_:
        print(json.dumps(results))


if __name__ == "__main__":
    typer.run(main)
