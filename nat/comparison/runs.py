"""The runs of a comparison: seed by seed, several seeds at once if wanted, each run finished, resumed or failed alone.

Runs of one seed go one after the other in one process, as they share the images and the first weights.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nat.comparison.options import CONTROL, Comparison, ComparisonFolder, ComparisonOptions, check_same
from nat.comparison.plan import complete, planned
from nat.comparison.report import write_report
from nat.errors import reason_of
from nat.files import write_text
from nat.job import Shared
from nat.pipeline import resume, transfer
from nat.progress import Progress
from nat.run_folder import RunFolder

GLANCE = 0.5  # seconds between two looks at the folders


@dataclass(frozen=True)
class Batch:
    """Runs that one process does.

    Attributes:
        seed: of all of them.
        names: of their strategies.
    """

    seed: int
    names: tuple[str, ...]


def compare(options: ComparisonOptions, out: Path, jobs: int | None, progress: Progress) -> dict[str, Any]:
    """Runs a comparison, or goes on with it; runs that are finished are kept.

    Args:
        options: what is compared.
        out: the comparison's folder: new, empty, or of a comparison with the same options.
        jobs: seeds at once; None for as many as the processor has room for.
        progress: shows how far it is.

    Returns:
        The content of compare.json.

    Raises:
        InputError: something that was asked cannot be done; nothing is left behind.
    """
    folder, asked = ComparisonFolder(out), options
    options = complete(options)
    kept, shared = folder.read(), Shared()
    if kept is not None:
        check_same(folder, kept, options)
    if CONTROL not in asked.searchers:
        progress.say(f"'{CONTROL}' is added: every strategy is compared with random search at the same cost")
    comparison = kept
    if comparison is None:
        comparison, shared = planned(options, folder, progress)
    batches = unfinished(folder, comparison)
    jobs = jobs or suitable_jobs(options)
    _announce(comparison, batches, jobs, progress)
    with RunFolder(folder.path).locked():
        if kept is None:
            folder.write(comparison)
        with watched(folder, comparison, progress):
            if jobs == 1 or len(batches) < 2:
                for batch in batches:
                    run_batch(folder.path, comparison, batch, shared if batch.seed == 0 else Shared())
            else:
                _run_at_once(folder, comparison, batches, jobs)
        return write_report(folder, comparison)


def suitable_jobs(options: ComparisonOptions) -> int:
    """How many seeds at once the processor has room for; one at a time on a GPU."""
    if options.transfer.device not in ("cpu", "auto") or _gpu(options.transfer.device):
        return 1
    return max(1, min(options.seeds, (os.cpu_count() or 1) // (options.transfer.threads or 1)))


def _gpu(device: str) -> bool:
    from nat.preparation import torch_device

    return torch_device(device).type != "cpu"


def unfinished(folder: ComparisonFolder, comparison: Comparison) -> list[Batch]:
    """What is left to do, a batch for each seed."""
    left = [pair for pair in comparison.pairs if not folder.finished(*pair)]
    seeds = dict.fromkeys(seed for _, seed in left)
    return [Batch(seed, tuple(name for name, other in left if other == seed)) for seed in seeds]


def _announce(comparison: Comparison, batches: Sequence[Batch], jobs: int, progress: Progress) -> None:
    """What each run gets, and how long all will take, before anything is done."""
    for share in comparison.shares:
        progress.say(share.in_words(comparison.budget))
    nets = len(comparison.macs)
    progress.say(f"then {nets} nets of each run are fine-tuned for {comparison.tuning_steps} steps each")
    left, most = sum(len(batch.names) for batch in batches), len(comparison.pairs)
    if left:
        longest = max(left / min(jobs, len(batches)), max(len(batch.names) for batch in batches))
        minutes = longest * comparison.seconds / 60
        there = f" ({most - left} are there already)" if left < most else ""
        at_once = f", {min(jobs, len(batches))} at once" if min(jobs, len(batches)) > 1 else ""
        progress.say(f"{left} runs{there}{at_once}: about {max(1, round(minutes))} min")


def run_batch(path: Path, comparison: Comparison, batch: Batch, shared: Shared) -> None:
    """Does the runs of a batch; one that fails leaves the reason in a file, and the others go on."""
    folder = ComparisonFolder(path)
    for name in batch.names:
        run, error = folder.run(name, batch.seed), folder.error(name, batch.seed)
        error.unlink(missing_ok=True)
        try:
            if run.config.is_file():
                resume(run.path, shared=shared)
            else:
                transfer(comparison.run_options(name, batch.seed), run.path, shared=shared)
        except Exception as failure:  # whatever it is, the other runs are worth having
            reason = reason_of(failure)
            _blame(error, f"{reason}\n\n{traceback.format_exc()}")


def _blame(error: Path, text: str) -> None:
    error.parent.mkdir(parents=True, exist_ok=True)
    write_text(error, text)


# --- several processes ---------------------------------------------------------------------------------------------


def _run_at_once(folder: ComparisonFolder, comparison: Comparison, batches: Sequence[Batch], jobs: int) -> None:
    """Does batches in processes of their own; a process that dies costs the run that it was at."""
    context = multiprocessing.get_context("spawn")
    waiting, running = list(batches), dict[BaseProcess, Batch]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                batch = waiting.pop(0)
                process: BaseProcess = context.Process(target=_work, args=(folder.path, comparison.to_json(), batch))
                process.start()
                running[process] = batch
            wait([process.sentinel for process in running])
            for ended in [process for process in running if not process.is_alive()]:
                ended.join()
                rest = _after(folder, running.pop(ended), ended.exitcode)
                waiting = ([rest] if rest else []) + waiting
    finally:
        for left in running:
            left.kill()
            left.join()


def _after(folder: ComparisonFolder, batch: Batch, exitcode: int | None) -> Batch | None:
    """What is left of a batch whose process has ended; the run at which it died is a failure."""
    left = [
        name
        for name in batch.names
        if not folder.finished(name, batch.seed) and not folder.error(name, batch.seed).is_file()
    ]
    if not left:
        return None
    text = f"its process ended with exit code {exitcode}: perhaps memory ran out; go on with --jobs 1"
    _blame(folder.error(left[0], batch.seed), f"{text}\n")
    return Batch(batch.seed, tuple(left[1:])) if left[1:] else None


def _work(path: Path, settings: dict[str, Any], batch: Batch) -> None:
    """Of a process: its batch. A stop from the keyboard is its parent's business, whose end is its own too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    folder = ComparisonFolder(path)
    for name in batch.names:  # of an earlier session
        folder.error(name, batch.seed).unlink(missing_ok=True)
    run_batch(path, Comparison.from_json(settings), batch, Shared())


def _die_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


# --- how far it is -------------------------------------------------------------------------------------------------


@contextmanager
def watched(folder: ComparisonFolder, comparison: Comparison, progress: Progress) -> Iterator[None]:
    """Shows, as long as the context lasts, how far all runs are, by looking into their folders now and then."""
    ended = threading.Event()
    before = {pair: done(folder, comparison, *pair) for pair in comparison.pairs}
    left = [pair for pair in comparison.pairs if not folder.finished(*pair)]
    whole = comparison.budget + len(comparison.macs) * comparison.tuning_steps
    total = round(sum(whole - before[pair] for pair in left))

    def look() -> None:
        shown, told = 0, set[tuple[str, int]]()
        with progress.task(f"{len(left)} runs, in passes", total) as task:
            while True:
                last = ended.wait(GLANCE)
                now = round(sum(done(folder, comparison, *pair) - before[pair] for pair in left))
                task.advance(max(0, now - shown))
                shown = max(shown, now)
                for name, seed in [pair for pair in left if pair not in told and folder.finished(*pair)]:
                    told.add((name, seed))
                    progress.say(f"{name}, seed {seed}: finished ({len(told)} of {len(left)})")
                if last:
                    return

    if not left:
        yield
        return
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def done(folder: ComparisonFolder, comparison: Comparison, name: str, seed: int) -> float:
    """Passes of a run so far, those of fine-tuning among them, by its events."""
    tuning = comparison.tuning_steps
    whole, prices = comparison.budget + len(comparison.macs) * tuning, comparison.share(name).prices
    run = folder.run(name, seed)
    if run.front.is_file():
        return whole
    passes = 0.0
    for event in run.read_events():
        passes += {
            "adapt": prices.step * event.get("steps", 0),
            "evaluate": prices.evaluation,
            "finetune": float(tuning),
        }.get(event["event"], 0.0)
    return min(passes, whole)
