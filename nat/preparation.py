"""Getting ready for a transfer: images, input sizes, threads, device, strategy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nat.datasets.balance import UNEVEN, unevenness
from nat.datasets.catalogue import list_datasets
from nat.datasets.duplicates import find_duplicates
from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.efforts import Effort
from nat.errors import BudgetError, InputError, reason_of
from nat.files import read_json, write_json
from nat.objectives import read_objectives
from nat.options import TransferOptions
from nat.pretrained.catalogue import list_checkpoints
from nat.problem import SearchProblem
from nat.progress import Progress, Task
from nat.run_folder import RunFolder
from nat.searchers import SEARCHERS, GeneticSearcher, NatSearcher, ProgressiveSearcher, Searcher, check_searcher
from nat.supernet.costs import CostTable
from nat.supernet.latency import LatencyTable
from nat.supernet.sampling import Limits
from nat.supernet.space import MobileNetSpace
from nat.supernet.timing import measure_table
from nat.surrogates import SURROGATES

MACHINE_THREADS = torch.get_num_threads()  # taken before any run of this process sets its own number
SHARED_RESOLUTION = 64  # below it, a second thread gains under 10 % and loses much when the machine is busy


def with_absolute_paths(options: TransferOptions) -> TransferOptions:
    """The options with paths that are good in any working folder, since a run may be resumed from another one."""
    datasets, supernets = ({card.name for card in cards} for cards in (list_datasets(), list_checkpoints()))
    changes = {
        "data": _absolute(options.data, datasets),
        "supernet": _absolute(options.supernet, supernets),
        "data_root": _absolute(options.data_root, set()) if options.data_root else None,
        "latency": _absolute(options.latency, set()) if options.latency else None,
        "objectives": ",".join(map(_absolute_objective, options.objectives.split(","))),
        "warm_start": _absolute(options.warm_start, set()) if options.warm_start else None,
        "control_weights": _absolute(options.control_weights, set()) if options.control_weights else None,
    }
    return options.model_copy(update=changes)


def _absolute(text: str, names: set[str]) -> str:
    """The absolute path of what exists and is no name of a catalogue; any other text as it is."""
    try:
        path = Path(text).expanduser()
        return text if text in names or not path.exists() else str(path.absolute())
    except (OSError, RuntimeError) as error:  # a name too long, a folder that is closed; the home of nobody
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot use '{text}': {reason}. Give a name of the catalogue or another path.") from error


def _absolute_objective(word: str) -> str:
    """The absolute path of a file that an objective comes from; any other word as it is."""
    place, colon, name = word.strip().rpartition(":")
    return f"{_absolute(place, set())}:{name}" if colon and place.endswith(".py") else word


def read_splits(options: TransferOptions, progress: Progress) -> Splits:
    """The data set that the options name, split; its card has the options' flip, which all that trains goes by."""
    with counted(progress, "reading images") as report:
        splits = load_dataset(
            options.data,
            root=Path(options.data_root) if options.data_root else None,
            seed=options.seed,
            store_size=options.store_size,
            skip_corrupt=options.skip_corrupt,
            progress=report,
        )
    return splits.with_flip(options.flip)


def looked_over(
    splits: Splits, options: TransferOptions, progress: Progress, listed: Path | None = None
) -> dict[str, Any]:
    """Says what a user should know of the images before they are trained on.

    Args:
        splits: the images.
        options: what is asked.
        progress: is told.
        listed: file for all pairs of near-duplicates, written if there are any.

    Returns:
        "unevenness": images of the largest class over those of the smallest; "near_duplicates": number of images that
        are in another split, too, None if not looked for, and then "exact_copies": number of those.
    """
    if splits.skipped:
        progress.say(f"skipped {len(splits.skipped)} corrupt images, such as {splits.skipped[0]}")
    uneven = unevenness(splits.train.labels)
    if uneven >= UNEVEN and options.balance == "none":
        progress.say(f"the largest class has {uneven:.0f} times the images of the smallest: see --balance")
    with counted(progress, "looking for near-duplicates") as report:
        found = find_duplicates(splits, report)
    where = ""
    if listed is not None:
        listed.unlink(missing_ok=True)  # of a run that was killed before it began
    if found.pairs and listed is not None:
        write_json(listed, found.to_json(splits))
        where = f"; all of them: {listed}"
    if said := found.in_words(splits):
        progress.say(said + where)
    facts = {"unevenness": round(uneven, 3), "near_duplicates": None if found.unlooked else found.images}
    return facts | ({"exact_copies": found.images} if found.unlooked else {})


@contextmanager
def counted(progress: Progress, title: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what work may call with (done, in all) after each unit: a task, which starts when the total is known."""
    task: Task | None = None
    with ExitStack() as stack:

        def report(done: int, total: int) -> None:
            nonlocal task
            task = task or stack.enter_context(progress.task(title, total))
            task.advance()

        yield report


def transfer_space(space: MobileNetSpace, options: TransferOptions, splits: Splits) -> MobileNetSpace:
    """The supernet's space with the input sizes that suit the images and the budget.

    The sizes are `input_sizes` of the median of the images' shorter sides. Those at which even the smallest subnet
    breaks a limit are left out, but for the least one; latency, which must be measured, is not looked at here.

    Raises:
        InputError: the sizes asked for are too small.
    """
    if options.resolutions:
        if min(options.resolutions) < 8:
            raise InputError(f"expected --resolutions of at least 8 pixels, got {min(options.resolutions)}.")
        return space.with_resolutions(options.resolutions)
    native = float(np.median([min(image.shape[-2:]) for image in splits.train.images]))
    sizes = input_sizes(min(native, 2 * space.resolutions[-1]))
    return feasible(space.with_resolutions(sizes), replace(limits_of(options), max_latency_ms=None), splits.num_classes)


def limits_of(options: TransferOptions) -> Limits:
    """The limits on what is known of an architecture."""
    return Limits(options.max_macs, options.max_params, options.max_memory, options.max_latency_ms)


def problem_of(folder: RunFolder) -> SearchProblem:
    """The problem of an existing run, without its images or weights.

    Raises:
        RunError: the folder holds no run.
        InputError: its objectives or its latency table cannot be read any more.
    """
    config, options = folder.read_config(), folder.read_options()
    costs = CostTable(MobileNetSpace.from_json(config["space"]), config["data"]["classes"], kept_latency(folder))
    max_error = 1.0 if options.min_top1 is None else 1.0 - options.min_top1
    return SearchProblem(costs, read_objectives(options.objectives), limits_of(options), max_error)


def feasible(
    space: MobileNetSpace, limits: Limits, num_classes: int, latency: LatencyTable | None = None
) -> MobileNetSpace:
    """The space without the input sizes at which each subnet breaks a limit, but with the least one in any case."""
    sizes = [r for r in space.resolutions if _feasible(space.with_resolutions([r]), limits, num_classes, latency)]
    return space.with_resolutions(sizes or space.resolutions[:1])


def input_sizes(pixels: float) -> list[int]:
    """Up to four input sizes for images of a size, ascending multiples of 8, from half of it to all of it.

    The least is 16 pixels or more and the greatest 48 or more. Enlarging tiny images pays: on digits (8 pixels) an
    adapted supernet is right on 62-69 % of the validation images at 16 pixels and on 95-96 % at 48.
    """
    low, high = max(16.0, pixels / 2), max(48, int(pixels) // 8 * 8)
    return sorted({round((low + third * (high - low) / 3) / 8) * 8 for third in range(4)})


def _feasible(space: MobileNetSpace, limits: Limits, num_classes: int, latency: LatencyTable | None) -> bool:
    try:
        limits.check(CostTable(space, num_classes, latency))
    except BudgetError:
        return False
    return True


def suitable_threads(resolution: int) -> int:
    """CPU threads worth having: one for tiny images, whose operations are too short to share, else the machine's."""
    return 1 if resolution < SHARED_RESOLUTION else MACHINE_THREADS


def make_searcher(name: str, amounts: Effort, rounds: int | None = None) -> Searcher:
    """The strategy of a name, with the effort's settings.

    Args:
        name: of `SEARCHERS`.
        amounts: the effort.
        rounds: later rounds that the search has, if a budget leaves fewer than the effort's.

    Raises:
        InputError: there is no such strategy, or it needs more rounds.
    """
    check_searcher(name)
    rounds = amounts.rounds if rounds is None else rounds
    if name == "pnas":
        if rounds < 1:
            raise InputError(
                "expected at least 1 round behind the first sample for --searcher pnas, which grows by one level a "
                "round, got 0. Give more --evaluations or --time, a greater --effort, or --set rounds=4."
            )
        return ProgressiveSearcher(levels=rounds + 1)
    if name == "nsga2":
        return GeneticSearcher(population=amounts.population)
    if name == "nat":
        return NatSearcher(
            population=amounts.population,
            generations=amounts.generations,
            surrogate=SURROGATES[amounts.surrogate],
            selection=amounts.selection,
            algorithm=amounts.algorithm,
        )
    return SEARCHERS[name]()


def latency_table(
    options: TransferOptions,
    space: MobileNetSpace,
    num_classes: int,
    device: torch.device,
    kept: Path,
    progress: Progress,
) -> LatencyTable | None:
    """The table that the run keeps, the one that the options name, or a new one; None if none is asked for.

    Args:
        options: what is asked.
        space: whose parts are measured.
        num_classes: outputs of the classifier.
        device: where networks run.
        kept: file of the run's table, if there is one already.
        progress: shows how far it is.

    Raises:
        InputError: the file that the options name is no table.
    """
    if kept.is_file():
        return read_latency_table(kept)
    if options.latency is not None:
        return read_latency_table(Path(options.latency))
    if not options.asks_latency:
        return None
    with counted(progress, "measuring latency") as report:
        return measure_table(space, num_classes, device, report)


def kept_latency(folder: RunFolder) -> LatencyTable | None:
    """The table that a run keeps, if it needs one."""
    return read_latency_table(folder.latency) if folder.latency.is_file() else None


def read_latency_table(path: Path) -> LatencyTable:
    """A table that `nat latency --out` wrote.

    Raises:
        InputError: the file cannot be read, or is none.
    """
    try:
        return LatencyTable.from_json(read_json(path.expanduser()))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read a latency table from '{path}': {error}") from error


def torch_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA or MPS where there is one, else the CPU.

    Raises:
        InputError: the device is unknown or not there.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = reason_of(error)
        raise InputError(f"device '{name}' cannot be used here ({reason}). There are auto, cpu, cuda, mps.") from error
    return device
