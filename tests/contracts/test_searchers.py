"""What every search strategy keeps to; a new one joins by being listed in `nat.searchers.SEARCHERS`."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from numpy.random import Generator
from torch import Tensor

from nat.archive import Evaluation
from nat.objectives import ERROR, read_objectives
from nat.problem import SearchProblem
from nat.searchers import SEARCHERS, NatSearcher, ProgressiveSearcher, Searcher, check_searcher
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits, sample_uniform
from nat.supernet.space import Encodings, MobileNetSpace
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer
from nat.surrogates import MLPEnsemble

SPACE = MobileNetSpace(0.25, kernels=(3, 5), expands=(2, 3), depths=(1, 2), resolutions=(24, 32))
TINY = MobileNetSpace(0.25, kernels=(3,), expands=(2,), depths=(1,), resolutions=(24, 32, 40, 48, 56, 64))
COSTS = CostTable(SPACE, 10)
HALF = sum(int(COSTS.of(a)[0]) for a in (SPACE.smallest(), SPACE.largest())) // 2
HALF_PARAMS = sum(int(COSTS.of(a)[1]) for a in (SPACE.smallest(), SPACE.largest())) // 2
LIMITS = [Limits(), Limits(max_macs=HALF), Limits(max_params=HALF_PARAMS), Limits(HALF, HALF_PARAMS)]


class Asked:
    """A strategy of whose proposals most tests look at the architectures only; the rest is as it is."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.name, self.title, self.adapt = searcher.name, searcher.title, searcher.adapt
        self.passes = searcher.passes

    def propose(
        self, problem: SearchProblem, evaluations: Sequence[Evaluation], count: int, rng: Generator
    ) -> list[Architecture]:
        return [proposal.architecture for proposal in self.searcher.propose(problem, evaluations, count, rng)]


def make(name: str) -> Asked:
    """A strategy with settings small enough for tests; one that is not known here has its defaults."""
    if name == "pnas":
        return Asked(ProgressiveSearcher(surrogate=lambda: MLPEnsemble(2, 2, steps=20), most=500))
    return Asked(NatSearcher(population=12, generations=4) if name == "nat" else SEARCHERS[name]())


every = pytest.mark.parametrize("name", SEARCHERS)


@every
def test_a_step_says_what_it_costs(name: str) -> None:
    """In passes, which `nat compare` charges; steps of architecture parameters are a part of it."""
    searcher = SEARCHERS[name]()
    assert searcher.passes > 0
    assert 0 <= getattr(searcher, "architecture_passes", 0) < searcher.passes


def error_of(architecture: Architecture) -> float:
    """An error that falls with every choice, by another amount each."""
    pairs = zip(architecture.kernels, architecture.expands, strict=True)
    layers = sum(kernel * expand / (5 + place) for place, (kernel, expand) in enumerate(pairs))
    return float(0.9 - 0.02 * layers - 0.001 * architecture.resolution)


def evaluated(
    problem: SearchProblem, architectures: Sequence[Architecture], error: Callable[[Architecture], float] = error_of
) -> list[Evaluation]:
    rows = []
    for architecture in architectures:
        value = error(architecture)
        objectives = {o.name: value for o in problem.measured} | {ERROR: value} | problem.known_of(architecture)
        rows.append(Evaluation(architecture, objectives, round=0, weights_version=0, created="2026-01-01"))
    return rows


def some(problem: SearchProblem, count: int, seed: int = 0) -> list[Evaluation]:
    """Evaluations of distinct architectures that keep the limits."""
    drawn = sample_uniform(problem.space, 50 * count, np.random.default_rng(seed))
    drawn = np.unique(drawn[problem.allows(drawn)], axis=0)
    chosen = np.random.default_rng(seed).permutation(len(drawn))[:count]
    assert len(chosen) == count
    return evaluated(problem, problem.space.decode(drawn[chosen]))


def check(problem: SearchProblem, proposed: list[Architecture], known: Sequence[Evaluation], count: int) -> None:
    """The contract of `propose`."""
    assert len(proposed) <= count
    assert len(set(proposed)) == len(proposed)
    assert not set(proposed) & {evaluation.architecture for evaluation in known}
    for architecture in proposed:
        problem.space.validate(architecture)
    assert problem.allows(problem.space.encode(proposed)).all()


@every
def test_is_a_searcher(name: str) -> None:
    searcher = make(name)
    assert searcher.name == name
    assert searcher.title
    assert searcher.passes >= 1
    check_searcher(name)


@every
@pytest.mark.parametrize("limits", LIMITS, ids=["free", "macs", "params", "both"])
@pytest.mark.parametrize("known", [0, 1, 2, 5, 30])
def test_proposals_are_new_legal_and_within_the_limits(name: str, limits: Limits, known: int) -> None:
    problem = SearchProblem(COSTS, limits=limits)
    evaluations = some(problem, known) if known else []
    for count in (1, 6):
        proposed = make(name).propose(problem, evaluations, count, np.random.default_rng(3))
        check(problem, proposed, evaluations, count)
        assert len(proposed) == count, "a space of millions has some left"


@every
def test_predictions_are_whole_or_absent_and_seconds_are_told(name: str) -> None:
    problem, searcher = SearchProblem(COSTS), make(name).searcher
    for known in (some(problem, 12), []):
        for proposal in searcher.propose(problem, known, 5, np.random.default_rng(0)):
            assert (proposal.mean is None) == (proposal.deviation is None)
            if proposal.mean is not None and proposal.deviation is not None:
                assert known and 0 <= proposal.mean <= 1 and 0 <= proposal.deviation < np.inf
        assert all(part in ("fit", "evolve") and seconds >= 0 for part, seconds in searcher.seconds.items())


@every
@pytest.mark.parametrize("objectives", ["top1,params", "top1,macs,params", "top1,macro_f1,memory,resolution"])
def test_other_objectives(name: str, objectives: str) -> None:
    problem = SearchProblem(COSTS, read_objectives(objectives))
    evaluations = some(problem, 12)
    proposed = make(name).propose(problem, evaluations, 5, np.random.default_rng(0))
    check(problem, proposed, evaluations, 5)
    assert len(proposed) == 5


@every
def test_the_first_proposals_include_the_smallest(name: str) -> None:
    for seed in range(3):
        problem = SearchProblem(COSTS, limits=LIMITS[seed])
        proposed = make(name).propose(problem, [], 4, np.random.default_rng(seed))
        assert SPACE.smallest() in proposed
        assert len(proposed) == 4
        if seed == 0:
            assert SPACE.largest() in proposed


@every
@pytest.mark.parametrize("known", [0, 20])
def test_the_same_again_from_the_same_seed_and_other_from_another(name: str, known: int) -> None:
    problem = SearchProblem(COSTS)
    evaluations = some(problem, known) if known else []

    def propose(seed: int) -> list[Architecture]:
        return make(name).propose(problem, evaluations, 6, np.random.default_rng(seed))

    assert propose(5) == propose(5)
    assert propose(5) != propose(6)


FRESH = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("contract", sys.argv[1])
contract = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contract)
problem = contract.SearchProblem(contract.COSTS)
known = contract.some(problem, 20)
for architecture in contract.make(sys.argv[2]).propose(problem, known, 6, np.random.default_rng(5)):
    print(architecture.id)
"""


@pytest.mark.slow
@every
def test_the_same_in_another_process(name: str) -> None:
    problem = SearchProblem(COSTS)
    here = make(name).propose(problem, some(problem, 20), 6, np.random.default_rng(5))
    words = [sys.executable, "-c", FRESH, __file__, name]
    there = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert there == [architecture.id for architecture in here]


@every
def test_nothing_is_kept_between_calls(name: str) -> None:
    """A strategy that has been used proposes what a fresh one does: a resumed search must not differ."""
    problem = SearchProblem(COSTS)
    used = make(name)
    first, second = some(problem, 10, seed=1), some(problem, 25, seed=2)
    used.propose(problem, first, 4, np.random.default_rng(1))
    again = used.propose(problem, second, 6, np.random.default_rng(2))
    assert again == make(name).propose(problem, second, 6, np.random.default_rng(2))


@every
def test_evaluations_are_left_as_they_are(name: str) -> None:
    problem = SearchProblem(COSTS)
    evaluations = some(problem, 15)
    before = copy.deepcopy(evaluations)
    make(name).propose(problem, evaluations, 5, np.random.default_rng(0))
    assert evaluations == before


@every
@pytest.mark.parametrize("error", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("known", [1, 3, 20])
def test_errors_that_are_all_the_same(name: str, error: float, known: int) -> None:
    problem = SearchProblem(COSTS)
    evaluations = evaluated(problem, [e.architecture for e in some(problem, known)], lambda architecture: error)
    proposed = make(name).propose(problem, evaluations, 5, np.random.default_rng(0))
    check(problem, proposed, evaluations, 5)
    assert proposed


@every
def test_a_tiny_space_is_explored_to_its_end(name: str) -> None:
    problem = SearchProblem(CostTable(TINY, 10))
    searcher, known = make(name), list[Evaluation]()
    assert TINY.size() == 6
    for round in range(6):
        proposed = searcher.propose(problem, known, 2, np.random.default_rng([1, round]))
        check(problem, proposed, known, 2)
        if len(known) == TINY.size():
            assert proposed == []
            return
        assert proposed, f"{TINY.size() - len(known)} architectures have not been tried"
        known += evaluated(problem, proposed)
    pytest.fail("no end after 6 rounds")


@every
def test_more_is_asked_than_there_is(name: str) -> None:
    problem = SearchProblem(CostTable(TINY, 10))
    first = make(name).propose(problem, [], 50, np.random.default_rng(0))
    check(problem, first, [], 50)
    assert len(first) == 6
    known = evaluated(problem, first[:5])
    assert make(name).propose(problem, known, 50, np.random.default_rng(0)) == first[5:]


@every
def test_a_limit_that_leaves_one_architecture(name: str) -> None:
    smallest = SPACE.smallest()
    problem = SearchProblem(COSTS, limits=Limits(max_macs=COSTS.of(smallest)[0]))
    assert make(name).propose(problem, [], 4, np.random.default_rng(0)) == [smallest]
    known = evaluated(problem, [smallest])
    assert make(name).propose(problem, known, 4, np.random.default_rng(0)) == []


class Granted:
    """Adaptation steps from a start to an end, written down as they are used."""

    def __init__(self, trainer: WeightTrainer, first: int, last: int) -> None:
        self.trainer = trainer
        self.first, self.last = first, last
        self.taken: list[int] = []
        self.batches: list[tuple[int, int]] = []
        self.held: list[tuple[int, int]] = []

    def steps(self) -> Iterator[int]:
        for step in range(self.first, self.last):
            yield step
            self.taken.append(step)

    def rng(self, step: int) -> Generator:
        return np.random.default_rng([9, step])

    def batch(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        self.batches.append((step, resolution))
        return self.images(step, resolution)

    def held_out(self, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        self.held.append((step, resolution))
        return self.images(1000 + step, resolution)

    def images(self, seed: int, resolution: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(4, 3, resolution, resolution, generator=generator)
        return images, torch.randint(10, (4,), generator=generator)


def adapted(name: str, pool: Encodings, first: int, last: int) -> tuple[Granted, dict[str, Tensor], dict[str, Tensor]]:
    """What was granted and used, and the weights before and after."""
    supernet = Supernet(SPACE, 10, generator=torch.Generator().manual_seed(0))
    trainer = WeightTrainer(supernet, Schedule(1e-3, 10))
    trainer.step_count = first
    before = {key: tensor.clone() for key, tensor in supernet.state_dict().items()}
    granted = Granted(trainer, first, last)
    make(name).adapt(granted, SearchProblem(COSTS), pool)
    return granted, before, supernet.state_dict()


@every
def test_adapt_takes_the_granted_steps_and_trains(name: str) -> None:
    pool = sample_uniform(SPACE, 5, np.random.default_rng(0))
    granted, before, after = adapted(name, pool, 3, 6)
    assert granted.taken == [3, 4, 5]
    assert [step for step, _ in granted.batches] == [3, 4, 5], "one batch a step"
    assert {resolution for _, resolution in granted.batches} <= set(SPACE.resolutions)
    assert granted.trainer.step_count == 6, "one update a step"
    assert any(not torch.equal(tensor, after[key]) for key, tensor in before.items())
    assert all(tensor.isfinite().all() for tensor in after.values())


@every
def test_adapt_does_nothing_without_steps(name: str) -> None:
    granted, before, after = adapted(name, sample_uniform(SPACE, 5, np.random.default_rng(0)), 3, 3)
    assert granted.trainer.step_count == 3 and not granted.batches
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


@every
def test_adapt_is_the_same_again_and_leaves_the_pool(name: str) -> None:
    pool = sample_uniform(SPACE, 5, np.random.default_rng(0))
    kept = pool.copy()
    first, second = (adapted(name, pool, 0, 2)[2] for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (pool == kept).all()


@every
def test_adapt_with_a_pool_of_one(name: str) -> None:
    granted, _, _ = adapted(name, SPACE.encode([SPACE.smallest()]), 0, 1)
    assert granted.taken == [0]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'random'"):
        check_searcher("radnom")
