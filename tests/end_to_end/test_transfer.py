"""A whole transfer through the command line: what the folder of a run holds, and what can be done with it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import nat
from nat.archive import Archive
from nat.fronts import front_hypervolume
from nat.pipeline import transfer
from nat.preparation import MACHINE_THREADS
from nat.pretrained.store import load_supernet_file
from nat.problem import SearchProblem
from nat.reports import JOINS
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable, costs_of
from nat.supernet.space import MobileNetSpace

Command = Callable[..., Any]
Words = Callable[..., list[str]]
FrontOf = Callable[[Path], dict[str, Any]]
BUNDLE = {
    "model.safetensors",
    "architecture.json",
    "preprocess.json",
    "labels.json",
    "config.json",
    "metrics.json",
    "correct.safetensors",
    "predictions.safetensors",
    "README.md",
}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def problem_of(run: Path) -> SearchProblem:
    config = read(run / "config.json")
    return SearchProblem(CostTable(MobileNetSpace.from_json(config["space"]), config["data"]["classes"]))


def bundles(run: Path) -> list[Path]:
    """Of the front and of those controls that it does not hold."""
    return sorted(path for kind in ("subnets", "controls") for path in (run / kind).glob("*"))


def bundle_of(run: Path, id: str) -> Path:
    return {path.name: path for path in bundles(run)}[id]


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file, but of those that SQLite keeps while it reads."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """The run, free to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copied"))


def test_front_json_says_what_was_asked(run: Path, supernet_file: Path) -> None:
    front = read(run / "front.json")
    assert front["schema"] == 1
    assert (front["dataset"], front["num_classes"], front["searcher"], front["seed"]) == ("digits", 10, "nat", 0)
    assert front["supernet"] == str(supernet_file)
    assert front["seconds"] > 0
    assert front["limits"] == {"macs": None, "params": None}


def test_front_json_has_exact_costs(run: Path) -> None:
    front = read(run / "front.json")
    nets, joined = front["front"], JOINS in front["verdict"]
    assert 1 <= len(nets) <= 2 + joined  # 2 were asked for
    for net in nets:
        architecture = Architecture.from_json(net["architecture"])
        assert isinstance(net["macs"], int) and isinstance(net["params"], int)
        assert (net["macs"], net["params"]) == costs_of(architecture, 10)
        assert net["id"] == architecture.id
        assert net["resolution"] == architecture.resolution == 24
        assert net["finetuned"] is True
        assert all(0 <= net[key] <= 1 for key in ("val_top1", "finetuned_val_top1", "test_top1"))


def test_front_json_agrees_with_the_archive(run: Path) -> None:
    front, problem = read(run / "front.json"), problem_of(run)
    with Archive(run / "archive.sqlite", read_only=True) as archive:
        last = archive.at_version(1)
        assert front["evaluations"] == len(archive)
        assert not archive.failures()
    assert len(last) == 6, "two proposals and the four kept, with the final weights"
    measured = {e.architecture.id: e for e in last}
    for net in front["front"][: -1 if JOINS in front["verdict"] else None]:
        assert net["val_top1"] == 1.0 - measured[net["id"]].objectives["top1_error"]
    assert front["hypervolume"] == front_hypervolume(problem, last) > 0
    assert front["reference_point"] == {"top1_error": 1.0, "macs": problem.costs.of(problem.space.largest())[0]}


def test_the_largest_subnet_joins_the_front_where_no_other_reaches_it(run: Path) -> None:
    front, problem = read(run / "front.json"), problem_of(run)
    largest = next(control for control in front["controls"] if control["kind"] == "largest")
    others = [net for net in front["front"] if net["id"] != largest["id"]]
    reached = any(net["finetuned_val_top1"] >= largest["finetuned_val_top1"] for net in others)
    assert reached or len(others) < len(front["front"]), "the best net of a run is on its front"
    if JOINS in front["verdict"]:
        assert not reached
        last = front["front"][-1]
        assert last["id"] == largest["id"] and (run / "subnets" / last["id"]).is_dir()
        assert last["architecture"] == problem.space.largest().to_json()
        assert all(last[key] == largest[key] for key in ("finetuned_val_top1", "test_top1", "macs"))
        assert not (run / "controls" / last["id"]).exists()


def test_a_run_killed_before_it_has_said_what_it_found_says_the_same(
    run: Path, copied: Path, command: Command, front_of: FrontOf
) -> None:
    (copied / "front.json").unlink()
    outcome = command("resume", copied, "--json")
    assert outcome.code == 0, outcome.err
    assert front_of(copied) == front_of(run)
    assert {path.name for path in bundles(copied)} == {path.name for path in bundles(run)}


def test_front_is_sorted_and_no_evaluation_dominates_it(run: Path) -> None:
    nets = (front := read(run / "front.json"))["front"]
    assert [net["macs"] for net in nets] == sorted({net["macs"] for net in nets})
    with Archive(run / "archive.sqlite", read_only=True) as archive:
        points = [(1.0 - e.objectives["top1_error"], e.objectives["macs"]) for e in archive.at_version(1)]
    for net in nets[:-1] if JOINS in front["verdict"] else nets:
        assert not any(
            top1 >= net["val_top1"] and macs <= net["macs"] and (top1, macs) != (net["val_top1"], net["macs"])
            for top1, macs in points
        )


def test_controls_are_the_ends_of_the_space(run: Path) -> None:
    controls, space = read(run / "front.json")["controls"], problem_of(run).space
    assert [control["name"] for control in controls] == ["largest subnet", "smallest subnet"]
    for control, architecture in zip(controls, (space.largest(), space.smallest()), strict=True):
        assert (control["macs"], control["params"]) == costs_of(architecture, 10)
        assert control["id"] == architecture.id
        metrics = read(bundle_of(run, control["id"]) / "metrics.json")
        assert metrics["finetuned"] is True
        assert control["test_top1"] == metrics["test"]["top1"]
        assert control["finetuned_val_top1"] == metrics["val"]["top1"]


def test_comparisons_are_of_nets_that_the_search_found(command: Command, transfer_words: Words, tmp_path: Path) -> None:
    """With random subnets, which are never on the front, as its ends may be."""
    outcome = command(*transfer_words(tmp_path / "run", "--controls", "all"))
    assert outcome.code == 0, outcome.err
    front = read(tmp_path / "run/front.json")
    names, largest = {control["name"] for control in front["controls"]}, front["controls"][0]["id"]
    assert len(front["comparisons"]) >= 2, "both random subnets are beside the front"
    for comparison in front["comparisons"]:
        assert comparison["control"] in names
        assert comparison["net"] != largest or JOINS not in front["verdict"]
        assert comparison["low"] <= comparison["difference"] <= comparison["high"]


def test_events_tell_every_step_and_the_seconds_add_up(run: Path) -> None:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    names = [event["event"] for event in events]
    assert names[:3] == ["start", "propose", "adapt"]
    assert names.count("evaluate") == read(run / "front.json")["evaluations"]
    assert [event["steps"] for event in events if event["event"] == "adapt"] == [3, 2]
    report = read(run / "front.json")
    reported = {net["id"] for net in [*report["front"], *report["controls"]]}
    assert {event["id"] for event in events if event["event"] == "finetune"} == reported
    assert names.count("finetune") == len(bundles(run)) == len(reported), "no net is trained twice"
    assert read(run / "front.json")["seconds"] == pytest.approx(sum(event["seconds"] for event in events), abs=0.1)


def test_adapted_supernet_loads_and_is_trained(run: Path, supernet_file: Path) -> None:
    adapted, card = load_supernet_file(run / "supernet.safetensors")
    assert card.num_classes == 10
    assert card.space == problem_of(run).space
    before = load_supernet_file(supernet_file)[0].state_dict()
    moved = [name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before.get(name, tensor))]
    assert any(name.startswith("blocks.") for name in moved)


def test_bundles_are_complete_and_load_as_plain_networks(run: Path) -> None:
    nets = read(run / "front.json")["front"]
    assert {path.name for path in (run / "subnets").iterdir()} == {net["id"] for net in nets}
    for net in nets:
        folder = run / "subnets" / net["id"]
        assert {path.name for path in folder.iterdir()} == BUNDLE
        assert read(folder / "labels.json") == [str(digit) for digit in range(10)]
        assert read(folder / "architecture.json") == net["architecture"]
        assert read(folder / "preprocess.json")["crop"] == net["resolution"]
        metrics = read(folder / "metrics.json")
        assert (metrics["macs"], metrics["params"]) == (net["macs"], net["params"])
        assert (metrics["val"]["top1"], metrics["test"]["top1"]) == (net["finetuned_val_top1"], net["test_top1"])
        assert f"{net['macs']:,}" in (folder / "README.md").read_text()
        model = nat.load_subnet(folder)
        assert isinstance(model, nn.Module) and not any(module.training for module in model.modules())
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            logits = model(torch.zeros(1, 3, net["resolution"], net["resolution"]))
        assert logits.shape == (1, 10)
        assert counter.get_total_flops() / 2 == net["macs"]
        assert sum(parameter.numel() for parameter in model.parameters()) == net["params"]


def test_front_png_is_a_picture(run: Path) -> None:
    data = (run / "front.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in data[-12:]


def test_evaluate_reproduces_the_metrics(run: Path, command: Command) -> None:
    assert len(bundles(run)) >= 2
    for bundle in bundles(run):
        outcome = command("evaluate", bundle, "--json")
        assert (outcome.code, outcome.json["reproduced"]) == (0, True), outcome.err
        claimed = read(bundle / "metrics.json")
        for split in ("val", "test"):
            for key in ("top1", "top5", "loss"):
                assert outcome.json[split][key] == pytest.approx(claimed[split][key], abs=1e-6)


@pytest.mark.parametrize(("split", "key"), [("val", "top1"), ("test", "top5"), ("test", "loss")])
def test_evaluate_finds_a_changed_metric(copied: Path, command: Command, split: str, key: str) -> None:
    bundle = next((copied / "subnets").iterdir())
    metrics = read(bundle / "metrics.json")
    metrics[split][key] += 1e-4
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    outcome = command("evaluate", bundle)
    assert outcome.code == 1
    assert "does NOT reproduce" in outcome.out
    other = {"val": "test", "test": "val"}[split]
    assert command("evaluate", bundle, "--split", other).code == 0


def test_evaluate_takes_no_number_of_threads_from_an_earlier_run(copied: Path, command: Command) -> None:
    bundle = next((copied / "subnets").iterdir())
    metrics = read(bundle / "metrics.json")
    del metrics["threads"]
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert command("evaluate", bundle).code == 0
        assert torch.get_num_threads() == MACHINE_THREADS
    finally:
        torch.set_num_threads(before)


def test_evaluate_refuses_images_of_other_classes(run: Path, command: Command, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (24, 24), (10 * i, 99, 99)).save(tmp_path / name / f"{i}.png")
    outcome = command("evaluate", next((run / "subnets").iterdir()), "--data", tmp_path)
    assert outcome.code == 2
    assert "cat" in outcome.err and "10 classes" in outcome.err


def test_front_shows_the_run(run: Path, command: Command) -> None:
    report = read(run / "front.json")
    assert command("front", run, "--json").json == report
    table = command("front", run).out
    for row in [*report["front"], *report["controls"]]:
        assert (row["name"].replace(" subnet", "") if "name" in row else row["id"]) in table
        assert f"{100 * row['test_top1']:.2f} %" in table
    assert all(sentence in table for sentence in report["verdict"])


def test_pick_copies_a_finetuned_net_within_the_budget(run: Path, command: Command, tmp_path: Path) -> None:
    cheapest = read(run / "front.json")["front"][0]
    outcome = command("pick", run, "--max-macs", str(cheapest["macs"]), "-o", tmp_path / "picked", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == read(run / "subnets" / cheapest["id"] / "metrics.json")
    picked, there = contents(tmp_path / "picked"), contents(run / "subnets" / cheapest["id"])
    assert picked.pop("README.md") != there.pop("README.md"), "the card loads the folder that it lies in"
    assert picked == there


def test_pick_takes_the_most_accurate_net_where_all_fit(run: Path, command: Command, tmp_path: Path) -> None:
    with Archive(run / "archive.sqlite", read_only=True) as archive:
        best = max(1.0 - e.objectives["top1_error"] for e in archive.at_version(1))
        right = {e.architecture.id for e in archive.at_version(1) if 1.0 - e.objectives["top1_error"] == best}
    front = read(run / "front.json")
    if JOINS in front["verdict"]:
        right = {front["front"][-1]["id"]}
    outcome = command("pick", run, "-o", tmp_path / "picked", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["id"] in right


def test_pick_for_parameters_alone_looks_at_all_that_was_measured(run: Path, command: Command, tmp_path: Path) -> None:
    """Also at nets that others dominate in error and multiply-adds, which were traded."""
    problem = problem_of(run)
    with Archive(run / "archive.sqlite", read_only=True) as archive:
        known = archive.at_version(1)
    params = sorted(e.objectives["params"] for e in known)
    limit = int(params[len(params) // 2])
    errors = [e.objectives["top1_error"] for e in known if e.objectives["params"] <= limit]
    outcome = command("pick", run, "--max-params", limit, "-o", tmp_path / "picked", "--json")
    assert outcome.code == 0, outcome.err
    picked = next(e for e in known if e.architecture.id == outcome.json["id"])
    joined = JOINS in read(run / "front.json")["verdict"] and picked.architecture == problem.space.largest()
    assert joined or picked.objectives["top1_error"] == min(errors)


def test_pick_where_the_budget_leaves_one_input_size(
    command: Command, supernet_file: Path, amount_words: Callable[[dict[str, object]], list[str]], tmp_path: Path
) -> None:
    """Sizes follow from the images, the supernet's own and the budget; from those of the run they would be others."""
    for number in range(40):
        path = tmp_path / "images" / f"class {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    words = ["transfer", tmp_path / "images", "--supernet", supernet_file, "--max-macs", "230k", "--device", "cpu"]
    words += ["--out", tmp_path / "run", "--threads", "1", *amount_words({"front": 1, "controls": "none"})]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert read(tmp_path / "run" / "config.json")["space"]["resolutions"] == [16]
    (tuned,) = read(tmp_path / "run" / "front.json")["front"]
    shutil.rmtree(tmp_path / "run" / "subnets" / tuned["id"])
    outcome = command("pick", tmp_path / "run", "-o", tmp_path / "picked", "--finetune", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["finetuned"] and outcome.json["resolution"] == 16


def test_pick_below_the_front_says_the_least_possible(run: Path, command: Command, tmp_path: Path) -> None:
    cheapest = read(run / "front.json")["front"][0]
    outcome = command("pick", run, "--max-macs", "100k", "-o", tmp_path / "picked")
    assert outcome.code == 2
    assert f"{cheapest['macs']:,}" in outcome.err
    assert not (tmp_path / "picked").exists()


def test_pick_leaves_an_existing_folder_alone(run: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    outcome = command("pick", run, "-o", tmp_path)
    assert outcome.code == 2
    assert contents(tmp_path) == {"mine.txt": hashlib.sha256(b"mine").hexdigest()}


def test_pick_leaves_nothing_half_written(
    run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(source: Path, target: Path, **_: object) -> None:
        (target / "README.md").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", break_off)
    outcome = command("pick", run, "-o", tmp_path / "picked")
    assert outcome.code == 2 and "No space left on device" in outcome.err
    assert not list(tmp_path.iterdir())


def test_pick_refuses_a_bad_place_before_any_work(
    run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    for out, reason in ((tmp_path / "file" / "sub", "cannot write in"), (tmp_path / ("x" * 5000), "too long")):
        outcome = command("pick", run, "-o", out)
        assert outcome.code == 2 and reason in outcome.err and len(outcome.err.splitlines()) == 1
    monkeypatch.setattr("os.access", lambda path, mode, **_: not mode & os.W_OK)
    monkeypatch.setattr("nat.picking.Archive", None)  # nothing is read
    outcome = command("pick", run, "--finetune", "-o", tmp_path / "picked")
    assert outcome.code == 2 and "cannot write in" in outcome.err


@pytest.mark.parametrize("finetune", [False, True])
def test_pick_makes_what_the_run_has_not(copied: Path, command: Command, tmp_path: Path, finetune: bool) -> None:
    cheapest = read(copied / "front.json")["front"][0]
    before = read(copied / "subnets" / cheapest["id"] / "metrics.json")
    shutil.rmtree(copied / "subnets" / cheapest["id"])
    out = tmp_path / "deep" / "picked"
    words = ["pick", copied, "--max-macs", str(cheapest["macs"]), "-o", out, "--json"]
    outcome = command(*words, *(["--finetune"] if finetune else []))
    assert outcome.code == 0, outcome.err
    assert {path.name for path in out.iterdir()} == BUNDLE
    assert outcome.json["finetuned"] is finetune
    if finetune:
        assert outcome.json == before, "the same weights, images and recipe make the same net"
    else:
        assert outcome.json["val"] != before["val"]
    assert command("evaluate", out).code == 0


def test_config_json_round_trips_to_the_same_front(
    run: Path, command: Command, front_of: FrontOf, tmp_path: Path
) -> None:
    """Also: the same seed gives the same front."""
    outcome = command("transfer", "--config", run / "config.json", "--out", tmp_path / "again", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == read(tmp_path / "again" / "front.json")
    assert front_of(tmp_path / "again") == front_of(run)
    assert read(tmp_path / "again" / "config.json") == read(run / "config.json")


def test_another_seed_gives_another_front(
    run: Path, command: Command, transfer_words: Words, front_of: FrontOf, tmp_path: Path
) -> None:
    outcome = command(*transfer_words(tmp_path / "seed1", "--seed", "1"))
    assert outcome.code == 0, outcome.err
    other, first = front_of(tmp_path / "seed1"), front_of(run)
    assert other.pop("seed") == 1 and first.pop("seed") == 0
    assert other["hypervolume"] != first["hypervolume"]
    assert [net["test_top1"] for net in other["controls"]] != [net["test_top1"] for net in first["controls"]]


@pytest.mark.parametrize("name", ["pnas", "regevo", "reinforce"])
def test_other_strategies_in_the_same_loop(command: Command, transfer_words: Words, tmp_path: Path, name: str) -> None:
    """In two rounds, so that what a round proposes rests on weights that have changed twice."""
    words = transfer_words(tmp_path / "run", "--searcher", name, "--set", "rounds=2", "--evaluations", "16")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    front = read(tmp_path / "run" / "front.json")
    assert front["searcher"] == name
    assert front["evaluations"] <= 16
    assert [record["round"] for record in front["rounds"]] == [0, 1, 2]
    assert all(0 <= net["test_top1"] <= 1 for net in front["front"])


def test_random_search_within_a_limit(command: Command, transfer_words: Words, run: Path, tmp_path: Path) -> None:
    """The other strategy, and a budget that forbids the upper half of the space."""
    space, costs = problem_of(run).space, problem_of(run).costs
    limit = (costs.of(space.smallest())[0] + costs.of(space.largest())[0]) // 2
    words = transfer_words(tmp_path / "run", "--searcher", "random", "--max-macs", str(limit))
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    front = read(tmp_path / "run" / "front.json")
    assert front["searcher"] == "random"
    assert front["limits"]["macs"] == limit
    assert front["reference_point"]["macs"] == limit
    largest = front["controls"][0]
    assert (largest["kind"], largest["name"]) == ("largest", "largest subnet within the budget")
    assert max(control["macs"] for control in front["controls"]) <= limit
    assert not any("over the budget" in sentence for sentence in front["verdict"])
    assert all(sentence in outcome.out for sentence in front["verdict"])
    with Archive(tmp_path / "run" / "archive.sqlite", read_only=True) as archive:
        assert len(archive) == front["evaluations"] == 10
        assert all(e.objectives["macs"] <= limit for e in archive.evaluations())
    assert all(net["macs"] <= limit for net in front["front"])
    for bundle in (tmp_path / "run" / "subnets").iterdir():
        assert read(bundle / "metrics.json")["macs"] <= limit
        assert command("evaluate", bundle).code == 0


def test_the_limit_holds_for_the_surrogate_guided_search(
    command: Command, transfer_words: Words, run: Path, tmp_path: Path
) -> None:
    space, costs = problem_of(run).space, problem_of(run).costs
    smallest, largest = costs.of(space.smallest()), costs.of(space.largest())
    limits = [(least + most) // 2 for least, most in zip(smallest, largest, strict=True)]
    words = transfer_words(
        tmp_path / "run", "--max-macs", str(limits[0]), "--max-params", str(limits[1]), "--objectives", "top1,params"
    )
    outcome = command(*words, "--set", "front=1")
    assert outcome.code == 0, outcome.err
    front = read(tmp_path / "run" / "front.json")
    assert set(front["reference_point"]) == {"top1_error", "params"}
    assert len(front["front"]) == 1 + (JOINS in front["verdict"])
    with Archive(tmp_path / "run" / "archive.sqlite", read_only=True) as archive:
        for evaluation in archive.evaluations():
            assert evaluation.objectives["macs"] <= limits[0]
            assert evaluation.objectives["params"] <= limits[1]
        assert len(archive) == 10


@pytest.mark.slow
def test_from_scratch_through_the_library(tmp_path: Path) -> None:
    amounts: dict[str, int | float | str] = {
        "initial": 2, "rounds": 0, "first_training": "1 steps", "batch": 4, "calibration_images": 16,
        "validation_images": 20, "finetuning": "1 steps", "front": 1,
    }  # fmt: skip
    options = nat.TransferOptions(data="digits", supernet="scratch", resolutions=(24,), overrides=amounts, device="cpu")
    report = transfer(options, tmp_path / "run")
    assert report == read(tmp_path / "run" / "front.json")
    assert len(report["front"]) == 1
