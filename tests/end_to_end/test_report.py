"""`nat report`: of a finished run, an interrupted one, one of an older version, one whose images are gone."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nat.archive import Archive
from nat.reports import JOINS

Command = Callable[..., Any]
DATA = re.compile('<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def said(page: Path) -> dict[str, Any]:
    """What a page says."""
    (text,) = DATA.findall(page.read_text(encoding="utf-8"))
    content: dict[str, Any] = json.loads(text)
    return content


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """The run, free to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copied"))


def test_transfer_writes_a_report_that_agrees_with_front_json(run: Path) -> None:
    content, front = said(run / "report.html"), read(run / "front.json")
    assert (run / "report.html").stat().st_size < 6e6
    assert content["front"] == front and content["finished"] and content["notes"] == []
    assert content["headline"]["verdict"] == front["verdict"][0]
    for row in front["front"]:
        net = content["nets"][row["id"]]
        assert all(net[key] == row[key] for key in net if key in row)
        assert net["folder"] == f"subnets/{row['id']}/" and (run / net["folder"]).is_dir()
        assert net["answers"]["top1"] == pytest.approx(row["test_top1"])
        assert len(net["blocks"]["stages"]) == 5
    for control in front["controls"]:
        net = content["nets"][control["id"]]
        assert net["control"] == control["name"] and net["test_top1"] == control["test_top1"]
        assert net["answers"]["top1"] == pytest.approx(control["test_top1"])
        assert net["test_interval"][0] <= control["test_top1"] <= net["test_interval"][1]
    shown = {
        str(row[0]) for net in content["nets"].values() for rows in net.get("examples", {}).values() for row in rows
    }
    assert set(content["pictures"]) == shown and len(shown) >= 8


def test_report_again_is_the_same_without_reading_images(
    run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nat.report.measuring.read_splits", None)
    out = tmp_path / "pages" / "of mine" / "a.html"
    outcome = command("report", run, "-o", out, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == {"report": str(out), "finished": True, "notes": [], "figures": []}
    again, before = said(out), said(run / "report.html")
    for id, net in again["nets"].items():
        if net["folder"] is not None:
            assert (out.parent / net["folder"]).resolve() == (run / before["nets"][id]["folder"]).resolve()
            net["folder"] = before["nets"][id]["folder"]
    assert {**again, "made": None} == {**before, "made": None}


def test_pareto_is_what_pick_chooses_from(run: Path, command: Command, tmp_path: Path) -> None:
    content = said(run / "report.html")
    for number, id in enumerate(content["pareto"]):
        net = content["nets"][id]
        outcome = command("pick", run, "--max-macs", str(net["macs"]), "-o", tmp_path / str(number), "--json")
        within = [
            content["nets"][other] for other in content["pareto"] if content["nets"][other]["macs"] <= net["macs"]
        ]
        assert content["nets"][outcome.json["id"]] == within[0], "they come with the best first"


def test_the_searched_come_by_accuracy_behind_what_joined_the_front(run: Path) -> None:
    content = said(run / "report.html")
    front, ids = read(run / "front.json"), content["pareto"]
    closing = [front["front"][-1]["id"]] if JOINS in front["verdict"] else []
    assert ids[: len(closing)] == closing
    accuracies = [content["nets"][id]["val_top1"] for id in ids[len(closing) :]]
    assert accuracies == sorted(accuracies, reverse=True)


def test_figures_for_papers(run: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("report", run, "-o", tmp_path / "r.html", "--figures", tmp_path / "figures")
    assert outcome.code == 0, outcome.err
    assert f"report: {tmp_path / 'r.html'}" in outcome.out
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files == ["classes.png", "classes.svg", "front.png", "front.svg", "rounds.png", "rounds.svg"]
    words = {"front": "multiply-adds", "rounds": "hypervolume", "classes": "named right"}
    for path in (tmp_path / "figures").iterdir():
        if path.suffix == ".svg":
            assert words[path.stem] in "".join(ET.parse(path).getroot().itertext())
        else:
            with Image.open(path) as picture:
                assert min(picture.size) > 100


def test_an_interrupted_run_is_reported_as_such(copied: Path, command: Command) -> None:
    for name in ("front.json", "report.html", "thumbnails.json"):
        (copied / name).unlink()
    outcome = command("report", copied)
    assert outcome.code == 0, outcome.err
    assert "the run is not finished" in outcome.out
    content = said(copied / "report.html")
    assert content["finished"] is False and "not finished" in content["headline"]["verdict"]
    assert content["front"]["front"] and all(row["test_top1"] is None for row in content["front"]["front"])
    shutil.rmtree(copied / "subnets")
    (copied / "archive.sqlite").unlink()
    outcome = command("report", copied)
    assert outcome.code == 0 and "nothing has been evaluated yet" in outcome.out
    assert said(copied / "report.html")["nets"] == {}


def as_of_an_older_version(run: Path) -> None:
    """Takes away what the first versions did not write."""
    front = read(run / "front.json")
    kept = ("schema", "dataset", "supernet", "searcher", "seed", "evaluations", "front", "controls", "verdict")
    for row in front["front"]:
        del row["val_interval"], row["test_interval"]
    (run / "front.json").write_text(json.dumps({key: front[key] for key in kept}))
    for name in ("correct", "predictions"):
        for path in run.glob(f"*/*/{name}.safetensors"):
            path.unlink()
    (run / "thumbnails.json").unlink()
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    lines = [json.dumps({k: v for k, v in event.items() if k != "elapsed"}) for event in events]
    (run / "events.jsonl").write_text("\n".join(lines) + "\n")


def test_bundles_of_older_versions_are_measured_once(run: Path, copied: Path, command: Command) -> None:
    as_of_an_older_version(copied)
    assert command("report", copied).code == 0
    now, new = said(copied / "report.html"), said(run / "report.html")
    assert now["notes"] == [] and now["pictures"] == new["pictures"]
    for id, net in new["nets"].items():
        assert now["nets"][id].get("answers") == net.get("answers"), "the same answers as were measured in the run"
        assert now["nets"][id]["test_interval"] == net["test_interval"]
    assert len(list(copied.glob("*/*/predictions.safetensors"))) == len(list(run.glob("*/*/predictions.safetensors")))


def test_where_the_images_are_gone_the_report_says_so(copied: Path, command: Command) -> None:
    as_of_an_older_version(copied)
    config = read(copied / "config.json")
    config["options"]["data"] = "/nowhere/photos"
    (copied / "config.json").write_text(json.dumps(config))
    outcome = command("report", copied)
    assert outcome.code == 0 and "/nowhere/photos" in outcome.out
    content = said(copied / "report.html")
    assert content["pictures"] == {} and all("answers" not in net for net in content["nets"].values())
    assert len(content["notes"]) == 1
    assert command("report", copied, "--no-images").code == 0
    assert said(copied / "report.html")["notes"] == []


def test_other_images_are_not_measured(copied: Path, command: Command) -> None:
    as_of_an_older_version(copied)
    config = read(copied / "config.json")
    config["data"]["fingerprint"] = "0" * 64
    (copied / "config.json").write_text(json.dumps(config))
    assert "not those that the run was made with" in command("report", copied).out


def test_an_archive_that_is_gone_or_damaged_costs_its_parts_only(copied: Path, command: Command) -> None:
    (copied / "archive.sqlite").write_bytes(b"no database at all" * 100)
    outcome = command("report", copied)
    assert outcome.code == 0 and "archive" in outcome.out
    content = said(copied / "report.html")
    assert content["pareto"] == [] and content["genes"] is None and len(content["nets"]) >= 2


def test_report_refuses_what_it_cannot_do(run: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("report", tmp_path)
    assert outcome.code == 2 and "expected the folder of a run" in outcome.err and not list(tmp_path.iterdir())
    for out in (run / "front.json", tmp_path):
        outcome = command("report", run, "-o", out)
        assert outcome.code == 2 and "report.html" in outcome.err
    (tmp_path / "file").write_text("mine")
    outcome = command("report", run, "-o", tmp_path / "file" / "r.html")
    assert outcome.code == 2 and "cannot write in" in outcome.err
    outcome = command("report", run, "-o", tmp_path / "r.html", "--figures", tmp_path / "file")
    assert outcome.code == 2 and "cannot write in" in outcome.err


def test_the_archive_is_only_read(run: Path, command: Command, tmp_path: Path) -> None:
    before = (run / "archive.sqlite").read_bytes()
    assert command("report", run, "-o", tmp_path / "r.html").code == 0
    with Archive(run / "archive.sqlite", read_only=True) as archive:
        assert len(archive) == read(run / "front.json")["evaluations"]
    assert (run / "archive.sqlite").read_bytes() == before
