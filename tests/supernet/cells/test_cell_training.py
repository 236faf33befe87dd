"""The evaluation phase: recipes as published, cutout, and a cell that learns digits in seconds."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from nat.errors import InputError, TransferError
from nat.supernet.cells.network import CellForm, CellNetwork
from nat.supernet.cells.spelling import find_genotype
from nat.supernet.cells.training import CIFAR, IMAGENET, CellRecipe, cutout, train_cells

FORM = CellForm(layers=3, channels=4, num_classes=10, stem_multiple=1)
RECIPE = CellRecipe(2, 64, 0.05, 3e-4, auxiliary=0.4, drop_path=0.2, cutout=2)


def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.from_numpy(images / 8 - 1).float().reshape(-1, 1, 8, 8).repeat(1, 3, 1, 1), torch.from_numpy(labels)


def trained(recipe: CellRecipe, seed: int = 0, steps_per_epoch: int = 20) -> CellNetwork:
    images, labels = digits()
    torch.manual_seed(0)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        rows = np.random.default_rng(step).choice(1400, recipe.batch_size)
        return images[rows], labels[rows]

    network = CellNetwork(find_genotype("darts-v2"), FORM, auxiliary=recipe.auxiliary > 0)
    return train_cells(network, batches, recipe, steps_per_epoch=steps_per_epoch, seed=seed)


def test_a_published_cell_learns_digits() -> None:
    images, labels = digits()
    network = trained(RECIPE)
    assert not network.training
    with torch.inference_mode():
        right = (network(images[1400:]).argmax(dim=1) == labels[1400:]).double().mean()
    assert right > 0.4, "chance is 0.1"


def test_the_same_seed_gives_the_same_weights() -> None:
    one, again, other = (trained(RECIPE, seed, 2).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_published_recipes() -> None:
    rates = CIFAR.schedule(steps_per_epoch=520)
    assert (rates.rate(0), rates.rate(300 * 520)) == (0.025, pytest.approx(0.0125))
    assert rates.steps == 600 * 520
    assert (CIFAR.batch_size, CIFAR.cutout, CIFAR.drop_path, CIFAR.auxiliary, CIFAR.clip_norm) == (96, 16, 0.2, 0.4, 5)
    steps = IMAGENET.schedule(steps_per_epoch=10)
    assert [steps.rate(step) for step in (0, 9, 10, 25)] == pytest.approx([0.1, 0.1, 0.097, 0.1 * 0.97**2])
    assert (IMAGENET.epochs, IMAGENET.label_smoothing, IMAGENET.weight_decay, IMAGENET.drop_path) == (250, 0.1, 3e-5, 0)


def test_cutout_takes_a_square() -> None:
    images = torch.ones(500, 2, 8, 9)
    cut = cutout(images, 4, torch.Generator().manual_seed(0))
    holes = (cut == 0).all(dim=1)
    assert torch.equal(images, torch.ones(500, 2, 8, 9)), "a new tensor"
    assert torch.equal(holes, (cut == 0).any(dim=1)), "all channels alike"
    rows, columns = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(holes.sum(dim=(1, 2)), rows * columns)
    assert rows.max() == columns.max() == 4 and rows.min() == columns.min() == 2, "squares may reach outside"
    assert holes.double().mean(dim=0).min() > 0, "anywhere"


def test_what_cannot_be_trained_is_told() -> None:
    network = CellNetwork(find_genotype("darts-v2"), FORM)
    with pytest.raises(InputError, match="auxiliary=True"):
        train_cells(network, lambda _: digits(), RECIPE, steps_per_epoch=1, seed=0)
    with pytest.raises(InputError, match=r"drop path in \[0, 1\)"):
        CellRecipe(1, 1, 0.1, 0, drop_path=1.0)
    with pytest.raises(InputError, match="at least 1 epoch"):
        CellRecipe(0, 1, 0.1, 0)
    network.classifier.weight.data.fill_(torch.nan)
    with pytest.raises(TransferError, match="diverged at step 0"):
        train_cells(network, lambda _: digits(), CellRecipe(1, 1, 0.1, 0), steps_per_epoch=1, seed=0)
