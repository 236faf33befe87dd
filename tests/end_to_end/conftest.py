"""One tiny transfer, done once and looked at by many tests; and what is needed to run more of them."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

AMOUNTS = {
    "initial": 4,
    "rounds": 1,
    "per_round": 2,
    "archive": 4,
    "population": 8,
    "generations": 2,
    "first_training": "3 steps",
    "round_training": "2 steps",
    "batch": 8,
    "fit_classifier": "true",
    "calibration_images": 32,
    "validation_images": 60,
    "finetuning": "3 steps",
    "front": 2,
}


Command = Callable[..., Any]
Words = Callable[..., list[str]]


@pytest.fixture(scope="session")
def amount_words() -> Callable[[Mapping[str, object]], list[str]]:
    """The words that make a run tiny, but for some amounts."""

    def words(other: Mapping[str, object]) -> list[str]:
        return [word for name, value in {**AMOUNTS, **other}.items() for word in ("--set", f"{name}={value}")]

    return words


@pytest.fixture(scope="session")
def transfer_words(supernet_file: Path, amount_words: Callable[[Mapping[str, object]], list[str]]) -> Words:
    """The words of a tiny transfer of digits into a folder, with more words behind."""

    def words(out: Path, *more: str) -> list[str]:
        fixed = ["transfer", "digits", "--supernet", str(supernet_file), "--resolutions", "24", "--out", str(out)]
        return [*fixed, "--device", "cpu", "--threads", "1", *amount_words({}), *more]

    return words


@pytest.fixture(scope="session")
def run(command: Command, transfer_words: Words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with seed 0; only to be read."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    outcome = command(*transfer_words(out))
    assert outcome.code == 0, outcome.err
    return out


@pytest.fixture(scope="session")
def front_of() -> Callable[[Path], dict[str, Any]]:
    """What must be equal in the front.json of two runs of one seed: all but times."""

    def read(run: Path) -> dict[str, Any]:
        front: dict[str, Any] = json.loads((run / "front.json").read_text())
        assert front.pop("seconds") > 0 and front.pop("search_seconds") > 0
        front["verdict"] = [re.sub(r"^The search \(\d+ s\)", "The search", said) for said in front["verdict"]]
        for record in front["rounds"]:
            assert record.pop("seconds") > 0
            assert all(seconds >= 0 for seconds in record.pop("cost").values())
        return front

    return read
