"""`nat cell`: what it says, what it draws, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from nat.supernet.cells.block_costs import BlockCosts
from nat.supernet.cells.blocks import BlockCell, BlockSpace
from nat.supernet.cells.network import FORMS
from nat.supernet.cells.spelling import PUBLISHED, find_genotype

Command = Callable[..., Any]
DARTS_V2 = PUBLISHED["darts-v2"]
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


def test_a_block_cell_is_described_and_drawn(command: Command, tmp_path: Path) -> None:
    """Normal and reduction cells are one: it is listed and drawn once, and joins the blocks that no other takes."""
    path, picture = tmp_path / "pnas.json", tmp_path / "cell.svg"
    cell = BlockCell([[0, "sep_conv_3x3", 1, "max_pool_3x3"], [1, "conv_7x1_1x7", 2, "skip_connect"]])
    path.write_text(json.dumps(cell.to_json()))
    found = command("cell", path, "-o", picture, "--form", "digits", "--space", "pnas", "--json").json
    assert found["genotype"] == cell.genotype().to_json() and found["genotype"]["normal_concat"] == [3]
    assert BlockCell.of(find_genotype(json.dumps(found["genotype"]))) == cell
    form = FORMS["digits"]
    assert [found["macs"], found["params"]] == list(BlockCosts(BlockSpace(2), form).of(cell))
    texts = [element.text for element in ElementTree.parse(picture).iter() if element.tag.endswith("text")]
    assert texts.count("conv_7x1_1x7") == texts.count("sep_conv_3x3") == 1 and "normal and reduction cell" in texts
    said = command("cell", "pnasnet-5").out
    assert said.count("both") == 10 and said.count("sep_conv_7x7") == 1


def test_the_published_block_cell_is_the_published_one() -> None:
    """As TensorFlow's code has it, whose inputs 0 and 1 are the other way round; all blocks are joined."""
    published = [
        [1, "sep_conv_5x5", 1, "max_pool_3x3"],
        [0, "sep_conv_7x7", 0, "max_pool_3x3"],
        [0, "sep_conv_5x5", 0, "sep_conv_3x3"],
        [4, "sep_conv_3x3", 0, "max_pool_3x3"],
        [1, "sep_conv_3x3", 0, "skip_connect"],
    ]
    assert find_genotype("pnasnet-5") == BlockCell.from_tensorflow(published).genotype(join_all=True)


FAR = '{"blocks": [[0, "sep_conv_3x3", 2, "skip_connect"]]}'
WRONG = '{"normal": [["sep_conv_3x3", 0], ["sep_conv3x3", 1]], "reduce": null}'


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (WRONG, [], "Did you mean 'sep_conv_3x3'"),
        (FAR.replace("2", "1").replace("skip_connect", "skip_conect"), [], "Did you mean 'skip_connect'"),
        (FAR, [], "expected inputs of block 1 from 0 to 1, got 2"),
        ('{"blocks": [[0, "sep_conv_3x3"]]}', [], "expected a block as [input, operation, input, operation]"),
        ("[1, 2]", [], '{"blocks": [[input, operation, input, operation], ...]}'),
        (STRING, ["--space", "darts"], "expected a genotype with the cells normal, reduce for space 'darts'"),
        (STRING, ["--space", "digits"], "Name the space that it was found in"),
        (DARTS_V2, ["--space", "nas-bench-201"], "for space 'nas-bench-201'"),
        (PUBLISHED["nasp"], ["--space", "darts"], "expected operations among"),
        (DARTS_V2, ["--space", "pnas"], "expected one cell of blocks"),
        (FAR.replace("2", "1").replace("sep_conv", "nor_conv"), ["--space", "pnas"], "unknown operation of this space"),
        (DARTS_V2, ["--space", "dart"], "Did you mean 'darts'"),
    ],
)
def test_files_of_no_cell_or_of_another_space_are_refused(
    command: Command, tmp_path: Path, text: str, words: list[str], message: str
) -> None:
    path = tmp_path / "cell.txt"
    path.write_text(text)
    outcome = command("cell", path, *words)
    assert outcome.code == 2 and message in outcome.err, outcome.err
    assert outcome.out == "" and len(outcome.err.splitlines()) <= 2


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
