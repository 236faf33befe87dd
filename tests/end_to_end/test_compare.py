"""`nat compare`, tiny: three strategies, two seeds; a run that fails, a kill, and what is refused."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nat.evaluation import SubnetEvaluator
from nat.forecast import Trial
from nat.main import main
from nat.plan import Speeds
from nat.report.comparison import comparison_page
from nat.searchers import GeneticSearcher, RandomSearcher
from nat.supernet.supernet import Supernet

Command = Callable[..., Any]
Words = Callable[..., list[str]]
NAMES = ("nat", "nsga2", "random")
EVALUATION = (32 + 60) / 8 / 3  # passes
START = (1157 + 32) / 8 / 3  # training images, of whose features a classifier is fitted, and calibration
BUDGET = START + 4 * (3 + 2 * 2) + (4 + 6 + 6) * EVALUATION
PATIENCE = 600.0  # seconds; imports alone take a minute on a machine that is busy


@pytest.fixture(scope="module")
def words(supernet_file: Path, amount_words: Callable[[Mapping[str, object]], list[str]]) -> Words:
    """The words of a tiny comparison on digits in a folder, with more words behind."""

    def give(out: Path, *more: str) -> list[str]:
        amounts = amount_words({"rounds": 2, "finetuning": "2 steps"})
        fixed = ["compare", "digits", "--supernet", str(supernet_file), "--resolutions", "24", "--device", "cpu"]
        return [*fixed, *amounts, "--jobs", "1", "--out", str(out), *more]

    return give


class Tiny:
    """A comparison, what it said, and what was really done for it."""

    def __init__(self, out: Path) -> None:
        self.out, self.done = out, Counter[str]()
        self.outcomes: list[Any] = []
        self.stamps: list[dict[str, int]] = []

    @property
    def report(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.out / "compare.json").read_text())
        return data

    def run(self, command: Command, words: list[str]) -> None:
        """Runs the command and notes what it leaves."""
        self.outcomes.append(command(*words))
        self.stamps.append({path.parent.name: path.stat().st_mtime_ns for path in self.out.glob("runs/*/front.json")})


@pytest.fixture(scope="module")
def tiny(command: Command, words: Words, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """First with a strategy that fails with seed 1; then, by the same words, to the end; then once more."""
    tiny = Tiny(tmp_path_factory.mktemp("compare") / "digits")
    forward, errors, done = Supernet.forward, SubnetEvaluator.errors, tiny.done
    breed, spread = GeneticSearcher.propose, RandomSearcher.propose

    def counted(supernet: Supernet, *given: Any) -> Any:
        done["passes"] += supernet.training
        return forward(supernet, *given)

    def measured(evaluator: SubnetEvaluator, *given: Any) -> Any:
        done["evaluations"] += 1
        return errors(evaluator, *given)

    def broken(self: Any, problem: Any, evaluations: Any, count: int, rng: Any) -> Any:
        done["starts"] += not evaluations
        if done["starts"] == 2 and evaluations:
            raise RuntimeError("the strategy is broken\nin two lines")
        return breed(self, problem, evaluations, count, rng)

    def fewer(self: Any, problem: Any, evaluations: Any, count: int, rng: Any) -> Any:
        return spread(self, problem, evaluations, 1 if evaluations else count, rng)

    asked = words(tiny.out, "--searchers", "nat,nsga2", "--seeds", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trial, "speeds", lambda trial: Speeds(0.1, 0.1, 0.1, 0.1, 0.1, 0.1))
        patch.setattr(Supernet, "forward", counted)
        patch.setattr(SubnetEvaluator, "errors", measured)
        patch.setattr(RandomSearcher, "propose", fewer)  # leaves some of its budget to training
        patch.setattr(GeneticSearcher, "propose", broken)
        tiny.run(command, asked)
        patch.setattr(GeneticSearcher, "propose", breed)
        tiny.run(command, asked)
    tiny.run(command, [*asked, "--json"])
    return tiny


def test_a_run_that_fails_costs_only_itself(tiny: Tiny) -> None:
    outcome = tiny.outcomes[0]
    assert outcome.code == 1
    assert "1 of 2" in outcome.out, "the table has it"
    assert "nsga2, seed 1 failed: the strategy is broken\n" in outcome.out
    assert len(tiny.stamps[0]) == 5 and "nsga2-1" not in tiny.stamps[0]


def test_what_each_run_gets_is_said_first(tiny: Tiny) -> None:
    said = " ".join(tiny.outcomes[0].err.split())
    assert "'random' is added" in said
    for name in NAMES:
        line = f"{name}: 3 + 2 x 2 training steps of 4 passes, 16 evaluations of 3.8 passes: 139 of 139 passes"
        assert line in said
    assert "6 runs: about 1 min" in said
    assert "1 runs (5 are there already)" in " ".join(tiny.outcomes[1].err.split())


def test_the_same_command_goes_on_and_keeps_what_is_finished(tiny: Tiny) -> None:
    assert tiny.outcomes[1].code == 0, tiny.outcomes[1].err
    first, second, third = tiny.stamps
    assert second == first | {"nsga2-1": second["nsga2-1"]}
    assert third == second
    assert tiny.outcomes[2].json == tiny.report


def test_all_strategies_are_charged_the_same(tiny: Tiny) -> None:
    """Within a step of four passes, also the one whose missing evaluations became training."""
    report = tiny.report
    assert report["budget"] == pytest.approx(BUDGET) == report["usual_budget"]
    for run in report["runs"]:
        charge = run["charge"]
        assert charge["start"] == pytest.approx(START, abs=0.01), "also where another run of the seed has done it"
        assert -0.001 < BUDGET - charge["total"] < 4, run["searcher"]
        parts = {part: value for part, value in charge.items() if part != "total"}
        assert sum(parts.values()) == pytest.approx(charge["total"], abs=0.01)
    charges = {s["name"]: s["charge"] for s in report["strategies"]}
    assert charges["nat"]["evaluations"] == pytest.approx(16 * EVALUATION, abs=0.01)
    assert charges["random"]["evaluations"] == pytest.approx(14 * EVALUATION, abs=0.01)
    assert charges["nat"]["first_training"] == charges["random"]["first_training"] == 12
    assert charges["random"]["later_training"] == charges["nat"]["later_training"] + 4


def test_what_was_charged_was_done(tiny: Tiny) -> None:
    """Forward passes of the supernet in training, and evaluations, counted while it ran."""
    charges = [run["charge"] for run in tiny.report["runs"]]
    assert tiny.done["passes"] == sum(charge["first_training"] + charge["later_training"] for charge in charges)
    assert tiny.done["evaluations"] * EVALUATION == pytest.approx(sum(c["evaluations"] for c in charges), abs=0.01)


def test_the_report_follows_from_the_runs(tiny: Tiny, command: Command) -> None:
    report = tiny.report
    assert report["finished"] and report["seeds"] == [0, 1] and len(report["macs"]) == 3
    assert (tiny.out / "compare.png").read_bytes().startswith(b"\x89PNG")
    for run in report["runs"]:
        folder = tiny.out / run["folder"]
        front = json.loads((folder / "front.json").read_text())
        assert [point["round"] for point in run["curve"]] == [0, 1, 2]
        assert run["curve"][-1]["passes"] == run["charge"]["total"]
        assert run["hypervolume"] == pytest.approx(front["hypervolume"]), "one box, the same for all runs"
        assert front["controls"] == []
        for net, budget in zip(run["nets"], report["macs"], strict=True):
            assert net["macs"] <= budget == net["within"]
            metrics = json.loads((folder / "subnets" / net["id"] / "metrics.json").read_text())
            assert metrics["finetuned"] and metrics["test"]["top1"] == net["test_top1"]
            better = [n for n in front["front"] if n["macs"] <= budget and n["val_top1"] > net["val_top1"]]
            assert not better, "the search's best within the budget was retrained"
    for strategy in report["strategies"]:
        runs = [run for run in report["runs"] if run["searcher"] == strategy["name"]]
        values = [sum(net["test_top1"] for net in run["nets"]) / 3 for run in runs]
        assert strategy["mean_test_top1"]["mean"] == pytest.approx(sum(values) / 2)
        assert strategy["mean_test_top1"]["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert (strategy["against_random"] is None) == (strategy["name"] == "random")
    assert len(report["verdict"]) == 2 and report["verdict"][0].startswith("nat: ")
    outcome = command("front", tiny.out / "runs" / "nat-0", "--json")
    assert outcome.code == 0 and outcome.json["searcher"] == "nat"


def test_the_page_has_the_tables_and_leads_to_the_runs(tiny: Tiny, command: Command, tmp_path: Path) -> None:
    outcome = command("report", tiny.out, "-o", tmp_path / "page.html", "--figures", tmp_path / "figures", "--json")
    assert outcome.code == 0, outcome.err
    assert [Path(path).name for path in outcome.json["figures"]] == ["compare.png", "compare.svg"]
    page = (tmp_path / "page.html").read_text()
    assert page == (tiny.out / "report.html").read_text()
    assert "<script" not in page and "data:image/svg+xml;base64," in page
    for strategy in tiny.report["strategies"]:
        mean = 100 * strategy["test_top1"][0]["mean"] if strategy["test_top1"][0]["mean"] is not None else None
        assert f"<td>{strategy['name']}</td>" in page
        assert mean is None or f"<td>{mean:.2f} ± " in page
    for run in tiny.report["runs"]:
        assert f'<a href="{run["folder"]}/report.html">' in page


def test_a_page_shows_names_as_text(tiny: Tiny) -> None:
    page = comparison_page({**tiny.report, "dataset": "<script>alert(1)</script>"}, tiny.out)
    assert "<script" not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--searchers", "nat,nsga2", "--seeds", "3"], "seeds was 2, now 3"),
        (["--searchers", "nat", "--seeds", "2"], "searchers was"),
        (["--searchers", "nat,nsga2", "--seeds", "2", "--budget", "2x"], 'budget was "1x", now "2x"'),
        (["--searchers", "nat,nsga2", "--seeds", "2", "--set", "initial=6"], "overrides was"),
    ],
)
def test_a_changed_setting_is_refused(tiny: Tiny, command: Command, words: Words, more: list[str], says: str) -> None:
    before = (tiny.out / "compare.json").stat().st_mtime_ns
    outcome = command(*words(tiny.out, *more))
    assert outcome.code == 2
    assert says in outcome.err and "another --out" in outcome.err
    assert (tiny.out / "compare.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--searchers", "nat,nsga3"], "Did you mean 'nsga2'?"),
        (["--searchers", ","], "expected --searchers"),
        (["--seeds", "0"], "expected --seeds of at least 1, got 0"),
        (["--budget", "30"], "which is one round, got 30"),
        (["--searchers", "pnas", "--budget", "30"], "one round, got 30. Raise it, or lower amounts: --set initial="),
        (["--budget", "much"], "expected --budget in passes"),
        (["--macs", "1k"], "which the cheapest subnet has"),
        (["--set", "rounds=0"], "at least one round"),
    ],
)
def test_what_cannot_be_done_is_refused(
    command: Command, words: Words, tmp_path: Path, more: list[str], says: str
) -> None:
    out = tmp_path / "runs" / "compare"
    outcome = command(*words(out, *more))
    assert outcome.code == 2 and says in outcome.err, outcome.err
    assert "Traceback" not in outcome.err and outcome.out == ""
    assert not out.parent.exists(), "something was left behind"


def test_a_folder_of_something_else_is_refused(command: Command, words: Words, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    outcome = command(*words(tmp_path))
    assert outcome.code == 2 and "in use" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_killed_and_started_again(tiny: Tiny, command: Command, words: Words, tmp_path: Path) -> None:
    """The run that was finished stays, the one that was cut off goes on; the result is that of the other folder."""
    out = tmp_path / "killed"
    asked = words(out, "--searchers", "nsga2", "--seeds", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nat.main", "nat.comparison.runs"])
    process = context.Process(target=main, args=(asked,), daemon=True)
    process.start()
    archive, deadline = out / "runs" / "random-0" / "events.jsonl", time.monotonic() + PATIENCE
    while not (archive.is_file() and '"evaluate"' in archive.read_text()):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL and not (out / "compare.json").exists()
    kept = (out / "runs" / "nsga2-0" / "front.json").stat().st_mtime_ns
    assert not (out / "runs" / "random-0" / "front.json").exists()
    outcome = command(*asked)
    assert outcome.code == 0, outcome.err
    assert (out / "runs" / "nsga2-0" / "front.json").stat().st_mtime_ns == kept
    ours, theirs = (
        next(run for run in json.loads((where / "compare.json").read_text())["runs"] if run["folder"].endswith("a2-0"))
        for where in (out, tiny.out)
    )
    assert ours | {"seconds": 0} == theirs | {"seconds": 0}
    report = json.loads((out / "compare.json").read_text())
    assert "one seed tells nothing of chance" in report["verdict"][0]


@pytest.mark.slow
def test_several_seeds_at_once_give_the_same(tiny: Tiny, command: Command, words: Words, tmp_path: Path) -> None:
    out = tmp_path / "at-once"
    outcome = command(*words(out, "--searchers", "nat,nsga2", "--seeds", "2", "--jobs", "2"))
    assert outcome.code == 0, outcome.err
    ours = {run["folder"]: run for run in json.loads((out / "compare.json").read_text())["runs"]}
    for run in tiny.report["runs"]:
        if run["searcher"] != "random":  # which proposed less there
            assert ours[run["folder"]] | {"seconds": 0} == run | {"seconds": 0}
