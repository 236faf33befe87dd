import subprocess
import sys
from pathlib import Path

import pytest

import nat.datasets
from nat.datasets import find_dataset, folder_card, list_datasets
from nat.datasets.catalogue import names_in_root
from nat.errors import InputError


def test_every_listed_card_is_found_by_its_name_and_is_complete() -> None:
    cards = list_datasets()
    assert [card.name for card in cards][:3] == ["digits", "cifar10", "cifar100"] and len(cards) == 12
    for card in cards:
        assert find_dataset(card.name) is card
        assert card.licence and card.how_to_get and card.source.startswith("https://")
        assert 0 < card.crop_fraction <= 1 and 0 < card.min_crop_area <= 1
    assert [card.flip for card in cards] == [False] + 11 * [True]


def test_all_but_the_digits_are_looked_for_in_the_data_root() -> None:
    assert [card.name for card in list_datasets() if not names_in_root(card.name)] == ["digits"]


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown data set 'cifar-100'. Did you mean 'cifar100'\?.*digits"):
        find_dataset("cifar-100")


@pytest.mark.parametrize(
    ("sides", "size", "fraction"), [([71, 71], 71, 1.0), ([72], 72, 0.875), ([60, 500, 600], None, 0.875)]
)
def test_folder_card_crops_only_images_that_are_large_enough(
    sides: list[int], size: int | None, fraction: float
) -> None:
    card = folder_card(Path("x/birds"), ["a", "b"], short_sides=sides, train_images=3, test_images=0)
    assert (card.name, card.num_classes, card.image_size, card.crop_fraction) == ("birds", 2, size, fraction)
    assert card.flip and card.min_crop_area == 0.3


def test_contents_page_lists_what_there_is() -> None:
    for name in nat.datasets.__all__:
        assert getattr(nat.datasets, name).__name__ == name
        assert name in dir(nat.datasets)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nat.datasets.nothing


def test_cards_need_no_torch() -> None:
    code = "import sys, nat.datasets; nat.datasets.list_datasets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, timeout=60).returncode == 0
