"""`nat cell`: what it says, what it draws, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from nat.supernet.cells.spelling import find_genotype

Command = Callable[..., Any]
STRING = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"


def test_a_published_cell_is_described_and_drawn(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "cell.svg"
    outcome = command("cell", "darts-v2", "-o", path)
    assert outcome.code == 0, outcome.err
    assert "528,359,040 multiply-adds, 3,349,342 parameters" in outcome.out
    texts = [element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("text")]
    assert texts.count("sep_conv_3x3") == 5 and texts.count("skip_connect") == 2 + 3
    assert {"normal cell", "reduction cell", "output"} <= set(texts)
    again = tmp_path / "again.svg"
    command("cell", "darts-v2", "-o", again)
    assert again.read_bytes() == path.read_bytes()


def test_files_and_strings(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(find_genotype("nasp").to_json()))
    found = command("cell", path, "--form", "imagenet", "--json").json
    assert (found["form"], found["id"]) == ("imagenet", find_genotype("nasp").id)
    picture = tmp_path / "cell.png"
    found = command("cell", STRING, "-o", picture, "--json").json
    assert found["form"] == "nas-bench-201" and found["genotype"]["inputs"] == 1
    with Image.open(picture) as image:
        assert image.width > 400


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["darts_v2"], "Did you mean 'darts-v2'"),
        (["Genotype(normal=[('sep_conv3x3', 0), ('none', 1)])"], "Did you mean 'sep_conv_3x3'"),
        (["darts-v2", "--form", "cifar10"], "Did you mean 'cifar'"),
        (["darts-v2", "-o", "cell.pdf"], "expected a picture's file with the ending .svg or .png"),
        (["nowhere/cell.json"], "cannot read a genotype"),
    ],
)
def test_what_is_refused(command: Command, words: list[str], message: str) -> None:
    outcome = command("cell", *words)
    assert outcome.code == 2 and message in outcome.err


def test_pictures_are_not_overwritten(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "cell.svg"
    path.write_text("mine")
    assert command("cell", "nasp", "-o", path).code == 2
    assert path.read_text() == "mine"
