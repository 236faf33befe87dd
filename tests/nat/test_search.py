"""The loop: what it does in each round, failures, and interruptions at every event."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nat.archive import Archive, Evaluation, Proposal
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.datasets.stream import Batching, TrainStream
from nat.errors import TransferError
from nat.evaluation import SubnetEvaluator
from nat.objectives import ERROR, Measured
from nat.plan import Pace, Plan, Speeds
from nat.problem import SearchProblem
from nat.search import Log, Search
from nat.searchers import SEARCHERS, NatSearcher, RandomSearcher, Searcher, TrainedSearcher
from nat.supernet.architecture import Architecture
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer

UNTRAINED = Plan(initial=6, rounds=3, per_round=3, archive=4, first_steps=0, round_steps=0, seed=0)
TRAINED = Plan(initial=3, rounds=1, per_round=2, archive=2, first_steps=2, round_steps=2, seed=0)
MakeSearch = Callable[..., Search]


class Stop(Exception):
    """Stands for any interruption."""


class Evaluator:
    """Errors by a rule, in no time; some architectures fail."""

    device = torch.device("cpu")

    def __init__(self, failing: Iterable[Architecture] = (), error: Exception | None = None) -> None:
        self.failing, self.error = set(failing), error or RuntimeError("out of memory")
        self.seen: list[Architecture] = []

    def errors(
        self, supernet: Supernet, architecture: Architecture, objectives: Iterable[Measured]
    ) -> dict[str, float]:
        return {ERROR: self.top1_error(supernet, architecture)}

    def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
        self.seen.append(architecture)
        if architecture in self.failing:
            raise self.error
        return 1.0 / (1 + sum(architecture.kernels) + sum(architecture.expands))


class Watched(NatSearcher):
    """Writes down what its surrogate is fitted on."""

    def __init__(self) -> None:
        super().__init__(population=8, generations=2)
        self.calls: list[list[Evaluation]] = []

    def propose(self, problem, evaluations, count, rng):  # type: ignore[no-untyped-def]
        self.calls.append(list(evaluations))
        return super().propose(problem, evaluations, count, rng)


@pytest.fixture
def make_search(problem: SearchProblem, make_splits: Callable[[int], Splits], tmp_path: Path) -> MakeSearch:
    """A search in the test's folder; what an earlier one left there is taken up."""
    splits = make_splits(3)

    def make(
        plan: Plan,
        evaluator: Evaluator | SubnetEvaluator,
        searcher: Searcher | None = None,
        log: Log = lambda event, seconds, detail: None,
        name: str = "search",
        **more: Any,
    ) -> Search:
        supernet = Supernet(problem.space, 3, generator=torch.Generator().manual_seed(0))
        trainer = WeightTrainer(supernet, Schedule(1e-3, max(1, plan.total_steps)))
        half = (0.5, 0.5, 0.5)
        batching = Batching(8, plan.seed, flip=False, min_crop_area=0.5, mean=half, std=half)
        search = Search(
            problem,
            searcher or NatSearcher(population=8, generations=2),
            plan,
            trainer,
            TrainStream(splits.train.subset(range(32)), batching),
            evaluator,  # type: ignore[arg-type]
            Archive(tmp_path / f"{name}.sqlite"),
            tmp_path / f"{name}.pt",
            log,
            held_out=TrainStream(splits.train.subset(range(32, 48)), batching),
            **more,
        )
        search.restore()
        return search

    return make


def rows(search: Search) -> list[tuple[object, ...]]:
    """All that an archive says, but times."""
    return [
        (e.architecture, dict(e.objectives), e.round, e.weights_version, e.error) for e in search.archive.evaluations()
    ]


def test_rounds_evaluate_proposals_and_the_best_again(make_search: MakeSearch, problem: SearchProblem) -> None:
    search = make_search(UNTRAINED, Evaluator())
    last = search.run()
    by_round = [[e for e in search.archive.evaluations() if e.round == k] for k in range(4)]
    assert [len(found) for found in by_round] == [6, 7, 7, 7]
    for earlier, later in pairwise(by_round):
        nets = [e.architecture for e in later]
        assert not set(nets[:3]) & {e.architecture for e in earlier}, "proposals are new"
        assert set(nets[3:]) < {e.architecture for e in earlier}, "the rest is from the round before"
        assert {e.weights_version for e in later} == {later[0].round}
    assert last == search.archive.at_version(3) == by_round[3]
    for evaluation in last:
        assert (evaluation.objectives["macs"], evaluation.objectives["params"]) == problem.costs.of(
            evaluation.architecture
        )


def test_failures_are_recorded_and_never_learnt_from(make_search: MakeSearch, problem: SearchProblem) -> None:
    smallest, largest = problem.space.smallest(), problem.space.largest()
    evaluator, searcher = Evaluator([smallest, largest], ValueError("a bad\nnet")), Watched()
    search = make_search(UNTRAINED, evaluator, searcher)
    last = search.run()
    failures = search.archive.failures()
    assert {smallest, largest} == {e.architecture for e in failures}
    assert all(not e.objectives and "ValueError: a bad" in str(e.error) for e in failures)
    assert last and not {e.architecture for e in last} & {smallest, largest}
    assert searcher.calls[0] == [] and len(searcher.calls) == 4
    for known in searcher.calls[1:]:
        assert known and all(ERROR in e.objectives and not e.failed for e in known)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_error_that_is_no_number_is_a_failure(make_search: MakeSearch, problem: SearchProblem, value: float) -> None:
    class Broken(Evaluator):
        def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
            good = super().top1_error(supernet, architecture)
            return value if architecture == problem.space.smallest() else good

    search = make_search(UNTRAINED, Broken())
    search.run()
    assert {e.architecture for e in search.archive.failures()} == {problem.space.smallest()}


def test_a_search_without_any_result_says_why(make_search: MakeSearch) -> None:
    class Broken(Evaluator):
        def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
            raise MemoryError("no room")

    search = make_search(UNTRAINED, Broken())
    with pytest.raises(TransferError, match=r"none of 6 subnets.*MemoryError: no room"):
        search.run()
    assert len(search.archive.failures()) == 6


def test_a_round_that_failed_whole_is_tried_again(make_search: MakeSearch, problem: SearchProblem) -> None:
    class Broken(Evaluator):
        def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
            raise MemoryError("no room")

    search = make_search(UNTRAINED, Broken())
    with pytest.raises(TransferError, match="resume tries all again"):
        search.run()
    search.archive.close()
    again = make_search(UNTRAINED, Evaluator([problem.space.smallest()]))
    again.run()
    whole = make_search(UNTRAINED, Evaluator([problem.space.smallest()]), name="whole")
    whole.run()
    assert rows(again)[6:] == rows(whole)


def test_mistakes_in_the_code_are_not_taken_for_bad_nets(make_search: MakeSearch, problem: SearchProblem) -> None:
    """Nor do they end a search that goes on with all other nets: they are failures, listed with their kind."""
    search = make_search(UNTRAINED, Evaluator([problem.space.smallest()], AttributeError("a typo")))
    assert problem.space.smallest() not in {evaluation.architecture for evaluation in search.run()}
    (failure,) = search.archive.failures()
    assert failure.architecture == problem.space.smallest() and failure.error == "AttributeError: a typo"


def real_evaluator(splits: Splits) -> SubnetEvaluator:
    def preprocessing(resolution: int) -> Preprocess:
        return Preprocess.for_resolution(resolution, 1.0, (0.5,) * 3, (0.5,) * 3)

    return SubnetEvaluator(splits.train, splits.val, preprocessing, calibration_images=16)


def make_searcher(name: str) -> Searcher:
    return NatSearcher(population=8, generations=2) if name == "nat" else SEARCHERS[name]()


def check_same_state(ours: Searcher, theirs: Searcher) -> None:
    """What strategies train is equal to the last digit."""
    if isinstance(ours, TrainedSearcher) and isinstance(theirs, TrainedSearcher):
        assert ours.state_dict(), "it was trained"
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["nat", "random", "darts", "nasp", "gdas"])
def test_stopped_after_every_event_it_ends_the_same(
    make_search: MakeSearch, make_splits: Callable[[int], Splits], name: str
) -> None:
    """The loop is left at its first event, at the second of what is then left, then always at the third."""
    evaluator = real_evaluator(make_splits(3))
    whole = make_search(TRAINED, evaluator, make_searcher(name), name="whole")
    whole.run()
    stops = 0
    for limit in range(1, 40):
        count = 0

        def log(event: str, seconds: float, detail: dict[str, object], limit: int = min(limit, 3)) -> None:
            nonlocal count
            count += 1
            if count == limit:
                raise Stop

        search = make_search(TRAINED, evaluator, make_searcher(name), log, name="stopped")
        try:
            search.run()
            break
        except Stop:
            stops += 1
            search.archive.close()
    assert stops >= 3
    assert rows(search) == rows(whole)
    ours, theirs = search.supernet.state_dict(), whole.supernet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    check_same_state(search.searcher, whole.searcher)


@pytest.mark.parametrize("kind", ["nat", "nasp"])
def test_stopped_in_the_middle_of_an_adaptation_it_ends_the_same(
    make_search: MakeSearch, make_splits: Callable[[int], Splits], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With a checkpoint after each step, it goes on from there; without, from the round's start."""
    evaluator = real_evaluator(make_splits(3))
    plan = Plan(initial=2, rounds=0, per_round=1, archive=2, first_steps=4, round_steps=0, seed=3)
    whole = make_search(plan, evaluator, make_searcher(kind), name="whole")
    whole.run()
    for seconds in (0.0, 1e9):
        monkeypatch.setattr("nat.search.SAVE_SECONDS", seconds)
        name = f"stopped{seconds:.0f}"
        search = make_search(plan, evaluator, make_searcher(kind), name=name)
        batch, asked = search.stream.batch, list[int]()

        def stopping(step: int, resolution: int, batch=batch, asked=asked):  # type: ignore[no-untyped-def]
            asked.append(step)
            if step == 2:
                raise Stop
            return batch(step, resolution)

        search.stream.batch = stopping  # type: ignore[method-assign]
        with pytest.raises(Stop):
            search.run()
        search.archive.close()
        again = make_search(plan, evaluator, make_searcher(kind), name=name)
        assert again.trainer.step_count == (2 if seconds == 0 else 0)
        again.run()
        assert rows(again) == rows(whole)
        ours, theirs = again.supernet.state_dict(), whole.supernet.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        check_same_state(again.searcher, whole.searcher)


def test_the_last_round_trains_for_what_evaluations_have_left(
    make_search: MakeSearch, make_splits: Callable[[int], Splits]
) -> None:
    """Also where it is taken up again behind that training: the number of steps follows from the evaluations."""
    evaluator, asked = real_evaluator(make_splits(3)), list[int]()

    def settle(plan: Plan, evaluations: int) -> Plan:
        asked.append(evaluations)
        return replace(plan, extra_steps=3)

    def log(event: str, seconds: float, detail: dict[str, object]) -> None:
        if event == "evaluate" and detail["round"] == 1:
            raise Stop

    whole = make_search(TRAINED, evaluator, RandomSearcher(), name="whole", settle=settle)
    whole.run()
    assert whole.trainer.step_count == whole.plan.total_steps == TRAINED.total_steps + 3
    assert asked == [len(whole.archive.evaluations())]
    stopped = make_search(TRAINED, evaluator, RandomSearcher(), log, name="stopped", settle=settle)
    with pytest.raises(Stop):
        stopped.run()
    stopped.archive.close()
    again = make_search(TRAINED, evaluator, RandomSearcher(), name="stopped", settle=settle)
    again.run()
    assert rows(again) == rows(whole) and again.plan == whole.plan
    ours, theirs = again.supernet.state_dict(), whole.supernet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_steps_that_a_strategy_leaves_are_passed_over(make_search: MakeSearch) -> None:
    class Lazy(RandomSearcher):
        def adapt(self, adaptation, problem, pool):  # type: ignore[no-untyped-def]
            next(adaptation.steps())

    search = make_search(TRAINED, Evaluator(), Lazy())
    search.run()
    assert search.trainer.step_count == TRAINED.total_steps == 4


def test_plan_counts_steps() -> None:
    plan = Plan(initial=1, rounds=3, per_round=1, archive=1, first_steps=10, round_steps=4, seed=0)
    assert [plan.last_step(k) for k in range(4)] == [10, 14, 18, 22]
    assert plan.total_steps == 22


def test_seeds_decide(make_search: MakeSearch) -> None:
    results = []
    for seed in (0, 0, 1):
        search = make_search(replace(UNTRAINED, seed=seed), Evaluator(), name=f"run{len(results)}")
        search.run()
        results.append(rows(search))
    assert results[0] == results[1] != results[2]
    assert np.isfinite([row[1][ERROR] for row in results[0]]).all()  # type: ignore[index]


class Unreliable(Evaluator):
    """For a fifth of the candidates, told by their id, it raises, gives NaN, or never ends."""

    def kind(self, architecture: Architecture) -> int:
        return int(architecture.id, 16)

    def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
        error = super().top1_error(supernet, architecture)
        match self.kind(architecture) % 15:
            case 0:
                raise RuntimeError("out of memory")
            case 5:
                return float("nan")
            case 10:
                time.sleep(60)
        return error


def test_a_fifth_that_raises_gives_no_number_or_hangs_leaves_the_front_unharmed(make_search: MakeSearch) -> None:
    plan = replace(UNTRAINED, initial=24, per_round=6, archive=12, rounds=2)
    evaluator = Unreliable()
    search = make_search(plan, evaluator, limit=0.2)
    last = search.run()
    failures = search.archive.failures()
    kinds = {str(e.error).split(":")[0] for e in failures}
    assert kinds == {"RuntimeError", "TransferError", "EvaluationTimeout"}, "all three kinds came up"
    assert all(evaluator.kind(e.architecture) % 5 == 0 for e in failures)
    assert not any(evaluator.kind(e.architecture) % 5 == 0 for e in search.archive.evaluations() if not e.failed)
    plain = Evaluator()
    assert last and all(e.objectives[ERROR] == plain.top1_error(search.supernet, e.architecture) for e in last)


def test_frozen_weights_are_trained_once_and_nothing_is_evaluated_twice(make_search: MakeSearch) -> None:
    evaluator, searcher = Evaluator(), Watched()
    search = make_search(replace(TRAINED, rounds=2, frozen=True), evaluator, searcher)
    last = search.run()
    assert len(evaluator.seen) == len(set(evaluator.seen)) == 3 + 2 * 2
    assert search.trainer.step_count == 2, "the first training only"
    assert {e.weights_version for e in last} == {0} and {e.round for e in last} == {0, 1, 2}
    assert [len(known) for known in searcher.calls] == [0, 3, 5], "fitted on all there is"
    search.archive.close()
    again = make_search(replace(TRAINED, rounds=2, frozen=True), Evaluator(), Watched())
    assert again.run() == last and not again.evaluator.seen  # type: ignore[attr-defined]


def test_predictions_are_kept_before_the_evaluation_and_judged_after_it(make_search: MakeSearch) -> None:
    events: list[tuple[str, dict[str, object]]] = []
    kept: list[list[Proposal]] = []

    class Looking(Evaluator):
        def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
            kept.append(search.archive.proposals(1))
            return super().top1_error(supernet, architecture)

    search = make_search(UNTRAINED, Looking(), log=lambda event, seconds, detail: events.append((event, detail)))
    search.run()
    assert kept[0] == [] and len(kept[6]) == 3, "round 1's are there before its first evaluation"
    assert all(p.mean is not None and p.deviation is not None for p in kept[6])
    records = [detail for event, detail in events if event == "round"]
    assert [r["round"] for r in records] == [0, 1, 2, 3]
    assert [r["evaluations"] for r in records] == [6, 13, 20, 27]
    assert [r["compared"] for r in records] == [0, 3, 3, 3]
    assert {"fit", "evolve"} <= set(next(d for event, d in events if event == "propose" and d["round"] == 1))


class Clock:
    """A second passes with every look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("until", [1, 4, 9, 15, 22, 40])
def test_a_search_whose_time_is_up_ends_with_a_whole_round(
    make_search: MakeSearch, make_splits: Callable[[int], Splits], until: int
) -> None:
    """At whatever moment: the evaluations are those of one version, and the weights are that version's."""
    plan = replace(TRAINED, rounds=3)
    pace = Pace(Clock(), until, Speeds(0, 0, 0, 0, 0, 0))
    search = make_search(plan, real_evaluator(make_splits(3)), pace=pace, name=f"until{until}")
    last = search.run()
    assert len({e.weights_version for e in last}) == 1
    version = last[0].weights_version
    if version:
        assert len(last) == len(search.archive.proposals(version)) + 2
    else:
        assert 0 < len(last) <= plan.initial
    for evaluation in last:
        again = search.evaluator.top1_error(search.supernet, evaluation.architecture)
        assert again == evaluation.objectives[ERROR], "the weights are those of the front"
    assert len(search.archive.evaluations()) < 3 + 3 * 4 or until == 40


def test_seeds_come_first(make_search: MakeSearch, problem: SearchProblem) -> None:
    seeds = [Proposal(problem.space.largest(), 0.1), Proposal(problem.space.smallest(), 0.2)]
    evaluator = Evaluator()
    search = make_search(UNTRAINED, evaluator, seeds=seeds)
    search.run()
    assert evaluator.seen[:2] == [seed.architecture for seed in seeds]
    assert search.archive.proposals(0)[:2] == seeds
    assert len(set(evaluator.seen[:4])) == 4
