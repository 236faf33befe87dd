"""Which choices matter: what the surrogate, fitted to a run's evaluations, expects of the least and greatest of each.

A partial dependence (Friedman, Greedy function approximation, Annals of Statistics, 2001): in each of up to `SUBNETS`
evaluated subnets one gene is set to its least and to its greatest choice, all others staying, and the predicted
errors are compared. It tells more than marginal means of the archive, in which genes are confounded: a search
evaluates wide nets that are deep as well. The standard deviation is the surrogate's, of the mean difference, with all
covariances; it says what the evaluations leave open, not how wrong the model may be.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nat.archive import Evaluation
from nat.objectives import ERROR, MACS
from nat.problem import SearchProblem
from nat.supernet.searchable import Encodings
from nat.supernet.space import MobileNetSpace
from nat.surrogates import TrendGaussianProcess
from nat.surrogates.base import one_thread

SUBNETS = 40
LEAST = 10  # evaluations that a statement is based on
METHOD = "partial dependence of a Gaussian process"
PARTS = ("depth", "kernel", "expand")


def effects(problem: SearchProblem, evaluations: Sequence[Evaluation]) -> dict[str, Any] | None:
    """What each gene does to accuracy and multiply-adds between its least and greatest choice.

    Args:
        problem: of the search.
        evaluations: done, with one version of the weights.

    Returns:
        `method`, `evaluations` and `subnets` (how many of each), and `genes`: `name`, `stage` (from 1; None for the
        resolution), `part`, `low` and `high` as text, `gain`: change of top-1 accuracy, a fraction, `deviation`: of
        it, and `macs`: factor of the multiply-adds. None where there are too few evaluations, or no differences.
    """
    space = problem.space
    errors = np.array([evaluation.objectives[ERROR] for evaluation in evaluations])
    if not isinstance(space, MobileNetSpace) or len(errors) < LEAST or np.ptp(errors) == 0:
        return None
    encodings = problem.encodings_of(evaluations)
    model = TrendGaussianProcess()
    with one_thread():
        model.fit(space.features(encodings), errors)
        chosen = encodings[np.linspace(0, len(encodings) - 1, min(SUBNETS, len(encodings))).round().astype(int)]
        genes = [_effect(problem, space, model, *gene) for gene in _variants(space, chosen)]
    return {"method": METHOD, "evaluations": len(errors), "subnets": len(chosen), "genes": genes}


def _effect(
    problem: SearchProblem,
    space: MobileNetSpace,
    model: TrendGaussianProcess,
    says: dict[str, Any],
    low: Encodings,
    high: Encodings,
) -> dict[str, Any]:
    rows = space.features(np.concatenate([high, low]))
    weights = np.repeat([-1.0, 1.0], len(low)) / len(low)  # an error less is an accuracy more
    variance = weights @ model.covariance(rows) @ weights
    macs = MACS.values(problem.costs, high) / MACS.values(problem.costs, low)
    return {
        **says,
        "gain": float(weights @ model.predict(rows)[0]),
        "deviation": max(float(variance), 0.0) ** 0.5,
        "macs": float(np.exp(np.mean(np.log(macs)))),
    }


def _variants(space: MobileNetSpace, encodings: Encodings) -> Iterator[tuple[dict[str, Any], Encodings, Encodings]]:
    """Each gene that has a choice, with the encodings (n, genes) that have its least and its greatest one."""
    sizes = space.resolutions
    if len(sizes) > 1:
        ends = [encodings.copy(), encodings.copy()]
        ends[0][:, 0], ends[1][:, 0] = 0, len(sizes) - 1
        texts = {"low": f"{sizes[0]} px", "high": f"{sizes[-1]} px"}
        yield {"name": "input size", "stage": None, "part": "resolution", **texts}, ends[0], ends[1]
    for stage in range(space.num_stages):
        for part in PARTS:
            low, high = (_set(space, encodings, stage, part, top) for top in (False, True))
            if (low != high).any():
                texts = _texts(space, stage, part)
                yield {"name": f"stage {stage + 1} {part}", "stage": stage + 1, "part": part, **texts}, low, high


def _set(space: MobileNetSpace, encodings: Encodings, stage: int, part: str, top: bool) -> Encodings:
    """Encodings with one gene of a stage at its least or greatest choice; added layers are like the one before."""
    result = encodings.copy()
    depths, offset = space.stage_depths[stage], space.stage_offsets[stage]
    for layer in range(depths[-1]):
        slot, column = space.slots[offset + layer], 1 + offset + layer
        kernels, codes = len(slot.kernels), result[:, column]
        present = codes > 0
        if part == "depth":
            wanted = layer < (depths[-1] if top else depths[0])
            like = np.clip(result[:, column - 1], 1, space.upper[column]) if layer else codes
            result[:, column] = np.where(present, codes, like) if wanted else 0
        elif part == "kernel":
            code = (codes - 1) // kernels * kernels + (kernels if top else 1)
            result[:, column] = np.where(present, code, 0)
        else:
            code = (codes - 1) % kernels + 1 + ((len(slot.expands) - 1) * kernels if top else 0)
            result[:, column] = np.where(present, code, 0)
    return result


def _texts(space: MobileNetSpace, stage: int, part: str) -> dict[str, str]:
    """The ends of a gene's choices, over the layers of the stage."""
    offset, depths = space.stage_offsets[stage], space.stage_depths[stage]
    slots = space.slots[offset : offset + depths[-1]]
    if part == "depth":
        return {"low": f"{depths[0]}", "high": f"{depths[-1]} layers"}
    if part == "kernel":
        sides = min(slot.kernels[0] for slot in slots), max(slot.kernels[-1] for slot in slots)
        return {"low": f"{sides[0]}×{sides[0]}", "high": f"{sides[1]}×{sides[1]}"}
    least, most = min(slot.expands[0] for slot in slots), max(slot.expands[-1] for slot in slots)
    return {"low": f"×{least:g}", "high": f"×{most:g}"}
