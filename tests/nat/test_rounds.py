"""Records of rounds: how well predictions did on nets that were not evaluated before."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nat.archive import Archive, Evaluation, Proposal
from nat.fronts import front_hypervolume
from nat.objectives import ERROR
from nat.problem import SearchProblem
from nat.rounds import PARTS, newest_whole, quality, records
from nat.supernet.architecture import Architecture

Draw = Callable[[int], list[Architecture]]


def done(problem: SearchProblem, net: Architecture, error: float, round: int, version: int) -> Evaluation:
    macs, params = problem.costs.of(net)
    return Evaluation(net, {ERROR: error, "macs": float(macs), "params": float(params)}, round, version, 1.0)


def test_correlations_are_scipys_over_those_with_both(problem: SearchProblem, architectures: Draw) -> None:
    nets = architectures(12)
    rng = np.random.default_rng(0)
    mean, error = rng.random(10), rng.random(10)
    proposals = [Proposal(net, m, 0.1) for net, m in zip(nets, mean, strict=False)] + [Proposal(nets[10])]
    rows = [done(problem, net, e, 1, 1) for net, e in zip(nets, error, strict=False)]
    failed = Evaluation(nets[11], {}, 1, 1, error="x")
    found = quality([*proposals, Proposal(nets[11], 0.5, 0.1)], [*rows, failed])
    assert found["compared"] == 10
    assert found["kendall_tau"] == pytest.approx(kendalltau(mean, error).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(mean, error).statistic)
    assert found["bias"] == pytest.approx((error - mean).mean())


def test_a_calibrated_model_is_said_to_be_so(problem: SearchProblem, architectures: Draw) -> None:
    nets, rng = architectures(200), np.random.default_rng(0)
    proposals = [Proposal(net, 0.5, 0.02) for net in nets]
    rows = [done(problem, net, 0.5 + 0.02 * z, 0, 0) for net, z in zip(nets, rng.normal(size=len(nets)), strict=True)]
    found = quality(proposals, rows)
    assert found["within_50"] == pytest.approx(0.5, abs=0.1)
    assert found["within_90"] == pytest.approx(0.9, abs=0.06)
    assert found["rms_z"] == pytest.approx(1.0, abs=0.15)
    assert found["kendall_tau"] is None, "nothing was ranked"
    sure = quality([Proposal(net, 0.5, 0.002) for net in nets], rows)
    assert sure["within_90"] < 0.3 and sure["rms_z"] > 8


def test_no_prediction_no_judgement(problem: SearchProblem, architectures: Draw) -> None:
    nets = architectures(5)
    found = quality([Proposal(net) for net in nets], [done(problem, net, 0.5, 0, 0) for net in nets])
    assert found["compared"] == 0 and {found[key] for key in found if key != "compared"} == {None}


def test_records_follow_from_archive_and_events(problem: SearchProblem, architectures: Draw) -> None:
    nets = architectures(5)
    with Archive(":memory:") as archive:
        archive.add_proposals(0, [Proposal(net) for net in nets[:3]])
        for net in nets[:3]:
            archive.add(done(problem, net, 0.5, 0, 0))
        archive.add_proposals(1, [Proposal(nets[3], 0.4, 0.1), Proposal(nets[4], 0.4, 0.1)])
        second = [done(problem, nets[3], 0.3, 1, 1), done(problem, nets[0], 0.2, 1, 1)]
        for evaluation in second:
            archive.add(evaluation)
        archive.add(Evaluation(nets[4], {}, 1, 1, 1.0, error="no"))
        events = [
            {"event": "start", "seconds": 2.0, "elapsed": 5.0},
            {"event": "adapt", "round": 0, "seconds": 3.0, "elapsed": 8.0},
            {"event": "evaluate", "round": 0, "seconds": 1.0, "elapsed": 10.0},
            {"event": "propose", "round": 1, "seconds": 1.5, "elapsed": 12.0, "fit": 0.5, "evolve": 0.75},
            {"event": "evaluate", "round": 1, "seconds": 4.0, "elapsed": 17.0},
        ]
        assert len(records(problem, archive, events)) == 1, "as far as they tell, the time was up in round 1"
        first, last = records(problem, archive, [*events, {"event": "round", "round": 1}])
    assert (first["round"], first["proposed"], first["failed"], first["evaluations"]) == (0, 3, 0, 3)
    assert (last["round"], last["proposed"], last["failed"], last["evaluations"]) == (1, 2, 1, 5)
    assert last["hypervolume"] == front_hypervolume(problem, second), "of the newest weights alone"
    assert first["seconds"] == 10 and first["cost"] == dict(zip(PARTS, (3, 1, 0, 0, 1), strict=True))
    assert last["seconds"] == 17 and last["cost"] == dict(zip(PARTS, (0, 4, 0.5, 0.75, 1.75), strict=True))
    assert last["compared"] == 1 and last["bias"] == pytest.approx(-0.1)


def test_the_newest_whole_round_is_told_by_events_or_a_later_one(problem: SearchProblem, architectures: Draw) -> None:
    nets = architectures(6)
    with Archive(":memory:") as archive:
        assert newest_whole(archive, []) == []
        for net in nets[:2]:
            archive.add(done(problem, net, 0.5, 0, 0))
        assert {e.round for e in newest_whole(archive, [])} == {0}, "the first one, as far as it is"
        archive.add(done(problem, nets[2], 0.4, 1, 1))
        assert {e.round for e in newest_whole(archive, [])} == {0}, "round 1 may not be whole"
        assert {e.round for e in newest_whole(archive, [{"event": "round", "round": 1}])} == {1}
        archive.add_proposals(2, [Proposal(nets[3])])
        assert {e.round for e in newest_whole(archive, [])} == {1}, "round 2 has begun"
