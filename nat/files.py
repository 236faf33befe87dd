"""Files that appear whole or not at all: written beside their place, then renamed onto it; and locks on files."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from nat.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path in the same folder and renames it onto `path` at the end, or removes it after an error."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write '{path}': {error.strerror or error}. Free space or name another place."
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def as_text(name: str) -> str:
    """A file's name as UTF-8 can hold it: bytes that are no text, as old archives leave them, become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Writes a JSON file, whole, indented, in the order of the keys."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"expected JSON in '{path}': {error}.") from error


def take_lock(file: IO[str]) -> bool:
    """Takes the lock on an open file, which ends with the process at the latest.

    Returns:
        Whether no other process has it; True also where there are no locks (Windows, some network drives).
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def check_free(path: Path) -> None:
    """Raises `InputError` if there is something at a path."""
    if path.exists() or path.is_symlink():
        raise InputError(f"'{path}' is there already and stays as it is. Give another --out or --name.")
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"expected a folder as --out, got the file '{path.parent}'.")


@contextmanager
def new_files(*paths: Path) -> Iterator[None]:
    """Makes the folder of files that are written in the context; after an error neither files nor folder are left.

    Raises:
        InputError: the folder cannot be made.
    """
    out = paths[0].parent
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        _make_folder(out)
        yield
    except BaseException:
        with suppress(OSError):  # there may be no folder to look in
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write in '{folder}': {error.strerror or error}. Name another --out.") from error
