"""What several seeds of two strategies tell: means, deviations, paired differences, and how sure they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from nat.bootstrap import LEVEL, interval, resampled

Floats = NDArray[np.float64]


def summary(values: Mapping[int, float]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) of values by seed; None where there are too few."""
    numbers = list(values.values())
    return {
        "mean": float(np.mean(numbers)) if numbers else None,
        "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        "values": {str(seed): value for seed, value in values.items()},
    }


def difference(
    ours: Mapping[int, float], theirs: Mapping[int, float], images: Sequence[Floats] = ()
) -> dict[str, Any] | None:
    """By how much one strategy is above another, seed by seed: the same seed means the same split and first weights.

    The interval is Student's for the mean of the paired differences, which takes them as normal. Where it is told on
    which images the two differ, the interval holds the paired bootstrap over images too: seeds that happen to agree do
    not make a difference of one image certain.

    Args:
        ours: values by seed.
        theirs: those of the other.
        images: for each seed, the difference on each image, shape (n,), if the values are means over images.

    Returns:
        `mean`; `interval`, [low, high] at 95 %, None with one seed; `seeds`, how many both have; `better`, whether all
        of the interval is above zero. None if they have no seed in common.
    """
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return None
    values = np.array([ours[seed] - theirs[seed] for seed in seeds])
    mean, bounds = float(values.mean()), student_interval(values)
    if bounds is not None and images:
        low, high = interval(np.mean([resampled(gaps[None])[:, 0] for gaps in images], axis=0))
        bounds = [min(bounds[0], low), max(bounds[1], high)]
    return {
        "mean": mean,
        "interval": bounds,
        "seeds": len(seeds),
        "better": bounds is not None and bounds[0] > 0,
        "worse": bounds is not None and bounds[1] < 0,
    }


def student_interval(values: Floats, level: float = LEVEL) -> list[float] | None:
    """Student's interval for the mean of values, shape (n,): [low, high]; None for fewer than two."""
    if len(values) < 2:
        return None
    reach = student.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - reach), float(values.mean() + reach)]


def sentence(name: str, volume: dict[str, Any] | None, accuracy: dict[str, Any] | None) -> str:
    """How a strategy compares with random search, in words.

    Args:
        name: of the strategy.
        volume: `difference` of hypervolumes.
        accuracy: `difference` of test accuracies of retrained nets.
    """
    if volume is None or accuracy is None:
        return f"{name}: there is no seed in which both it and random search came to their end within every budget."
    seeds = accuracy["seeds"]
    if seeds < 2:
        return f"{name}: one seed tells nothing of chance, so it is not said to beat random search. Raise --seeds."
    found = [
        f"retrained test accuracy {_signed(accuracy, 100, 2)} points",
        f"hypervolume {_signed(volume, 1, 4)}",
    ]
    better = [what for what, gap in (("accuracy", accuracy), ("hypervolume", volume)) if gap["better"]]
    worse = [what for what, gap in (("accuracy", accuracy), ("hypervolume", volume)) if gap["worse"]]
    says = []
    if better:
        says.append(f"better than random search in {' and '.join(better)}")
    if worse:
        says.append(f"worse than random search in {' and '.join(worse)}")
    verdict = ", ".join(says) or f"no better than random search, as far as {seeds} seeds can tell"
    return f"{name}: {verdict} ({'; '.join(found)})."


def _signed(gap: dict[str, Any], scale: float, digits: int) -> str:
    low, high = (f"{scale * bound:+.{digits}f}" for bound in gap["interval"])
    return f"{scale * gap['mean']:+.{digits}f} [{low}, {high}]"
