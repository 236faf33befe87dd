import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from timm import is_model_pretrained

from nat.errors import CheckpointError, InputError
from nat.pretrained import catalogue
from nat.pretrained.cache import PublishedFile, git_blob_id
from nat.pretrained.card import Card
from nat.pretrained.catalogue import (
    GROWABLE,
    PUBLISHED,
    WEIGHTS,
    State,
    find_checkpoint,
    find_published,
    list_checkpoints,
    load_supernet,
    scratch_card,
)
from nat.pretrained.growing import untrained_supernet
from nat.pretrained.store import load_supernet_file, save_supernet
from nat.pretrained.timm_models import check_family
from nat.supernet.space import named_spaces
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer, sandwich_step

SHIPPED = sorted({path.stem for path in WEIGHTS.glob("*") if path.suffix in {".json", ".safetensors"}})
OFA = ["ofa_mbv3_d234_e346_k357_w1.0", "ofa_mbv3_d234_e346_k357_w1.2", "ofa_proxyless_d234_e346_k357_w1.3"]
SCRATCH = ["scratch", "scratch:nat-w1.0", "scratch:nat-w1.2", "scratch:proxyless-w1.3"]
TIMM_NAMES = [f"timm:{model}" for model, _ in GROWABLE]
LogitsOf = Callable[[Supernet], torch.Tensor]


# --- what comes with the package


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_card_proves_itself_against_its_weights(name: str, logits_of: LogitsOf) -> None:
    path = WEIGHTS / f"{name}.safetensors"
    supernet, card = load_supernet_file(path)
    assert card.name == name
    assert find_checkpoint(name).card == card
    for text in (card.title, card.trained_on, card.licence, card.command):
        assert text.strip()
    assert card.recipe and card.accuracy
    assert supernet.num_classes == card.num_classes > 1
    assert all(0 <= value <= 1 for value in card.mean)
    with torch.device("meta"):
        expected = Supernet(card.space, card.num_classes)
    with safe_open(path, "pt") as file:
        stored = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    assert stored == {key: tuple(tensor.shape) for key, tensor in expected.state_dict().items()}
    logits = logits_of(supernet)
    assert logits.isfinite().all() and logits.std() > 0


def test_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*")) < 20 * 2**20


# --- names


@pytest.fixture
def shelf(tmp_path: Path, supernet: Supernet, card: Card, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with one supernet, `tiny`, in place of the package's."""
    save_supernet(supernet, card, tmp_path / "tiny.safetensors")
    monkeypatch.setattr(catalogue, "WEIGHTS", tmp_path)
    return tmp_path


def test_shipped_supernets_are_listed_and_load_by_name(
    shelf: Path, supernet: Supernet, card: Card, logits_of: LogitsOf
) -> None:
    names = [entry.name for entry in list_checkpoints()]
    assert names == ["tiny", *TIMM_NAMES, *OFA, *SCRATCH]
    loaded, its_card = load_supernet("tiny")
    assert its_card == card == find_checkpoint("tiny").card
    assert torch.equal(logits_of(loaded), logits_of(supernet))


def test_files_load_by_path(shelf: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf)
    for source in (
        shelf / "tiny.safetensors",
        str(shelf / "tiny.safetensors"),
        "tiny.safetensors",
        "./tiny.safetensors",
    ):
        assert load_supernet(source)[1] == card


def test_a_damaged_card_on_the_shelf_is_named(shelf: Path) -> None:
    (shelf / "tiny.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tiny\.json"):
        list_checkpoints()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tinny", "unknown supernet 'tinny'. Did you mean 'tiny'?"),
        ("scratch:nat-w1.21", "Did you mean 'scratch:nat-w1.2'?"),
        ("ofa_mbv3_d234_e346_k357_w1", "Did you mean 'ofa_mbv3_d234_e346_k357_w1.2'?"),
        ("zzz", f"unknown supernet 'zzz'. There are: {', '.join([*OFA, *SCRATCH])}, "),
        ("", "unknown supernet ''. There are: "),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(shelf: Path, name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_supernet(name)
    assert message in str(caught.value)


def test_folders_and_absent_files_are_answered_in_words(shelf: Path) -> None:
    with pytest.raises(CheckpointError, match="got the folder"):
        load_supernet(str(shelf) + "/")
    with pytest.raises(CheckpointError, match="there is none"):
        load_supernet("absent.pth")


def test_a_name_wins_over_a_file_of_that_name(shelf: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf)
    for name in ("tiny", "other"):
        (shelf / name).write_text("no supernet")
    assert load_supernet("tiny")[1] == card
    for source in ("./tiny", "other"):
        with pytest.raises(CheckpointError, match=r"not a checkpoint|not a plain file of tensors"):
            load_supernet(source)


# --- published files


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedFile:
    """A catalogue with one published supernet, of random weights, which is not yet in the cache but in `tmp_path`."""
    monkeypatch.setenv("NAT_HOME", str(tmp_path / "home"))
    supernet = Supernet(named_spaces()["nat-w1.0"], 7, generator=torch.Generator().manual_seed(0))
    torch.save({"state_dict": supernet.state_dict()}, tmp_path / "here")
    url = "https://example.org/ofa_w1.0"
    file = PublishedFile("ofa_w1.0", "published", url, git_blob_id(tmp_path / "here"), "ImageNet-1k", "free")
    monkeypatch.setattr(catalogue, "PUBLISHED", (file,))
    return file


def test_published_files_have_addresses_and_ids() -> None:
    assert [file.name for file in PUBLISHED] == OFA
    for file in PUBLISHED:
        assert file.url == f"https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets/{file.name}"
        assert len(bytes.fromhex(file.blob_id)) == 20
        assert file.title and file.trained_on and file.licence
    assert len({file.blob_id for file in PUBLISHED}) == len(PUBLISHED)


def test_a_published_supernet_is_asked_for_and_then_loads(published: PublishedFile, tmp_path: Path) -> None:
    assert find_checkpoint("ofa_w1.0").state == State.TO_BE_PULLED
    with pytest.raises(CheckpointError, match=r"run 'nat checkpoints pull ofa_w1\.0'"):
        load_supernet("ofa_w1.0")
    published.path.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "here", published.path)  # by hand
    assert find_checkpoint("ofa_w1.0").state == State.PULLED
    supernet, card = load_supernet("ofa_w1.0")
    assert supernet.space == card.space == named_spaces()["nat-w1.0"] and card.num_classes == 7
    said = (card.name, card.title, card.trained_on, card.licence)
    assert said == ("ofa_w1.0", "published", "ImageNet-1k", "free")
    with published.path.open("ab") as file:
        file.write(b"0")
    with pytest.raises(CheckpointError, match="expected git blob id"):
        load_supernet("ofa_w1.0")


def test_what_need_not_be_pulled_is_told(shelf: Path) -> None:
    assert find_published(OFA[0]) == PUBLISHED[0]
    for name, whence in (("tiny", "with the package"), ("scratch", "random"), ("scratch:nat-w1.0", "random")):
        with pytest.raises(InputError, match=f"nothing to pull: the weights of '{name}' are {whence}"):
            find_published(name)
    with pytest.raises(InputError, match="Did you mean 'tiny'"):
        find_published("tinny")


# --- random weights


def test_scratch_is_random_but_seeded() -> None:
    (first, card), (again, _), (other, _) = (load_supernet("scratch", seed=seed) for seed in (5, 5, 6))
    assert first.space == card.space == named_spaces()["small"]
    assert first.num_classes == card.num_classes > 0
    name = "blocks.3.conv.point_linear.conv.conv.weight"
    assert torch.equal(first.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


def test_scratch_can_be_had_in_every_named_space() -> None:
    for name, space in named_spaces().items():
        assert scratch_card(name).space == space
        entry = find_checkpoint("scratch" if name == "small" else f"scratch:{name}")
        assert entry.card == scratch_card(name) and entry.state == State.RANDOM


def test_random_weights_of_the_second_family_train_a_step() -> None:
    supernet, _ = load_supernet("scratch:proxyless-w1.3")
    space = supernet.space = supernet.space.with_resolutions([32])
    supernet.reset_classifier(3, torch.Generator().manual_seed(0))
    before = supernet.first_conv.get_parameter("conv.weight").clone()
    trainer = WeightTrainer(supernet, Schedule(0.01, 1))
    images, labels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2])
    loss = sandwich_step(trainer, images, labels, [space.largest(), space.smallest()], label_smoothing=0.1)
    assert 0 < loss < 10 and not torch.equal(before, supernet.first_conv.get_parameter("conv.weight"))
    assert supernet.extract(space.smallest()).eval()(images).shape == (2, 3)


# --- networks of timm ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [model for model, _ in GROWABLE])
def test_what_is_listed_as_growable_has_published_weights_and_can_grow(model: str) -> None:
    assert is_model_pretrained(model)
    _, card = untrained_supernet(model)
    assert find_checkpoint(f"timm:{model}").state is State.GROWN
    assert card.space.size() > 1000 and not card.elastic


def test_published_weights_are_chosen_by_timms_tags() -> None:
    check_family("mobilenetv3_large_100.ra4_e3600_r224_in1k")
    for unknown in ("mobilenetv3_large_100.ra5_e3600", "mobilenetv3_larg_100"):
        with pytest.raises(InputError, match="expected the name of a timm model"):
            check_family(unknown)
