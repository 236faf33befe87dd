"""Writing a report's file."""

from pathlib import Path
from typing import Any

from nat.datasets.splits import Splits
from nat.errors import InputError
from nat.files import write_text
from nat.progress import Progress, Silence
from nat.report.content import gather
from nat.report.page import page
from nat.run_folder import RunFolder

SUFFIXES = (".html", ".htm")


def write_page(
    folder: RunFolder, out: Path, progress: Progress | None = None, splits: Splits | None = None, *, images: bool = True
) -> dict[str, Any]:
    """Writes the HTML file about a run, whole, over an earlier one; see `gather` for the arguments.

    Args:
        folder: of the run, finished or not.
        out: the file; its folder is made if need be.
        progress: shows how far it is.
        splits: the images of the run, where they have been read already.
        images: whether they may be read.

    Returns:
        What the page says.

    Raises:
        RunError: the folder holds no run.
        InputError: the file cannot be written.
    """
    folder.read_config()  # says what is wrong with the folder, if anything is, before anything is made
    check_page(out)
    content = gather(folder, out, progress or Silence(), splits, images=images)
    write_text(out, page(content))
    return content


def check_page(out: Path) -> None:
    """Makes the folder of a page.

    Raises:
        InputError: the name is not that of a page, which keeps other files from being written over, or there can be no
            such folder.
    """
    if out.suffix.lower() not in SUFFIXES or out.is_dir():
        raise InputError(f"expected a file with a name such as report.html as --out, got '{out}'.")
    make_folder(out.parent)


def make_folder(path: Path) -> None:
    """Makes a folder that is to be written in.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write in '{path}': {error.strerror or error}. Name another place.") from error
