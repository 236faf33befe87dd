from pathlib import Path
from typing import Any

import pytest

from nat.plots import plot_front, short_name
from nat.timm_controls import name_of


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("largest subnet", "largest"),
        ("largest uniform subnet within the budget", "largest uniform"),
        (name_of("lcnet_050", pretrained=True), "lcnet_050"),
        (name_of("lcnet_050", pretrained=False), "lcnet_050"),
    ],
)
def test_names_in_the_picture_are_short(name: str, short: str) -> None:
    assert short_name(name) == short


def test_names_of_controls_side_by_side_do_not_meet(tmp_path: Path) -> None:
    net = {"macs": 2e6, "val_top1": 0.5, "test_top1": 0.6, "finetuned": True}
    controls = [
        {"name": name, "macs": macs, "test_top1": 0.5} for name, macs in (("a", 2e6), ("b", 2.1e6), ("c", 2.2e6))
    ]
    front: dict[str, Any] = {"front": [net], "controls": controls, "dataset": "x", "searcher": "nat"}
    plot_front(front, [], tmp_path / "front.svg")
    lines = (tmp_path / "front.svg").read_text().splitlines()
    heights = {name: next(line for line in lines if line.strip().endswith(f">{name}</text>")) for name in "abc"}
    tops = {name: float(text.split('y="')[1].split('"')[0]) for name, text in heights.items()}
    assert tops["a"] == tops["c"] > tops["b"]  # from above down: the second name is above
