"""Files that appear whole or not at all: written beside their place, then renamed onto it; and locks on files."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
