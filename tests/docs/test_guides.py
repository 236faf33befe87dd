"""What the documentation says works: the guides, the API page and the examples run, in order, on a few tiny images.

Blocks marked `console` hold one command a line, blocks marked `python` code; both are run as a reader would, in one
folder that the guides share. Nothing in the text is made small for that. Instead

- the efforts, which set all amounts of a transfer, are tiny ones while the documents run, and so are the input sizes;
- commands whose amounts are options get the words of `SMALLER` behind them (the last of an option counts);
- commands of `NETWORK` fetch from, or write to, the network; they are parsed only: names of options and the number
  of arguments. `nat checkpoints pull` and `nat pull` run against servers on this machine in
  tests/commands/test_catalogues.py, tests/pretrained/test_download.py and tests/deployment/test_hub.py.

Command lines of the README and docs/export.md are parsed as well.
"""

import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy, copytree
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from timm import create_model
from typer.main import get_command

from nat.efforts import Effort, efforts
from nat.main import app
from nat.searchers import SEARCHERS

Command = Callable[..., Any]
ROOT = Path(__file__).parents[2]
TEXTURES = "banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched crystalline".split()
MODEL = "tf_mobilenetv3_large_minimal_100"
RUN = ("docs/my-images.md", "docs/picking.md", "docs/published-supernets.md", "docs/compare.md", "docs/api.md")
PARSED = ("README.md", "docs/export.md", *RUN[:-1])  # those with command lines; the API page has none
LINKED = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/export.md", "docs/method.md", *RUN)
SMALLER = {
    "compare": "--searchers nat,random --seeds 1 --jobs 1",  # the others run in tests/end_to_end
    "finetune": "--amount '2 steps'",
}
NETWORK = (
    "nat checkpoints pull ofa_mbv3_d234_e346_k357_w1.0",
    "nat transfer photos/textures --supernet ofa_mbv3_d234_e346_k357_w1.0 --max-macs 150M --out runs/ofa",
    "nat transfer photos/textures --supernet timm:mobilenetv3_large_100 --out runs/timm",
)


class Block(NamedTuple):
    """A fenced block: its language, its text, and where it is, for messages."""

    language: str
    text: str
    place: str


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], f"{document}:{text[: m.start()].count(chr(10)) + 2}") for m in found]


def command_lines(block: Block) -> list[str]:
    """The commands of the toolkit in a block, without `uv run`, comments and broken lines."""
    lines = (line.strip() for line in block.text.replace("\\\n", " ").splitlines())
    return [line.removeprefix("uv run ") for line in lines if re.match(r"(uv run )?nat ", line)]


def words_of(line: str) -> list[str]:
    """A command line's words behind `nat`."""
    return shlex.split(line, comments=True)[1:]


def check_parses(words: list[str]) -> None:
    """Raises unless there is such a command with such options and arguments."""
    found: Any = get_command(app)
    rest = list(words)
    while rest and hasattr(found, "commands"):
        found = found.commands[rest.pop(0)]
    found.make_context("nat", rest)


def draw_textures(folder: Path) -> None:
    """Handwritten digits as images of ten textures: 12 a class for training, 4 for tests."""
    images, labels = load_digits(return_X_y=True)
    for label, name in enumerate(TEXTURES):
        for number, pixels in enumerate(images[labels == label][:16]):
            path = folder / ("train" if number < 12 else "test") / name / f"{number:05}.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray((pixels.reshape(8, 8) * 15.9).astype("uint8"))
            grey.resize((32, 32)).convert("RGB").save(path, lossless=True)


@pytest.fixture(scope="module")
def place(
    proxyless_file: Path, small_amounts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The folder that a reader works in, with the files that the guides name; efforts are tiny."""
    place, quick = tmp_path_factory.mktemp("reader"), efforts()["quick"].model_dump()
    tiny = Effort.model_validate({**quick, **small_amounts})
    draw_textures(place / "photos" / "textures")
    copytree(ROOT / "examples", place / "examples", ignore=lambda *_: ["__pycache__"])
    (place / "downloads").mkdir()
    copy(proxyless_file, place / "downloads" / "proxyless-w0.3-r176_imagenet.pth")
    torch.manual_seed(0)
    weights = create_model(MODEL, pretrained=False, num_classes=20).state_dict()
    save_file(weights, place / "downloads" / f"{MODEL}.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(place)
        patch.setattr("nat.options.efforts", lambda: dict.fromkeys(("quick", "standard", "paper"), tiny))
        patch.setattr("nat.options.gentle", lambda name: tiny)
        patch.setattr("nat.preparation.input_sizes", lambda pixels: [16, 24])
        for name in SEARCHERS:
            patch.setitem(SEARCHERS, name, SEARCHERS[name])  # what examples add is taken out again
        yield place


def run_console(block: Block, command: Command) -> None:
    """Runs the commands of a block."""
    lines = command_lines(block)
    stated = [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(lines) == len(stated), f"{block.place}: something else than a command of the toolkit"
    for line in lines:
        words = words_of(line)
        if shlex.join(["nat", *words]) in NETWORK:
            check_parses(words)
            continue
        outcome = command(*words, *shlex.split(SMALLER.get(words[0], "")))
        assert outcome.code == 0, f"{block.place}: {line}\n{outcome.out}{outcome.err}"


def run_document(document: str, command: Command) -> dict[str, Any]:
    """Runs all blocks of a document, whose Python shares its names; these are returned."""
    names: dict[str, Any] = {"__name__": "document"}
    for block in blocks(document):
        if block.language == "console":
            run_console(block, command)
        elif block.language == "python":
            exec(compile(block.text, block.place, "exec"), names)
    return names


@pytest.fixture(scope="module")
def reader(place: Path, command: Command) -> Path:
    """The folder, once the first guide has been followed."""
    run_document("docs/my-images.md", command)
    return place


def test_my_images(reader: Path) -> None:
    run = reader / "runs" / "textures"
    assert {"front.json", "report.html"} <= {path.name for path in run.iterdir()}
    assert (reader / "textures-net" / "model.safetensors").is_file()


def test_picking(reader: Path, command: Command) -> None:
    run_document("docs/picking.md", command)


def test_published_supernets(reader: Path, command: Command) -> None:
    run_document("docs/published-supernets.md", command)
    assert (reader / "runs" / "grown" / "front.json").is_file()


def test_compare(place: Path, command: Command) -> None:
    run_document("docs/compare.md", command)
    assert (place / "runs" / "compare-digits" / "compare.png").is_file()


def test_api(reader: Path, command: Command) -> None:
    run_document("docs/api.md", command)


EXAMPLES = {
    "transfer_from_python.py": "photos/textures runs/python",
    "own_objective.py": "photos/textures runs/own-objective",
    "own_searcher.py": "photos/textures runs/own-searcher",
    "classify.py": "textures-net photos/textures/test/banded/00012.webp",
}


def test_every_example_is_run() -> None:
    assert set(EXAMPLES) == {path.name for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = EXAMPLES[name].split()
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert capsys.readouterr().out
    assert f"python examples/{name}" in (ROOT / "examples" / name).read_text(), "it says how to run it"


@pytest.mark.parametrize("document", PARSED)
def test_commands_parse(document: str) -> None:
    lines = [line for block in blocks(document) if block.language != "python" for line in command_lines(block)]
    assert lines
    for line in lines:
        try:
            check_parses(words_of(line))
        except Exception as error:
            raise AssertionError(f"{document}: {line}: {error}") from error


def test_commands_of_the_network_are_in_a_guide() -> None:
    found = [command_lines(block) for name in RUN for block in blocks(name) if block.language == "console"]
    assert set(NETWORK) <= {shlex.join(["nat", *words_of(line)]) for lines in found for line in lines}


def test_runnable_documents_say_what_their_blocks_are() -> None:
    known = {"console", "python", "text", "json"}
    assert {block.place for name in RUN for block in blocks(name) if block.language not in known} == set()


@pytest.mark.parametrize("document", LINKED)
def test_links_lead_somewhere(document: str) -> None:
    folder, text = (ROOT / document).parent, (ROOT / document).read_text(encoding="utf-8")
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target}
    assert [target for target in targets if target and not (folder / target).exists()] == []
    for target in re.findall(r"\]\(([^)\s:]*\.md#[^)\s]+)\)", text):
        page, _, anchor = target.partition("#")
        headings = re.findall(r"(?m)^#+ (.+)$", (folder / page).read_text(encoding="utf-8"))
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
