"""Seeds out of an earlier run, and what they are said to have saved."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nat.archive import Archive, Evaluation, Proposal
from nat.errors import InputError
from nat.objectives import ERROR
from nat.problem import SearchProblem
from nat.run_folder import RunFolder
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits
from nat.supernet.space import MobileNetSpace
from nat.warm_start import gain, seeds_of

Draw = Callable[[int], list[Architecture]]
Evaluate = Callable[..., list[Evaluation]]


@pytest.fixture
def earlier(
    tmp_path: Path, space: MobileNetSpace, problem: SearchProblem, architectures: Draw, evaluate: Evaluate
) -> Path:
    """A run of 12 nets whose errors fall with their number."""
    nets = architectures(12)
    folder = RunFolder(tmp_path / "earlier")
    folder.create({"options": {"data": "digits"}, "space": space.to_json(), "data": {"classes": 3}})
    with Archive(folder.archive) as archive:
        for evaluation in evaluate(problem, nets, [0.9 - 0.05 * i for i in range(12)]):
            archive.add(evaluation)
    return folder.path


def test_seeds_are_the_best_with_what_they_had(earlier: Path, problem: SearchProblem, architectures: Draw) -> None:
    nets = architectures(12)
    seeds = seeds_of(earlier, problem, 12)
    assert {seed.architecture for seed in seeds} == set(nets)
    best = seeds_of(earlier, problem, 3)
    assert len(best) == 3 and nets[-1] in {seed.architecture for seed in best}, "the most accurate is never dominated"
    for seed in seeds:
        assert seed.mean == pytest.approx(0.9 - 0.05 * nets.index(seed.architecture)) and seed.deviation is None


def test_sizes_are_translated_and_limits_kept(earlier: Path, problem: SearchProblem, space: MobileNetSpace) -> None:
    other = SearchProblem(CostTable(space.with_resolutions([48, 64, 96]), 3))
    sizes = {seed.architecture.resolution for seed in seeds_of(earlier, other, 12)}
    assert sizes == {48, 96}, "the lesser of two is the least of three, the greater the greatest"
    median = sorted(problem.costs.of(seed.architecture)[0] for seed in seeds_of(earlier, problem, 12))[6]
    limited = replace(problem, limits=Limits(max_macs=median))
    kept = seeds_of(earlier, limited, 12)
    assert kept and all(problem.costs.of(seed.architecture)[0] <= median for seed in kept)


def test_another_space_is_refused(earlier: Path) -> None:
    wide = MobileNetSpace(1.0, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))
    with pytest.raises(InputError, match="--warm-start"):
        seeds_of(earlier, SearchProblem(CostTable(wide, 3)), 4)


def test_the_gain_is_told_by_comparison(problem: SearchProblem, architectures: Draw, evaluate: Evaluate) -> None:
    nets = architectures(8)
    proposals = [*(Proposal(net, 0.1 * i) for i, net in enumerate(nets[:4])), *map(Proposal, nets[4:])]
    good = evaluate(problem, nets, [0.1, 0.2, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9])
    found = gain(problem, proposals, good)
    assert found is not None
    assert (found["seeds"], found["fresh"]) == (4, 4) and found["kendall_tau"] == pytest.approx(1.0)
    assert found["hypervolume_of_seeds"] > found["hypervolume_of_fresh"] > 0
    assert found["evaluations_saved"] >= 1
    poor = evaluate(problem, nets, [0.99, 0.99, 0.99, 0.99, 0.1, 0.1, 0.1, 0.1])
    nothing = gain(problem, proposals, poor)
    assert nothing is not None and nothing["evaluations_saved"] is None and "saved nothing" in nothing["says"]
    assert gain(problem, proposals[4:], good) is None
    assert {e.objectives[ERROR] for e in good} == {0.1, 0.2, 0.3, 0.4, 0.9}
