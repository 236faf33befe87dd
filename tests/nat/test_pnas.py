"""PNAS: its counts, its beam, its predictors, and that it finds what is there."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from nat.errors import InputError
from nat.searchers.pnas import Pnas, trials_per_level
from nat.searchers.predictors import MeanPerceptron, PredictorEnsemble, lstm, mlp
from nat.supernet.cells.blocks import PNAS, BlockCell, BlockSpace
from nat.supernet.searchable import Encodings

SMALL = BlockSpace(3, PNAS[:4])
TINY = BlockSpace(2, PNAS[:2])
WORTH = dict(zip(PNAS, np.random.default_rng(5).permutation(len(PNAS)) / len(PNAS), strict=True))


def error_of(cell: BlockCell) -> float:
    """Blocks add up, later ones less; inputs that repeat a half cost something: an interaction."""
    total = 0.0
    for place, block in enumerate(cell.blocks):
        pair = WORTH[block.first_operation] + WORTH[block.second_operation]
        pair += 0.5 * (block.first != block.second) + 0.3 * (block.second == place + 1)
        total += pair / (1 + place)
    return 0.9 - 0.1 * total


class Guess:
    """A predictor that has learnt nothing: every cell has the same error."""

    def fit(self, cells: list[Encodings], errors: list[np.ndarray]) -> None: ...

    def predict(self, cells: Encodings) -> np.ndarray:
        return np.full(len(cells), 0.5)


class Watched(Guess):
    """Writes down what it is fitted on and asked."""

    def __init__(self) -> None:
        self.fits: list[list[int]] = []
        self.asked: list[int] = []

    def fit(self, cells: list[Encodings], errors: list[np.ndarray]) -> None:
        self.fits.append([len(rows) for rows in cells])

    def predict(self, cells: Encodings) -> np.ndarray:
        self.asked.append(len(cells))
        return super().predict(cells)


def small_mlp(seed: int = 0, space: BlockSpace = SMALL) -> PredictorEnsemble:
    return mlp(space.vocabulary, members=2, seed=seed, steps=15)


def test_the_papers_counts() -> None:
    assert trials_per_level(BlockSpace(5), 256) == [136, 256, 256, 256, 256]
    assert sum(trials_per_level(BlockSpace(5), 256)) == 136 + 4 * 256 == 1160
    predictor = Watched()
    search = Pnas(BlockSpace(3), predictor, beam=20)
    search.run(error_of)
    assert [sum(trial.level == level for trial in search.history) for level in (1, 2, 3)] == [136, 20, 20]
    assert search.scored == predictor.asked == [136 * 300, 20 * 528]
    assert predictor.fits == [[136], [136, 20]], "on everything seen"


def test_beams_are_extensions_of_the_beams_before() -> None:
    search = Pnas(SMALL, small_mlp(), beam=10)
    best = search.run(error_of)
    levels = [[t.cell for t in search.history if t.level == level] for level in (1, 2, 3)]
    for level in (1, 2):
        assert {cell.prefix(level) for cell in levels[level]} <= set(levels[level - 1])
    assert all(len(set(cells)) == len(cells) for cells in levels)
    assert best.level == 3
    assert best.error == min(trial.error for trial in search.history if trial.level == 3)
    assert [trial.predicted is None for trial in search.history] == [True] * 36 + [False] * 20


def test_with_a_beam_of_everything_it_is_exhaustive() -> None:
    search = Pnas(TINY, Guess(), beam=10**9)
    best = search.run(error_of)
    first = TINY.decode(TINY.first())
    second = TINY.decode(TINY.expand(TINY.first()))
    assert [trial.level for trial in search.history] == [1] * len(first) + [2] * len(second)
    assert {trial.cell for trial in search.history} == {*first, *second}
    assert len(second) == TINY.size() == 210
    assert best.error == min(map(error_of, second))


def test_the_predictor_beats_random_beams() -> None:
    """On 20 seeds, each with a predictor of its own, against the same search with random picks."""
    learnt, random = [], []
    for seed in range(20):
        predictor = mlp(SMALL.vocabulary, members=1, seed=seed, steps=40)
        learnt.append(Pnas(SMALL, predictor, beam=8, seed=seed).run(error_of).error)
        random.append(Pnas(SMALL, Guess(), beam=8, seed=seed, explore=1.0).run(error_of).error)
    assert np.mean(learnt) < np.mean(random) - 0.02
    assert sum(a < b for a, b in zip(learnt, random, strict=True)) >= 16


def test_the_same_seed_the_same_history() -> None:
    def history(seed: int) -> list[object]:
        search = Pnas(SMALL, small_mlp(seed), beam=6, seed=seed, explore=0.5)
        search.run(error_of)
        return list(search.history)

    assert history(3) == history(3)
    assert history(3) != history(4)


def test_it_is_told_in_any_order_and_resumes_by_replay() -> None:
    whole = Pnas(SMALL, small_mlp(), beam=6)
    whole.run(error_of)
    cut = Pnas(SMALL, small_mlp(), beam=6)
    for cell in reversed(cut.ask(100)):
        cut.tell([(cell, error_of(cell))])
    asked = cut.ask(4)
    assert len(asked) == 4 and cut.ask(1) != asked[:1]
    cut.tell([(cell, error_of(cell)) for cell in asked[::-2]])
    again = Pnas(SMALL, small_mlp(), beam=6)
    again.load_state_dict(cut.state_dict())
    again.run(error_of)
    assert again.history == whole.history


def test_a_share_of_random_picks() -> None:
    search = Pnas(SMALL, small_mlp(), beam=10, explore=0.3)
    search.run(error_of)
    later = [trial for trial in search.history if trial.level > 1]
    assert sum(trial.predicted is None for trial in later) == 2 * 3
    assert len({trial.cell for trial in later}) == 20


def test_failures_are_not_extended_or_learnt() -> None:
    bad = SMALL.decode(SMALL.first())[:30]
    predictor = Watched()
    search = Pnas(SMALL, predictor, beam=5)
    search.run(lambda cell: None if cell.prefix(1) in bad else error_of(cell))
    assert predictor.fits[0] == [6]
    assert not {trial.cell.prefix(1) for trial in search.history if trial.level > 1} & set(bad)
    failed = Pnas(SMALL, Guess())
    with pytest.raises(InputError, match="of which something has been told"):
        failed.run(lambda cell: None)
    assert failed.done


def test_budgets() -> None:
    for budget in (36, 40, 45, 56, 100):
        search = Pnas(SMALL, Guess(), beam=10, budget=budget)
        search.run(error_of)
        assert len(search.history) == min(budget, 56)
    with pytest.raises(InputError, match=r"at least 36 trials.*all levels need 56.*got 35"):
        Pnas(SMALL, Guess(), beam=10, budget=35)
    for wrong in ({"beam": 0}, {"explore": 1.5}, {"explore": -0.1}):
        with pytest.raises(InputError, match="beam of at least 1"):
            Pnas(SMALL, Guess(), **wrong)


def test_what_was_not_asked_for_is_refused() -> None:
    search = Pnas(SMALL, Guess())
    cell = SMALL.decode(SMALL.first())[0]
    with pytest.raises(InputError, match="asked for and not told"):
        search.tell([(cell, 0.5)])
    assert search.ask(1) == [cell]
    with pytest.raises(InputError, match="from 0 to 1"):
        search.tell([(cell, 1.5)])
    search.tell([(cell, 0.5)])
    with pytest.raises(InputError, match="asked for and not told"):
        search.tell([(cell, 0.5)])


# --- predictors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mlp, lstm])
def test_it_extrapolates_to_a_level_that_it_has_not_seen(make: type) -> None:
    steps = 80 if make is mlp else 60
    predictor = make(SMALL.vocabulary, members=2, steps=steps)
    first, rng = SMALL.first(), np.random.default_rng(0)
    second = SMALL.expand(first)[rng.permutation(36 * 78)[:60]]
    third = SMALL.expand(second)[rng.permutation(60 * 136)[:200]]
    truth = np.array([error_of(cell) for cell in SMALL.decode(third)])
    errors = [np.array([error_of(cell) for cell in SMALL.decode(rows)]) for rows in (first, second)]
    predictor.fit([first], errors[:1])
    predictor.fit([first, second], errors)
    learnt = spearmanr(predictor.predict(third), truth).statistic
    for network in predictor.networks:
        network.begin(0.5, torch.Generator().manual_seed(1))
        torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(2))
    untrained = spearmanr(predictor.predict(third), truth).statistic
    assert learnt > 0.4
    assert learnt > untrained + 0.2


@pytest.mark.parametrize("make", [mlp, lstm])
def test_swapped_halves_are_predicted_alike(make: type) -> None:
    predictor = make(SMALL.vocabulary, members=2, steps=2)
    predictor.fit([SMALL.first()], [np.linspace(0.1, 0.9, 36)])
    cells = SMALL.decode(SMALL.draw(20, np.random.default_rng(0)))
    swapped = [BlockCell([(*block[2:], *block[:2]) for block in cell.blocks]) for cell in cells]
    one, other = (predictor.predict(SMALL.encode(both)) for both in (cells, swapped))
    assert np.array_equal(one, other)
    assert np.ptp(one) > 0 and ((one > 0) & (one < 1)).all()


def test_before_it_learns_it_says_the_mean() -> None:
    predictor = PredictorEnsemble(lambda: MeanPerceptron(SMALL.vocabulary), members=1, first_steps=0)
    with pytest.raises(RuntimeError, match="fit before predict"):
        predictor.predict(SMALL.first())
    predictor.fit([SMALL.first()], [np.full(36, 0.14)])
    np.testing.assert_allclose(predictor.predict(SMALL.first()), 0.14, rtol=1e-5)


def test_the_perceptron_is_a_linear_layer_on_averaged_embeddings() -> None:
    network = MeanPerceptron(SMALL.vocabulary, width=6)
    network.begin(0.5, torch.Generator().manual_seed(0))
    tokens = torch.from_numpy(SMALL.draw(10, np.random.default_rng(0)))
    averaged = network.embed(tokens).flatten(2).mean(dim=1)
    plain = network.second(torch.relu(network.first(averaged))).relu()
    torch.testing.assert_close(network.hidden(tokens), plain, rtol=1e-4, atol=1e-6)
    assert plain.std() > 0


def test_members_leave_out_a_share_each_and_go_on_from_their_weights() -> None:
    predictor = mlp(SMALL.vocabulary, members=2, steps=5)
    targets = np.linspace(0.1, 0.9, 36)
    predictor.fit([SMALL.first()], [targets])
    first, second = (network(torch.from_numpy(SMALL.first())).detach() for network in predictor.networks)
    assert not torch.equal(first, second)
    before = np.abs(predictor.predict(SMALL.first()) - targets).mean()
    predictor.later_steps = 60
    predictor.fit([SMALL.first()], [targets])
    assert np.abs(predictor.predict(SMALL.first()) - targets).mean() < before
