"""Getting ready for a transfer: images, input sizes, threads, device, strategy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from nat.datasets.cards import list_datasets
from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.errors import BudgetError, InputError
from nat.options import Effort, TransferOptions
from nat.pretrained.catalogue import list_checkpoints
from nat.progress import Progress, Task
from nat.searchers import GeneticSearcher, NatSearcher, RandomSearcher, Searcher, check_searcher
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits
from nat.supernet.space import MobileNetSpace

MACHINE_THREADS = torch.get_num_threads()  # taken before any run of this process sets its own number
SHARED_RESOLUTION = 64  # below it, a second thread gains under 10 % and loses much when the machine is busy


def with_absolute_paths(options: TransferOptions) -> TransferOptions:
    """The options with paths that are good in any working folder, since a run may be resumed from another one."""
    datasets, supernets = ({card.name for card in cards} for cards in (list_datasets(), list_checkpoints()))
    changes = {
        "data": _absolute(options.data, datasets),
        "supernet": _absolute(options.supernet, supernets),
        "data_root": _absolute(options.data_root, set()) if options.data_root else None,
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


def read_splits(options: TransferOptions, progress: Progress) -> Splits:
    """The data set that the options name, split."""
    with counted(progress, "reading images") as report:
        return load_dataset(
            options.data,
            root=Path(options.data_root) if options.data_root else None,
            seed=options.seed,
            skip_corrupt=options.skip_corrupt,
            progress=report,
        )


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
    breaks a limit are left out, but for the least one.

    Raises:
        InputError: the sizes asked for are too small.
    """
    if options.resolutions:
        if min(options.resolutions) < 8:
            raise InputError(f"expected --resolutions of at least 8 pixels, got {min(options.resolutions)}.")
        return space.with_resolutions(options.resolutions)
    native = float(np.median([min(image.shape[-2:]) for image in splits.train.images]))
    sizes = input_sizes(min(native, 2 * space.resolutions[-1]))
    limits = Limits(options.max_macs, options.max_params)
    return space.with_resolutions([r for r in sizes if _feasible(space, r, limits, splits.num_classes)] or sizes[:1])


def input_sizes(pixels: float) -> list[int]:
    """Up to four input sizes for images of a size, ascending multiples of 8, from half of it to all of it.

    The least is 16 pixels or more and the greatest 48 or more. Enlarging tiny images pays: on digits (8 pixels) an
    adapted supernet is right on 62-69 % of the validation images at 16 pixels and on 95-96 % at 48.
    """
    low, high = max(16.0, pixels / 2), max(48, int(pixels) // 8 * 8)
    return sorted({round((low + third * (high - low) / 3) / 8) * 8 for third in range(4)})


def _feasible(space: MobileNetSpace, resolution: int, limits: Limits, num_classes: int) -> bool:
    try:
        limits.check(CostTable(space.with_resolutions([resolution]), num_classes))
    except BudgetError:
        return False
    return True


def suitable_threads(space: MobileNetSpace) -> int:
    """CPU threads worth having: one for tiny images, whose operations are too short to share, else the machine's."""
    return 1 if space.resolutions[-1] < SHARED_RESOLUTION else MACHINE_THREADS


def make_searcher(name: str, amounts: Effort) -> Searcher:
    """The strategy of a name, with the effort's settings."""
    check_searcher(name)
    if name == "random":
        return RandomSearcher()
    if name == "nsga2":
        return GeneticSearcher(population=amounts.population)
    return NatSearcher(population=amounts.population, generations=amounts.generations)


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
        reason = str(error).splitlines()[0]
        raise InputError(f"device '{name}' cannot be used here ({reason}). There are auto, cpu, cuda, mps.") from error
    return device
