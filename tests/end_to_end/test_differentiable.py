"""DARTS, NASP and GDAS from images to a front, within their limits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Command = Callable[..., Any]
Words = Callable[..., list[str]]


@pytest.mark.parametrize("name", ["darts", "nasp", "gdas"])
def test_a_transfer_by_gradients(name: str, command: Command, transfer_words: Words, tmp_path: Path, run: Path) -> None:
    """The same files as of any other strategy; nothing above the limit; the parameters have been trained.

    Controls have a folder where the front lacks an end of the space.
    """
    known = json.loads((run / "front.json").read_text())
    limit = (known["controls"][0]["macs"] + known["controls"][1]["macs"]) // 2
    out = tmp_path / "run"
    outcome = command(*transfer_words(out, "--searcher", name, "--max-macs", str(limit), "--json"))
    assert outcome.code == 0, outcome.err
    front = outcome.json
    assert front["searcher"] == name and set(front) == set(known)
    assert front["front"] and all(net["macs"] <= limit for net in front["front"])
    assert front["evaluations"] == known["evaluations"] and front["failures"]["count"] == 0
    files, known_files = ({path.name for path in folder.iterdir()} - {"controls"} for folder in (out, run))
    assert files == known_files
    state = torch.load(out / "training.pt", weights_only=True)["searcher"]
    assert len(state["sets"]) == 5
    moved = [vector for each in state["sets"] for vector in each.values() if len(vector) > 1 and vector.std() > 0.02]
    assert moved, "some choices have been told apart"
    assert command("evaluate", next((out / "subnets").iterdir())).code == 0


def test_a_class_of_one_training_image_cannot_be_held_out(
    command: Command, transfer_words: Words, tmp_path: Path
) -> None:
    from PIL import Image

    for kind, part, count in (("cat", "train", 3), ("dog", "train", 1), ("cat", "val", 1), ("dog", "val", 1)):
        (tmp_path / "data" / part / kind).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (24, 24), (i, 9, 9)).save(tmp_path / "data" / part / kind / f"{i}.png")
    (tmp_path / "data" / "test").symlink_to(tmp_path / "data" / "val")
    words = transfer_words(tmp_path / "run", "--searcher", "gdas")
    words[1] = str(tmp_path / "data")
    outcome = command(*words)
    assert outcome.code == 2 and "'dog' (1)" in outcome.err, outcome.err
    assert not (tmp_path / "run").exists()
