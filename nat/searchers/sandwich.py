"""The steps by which the strategies adapt shared weights: two anchors and two drawn architectures each."""

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from nat.errors import TransferError
from nat.problem import SearchProblem
from nat.searchers.base import AdaptationSteps
from nat.supernet.architecture import Architecture
from nat.supernet.sampling import sample_uniform
from nat.supernet.space import Encodings
from nat.supernet.training import sandwich_step

LABEL_SMOOTHING = 0.1
DRAWN = 2
PASSES = 2.0 + DRAWN  # of a step: the anchors and what is drawn


def no_more(step: int, resolution: int) -> None:
    """What most strategies do after a step of the weights."""


def anchors(problem: SearchProblem, pool: Encodings) -> list[Architecture]:
    """The most and the least costly architecture of the pool (n, genes); one if they are the same."""
    macs = problem.costs.macs(pool)
    rows = dict.fromkeys([int(np.argmax(macs)), int(np.argmin(macs))])
    return problem.space.decode(pool[list(rows)])


def train_sandwich(
    adaptation: AdaptationSteps,
    problem: SearchProblem,
    pool: Encodings,
    draw: Callable[[Generator], Encodings],
    then: Callable[[int, int], None] = no_more,
) -> None:
    """Takes all steps granted, each with the anchors of the pool and drawn architectures, all at one drawn resolution.

    Every resolution of the pool has the same chance: drawn by their share, those that lag would fall behind for good.

    The most costly one learns from the labels and teaches the others (sandwich rule with in-place distillation; NAT
    itself trains one architecture a step).

    Args:
        adaptation: steps, batches and trainer.
        problem: space and costs.
        pool: encodings whose extremes are the anchors, shape (n, genes).
        draw: gives some encodings, shape (k, genes).
        then: called after each step with its number and its resolution.
    """
    ends = anchors(problem, pool)
    resolutions = sorted({architecture.resolution for architecture in problem.space.decode(pool)})
    for step in adaptation.steps():
        rng = adaptation.rng(step)
        drawn = problem.space.decode(draw(rng))
        resolution = int(rng.choice(resolutions))
        images, labels = adaptation.batch(step, resolution)
        loss = sandwich_step(adaptation.trainer, images, labels, [*ends, *drawn], label_smoothing=LABEL_SMOOTHING)
        if not math.isfinite(loss):
            raise TransferError(f"the supernet's training diverged at step {step}: lower learning_rate.")
        then(step, resolution)


def train_pool(adaptation: AdaptationSteps, problem: SearchProblem, pool: Encodings) -> None:
    """`train_sandwich` on a member of the pool and an architecture drawn uniformly: what is evaluated, and what may be.

    NAT draws both gene by gene from the pool. Pools begin as samples spread over the costs, which lean to the extremes
    of every choice; of four ways to draw, this one was the best by a little (benchmarks/adaptation_draws.py).
    """

    def draw(rng: Generator) -> Encodings:
        return np.concatenate([pool[rng.integers(len(pool), size=1)], allowed(problem, pool, 1, rng)])

    train_sandwich(adaptation, problem, pool, draw)


def allowed(problem: SearchProblem, pool: Encodings, count: int, rng: Generator) -> Encodings:
    """Uniformly drawn encodings within the limits, shape (count, genes); some of the pool where those are rare."""
    drawn = sample_uniform(problem.space, 64, rng)
    drawn = drawn[problem.allows(drawn)]
    return drawn[:count] if len(drawn) >= count else pool[rng.integers(len(pool), size=count)]
