"""A search of cells from arrays to a genotype, end to end."""

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from nat.errors import InputError
from nat.oneshot.base import Settings
from nat.oneshot.cells import find_strategy, halved_batches, search_cells
from nat.oneshot.stopping import DartsPlus
from nat.supernet.cells.network import DIGITS
from nat.supernet.cells.space import cell_spaces

SPACES = cell_spaces()
FORM = replace(DIGITS, channels=4)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    scaled = torch.from_numpy((images - images.mean()) / images.std()).float()
    return scaled.reshape(-1, 1, 8, 8).repeat(1, 3, 1, 1)[:256], torch.from_numpy(labels)[:256]


@pytest.mark.parametrize("name", ["darts1", "darts2", "nasp", "gdas"])
def test_a_search_learns_and_ends_in_a_genotype_of_its_space(name: str, digits: tuple[Tensor, Tensor]) -> None:
    settings = Settings(epochs=3, learning_rate=0.2, architecture_rate=0.02)
    found = search_cells(*digits, SPACES["digits"], name, form=FORM, settings=settings, batch_size=32)
    SPACES["digits"].validate(found.genotype)
    assert found.genotype == found.genotypes[-1] and found.epoch == 2 and found.stopped is None
    assert found.history[-1].train_loss < found.history[0].train_loss
    assert [record.epoch for record in found.history] == [0, 1, 2]
    again = search_cells(*digits, SPACES["digits"], name, form=FORM, settings=settings, batch_size=32)
    assert again.history == found.history


def test_spaces_of_two_kinds_of_cells(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits[0][:16], digits[1][:16]
    form = replace(FORM, layers=3, reductions=None)
    for name in ("nasp", "gdas"):
        found = search_cells(images, labels, SPACES["darts"], name, form=form, settings=Settings(epochs=1))
        SPACES["darts"].validate(found.genotype)
        assert found.genotype.reduce is not None


def test_a_rule_may_end_a_search(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits[0][:32], digits[1][:32]
    found = search_cells(images, labels, SPACES["digits"], "gdas", form=FORM, rules=[DartsPlus(most_skips=0)])
    assert found.stopped == "darts+" and len(found.history) == 1


def test_the_halves_never_meet(digits: tuple[Tensor, Tensor]) -> None:
    numbers = torch.arange(101)
    batches = halved_batches(numbers.float(), numbers, 16, seed=3)
    trained = {int(label) for epoch in range(8) for (_, labels), _ in batches(epoch) for label in labels}
    validated = {int(label) for epoch in range(8) for _, (_, labels) in batches(epoch) for label in labels}
    assert not trained & validated and len(trained) == len(validated) == 50
    assert len(list(batches(0))) == 3


def test_errors_say_what_was_expected(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    with pytest.raises(InputError, match="Did you mean 'darts"):
        find_strategy("darts")
    with pytest.raises(InputError, match=r"shape \(n, 3, height, width\)"):
        search_cells(images[:, :1], labels, SPACES["digits"], "gdas")
    with pytest.raises(InputError, match="whole numbers"):
        search_cells(images, labels.float(), SPACES["digits"], "gdas")
    with pytest.raises(InputError, match="below the form's 5 classes"):
        search_cells(images, labels, SPACES["digits"], "gdas", form=replace(FORM, num_classes=5))
