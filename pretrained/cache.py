"""Weights that others publish: fetched once, checked, and kept in the user's cache.

Every file is known by its git blob id, which is compared before the file gets its name and again before it is used:
what the address gives, what a break leaves and what is put there by hand are all checked alike.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nat.errors import CheckpointError, InputError
from nat.files import take_lock
from nat.pretrained.download import PATIENCE, GoneError, Patience, Report, Say, UnavailableError, download, ignore

HOME_VARIABLE = "NAT_HOME"


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights at an address.

    Attributes:
        name: in the catalogue, and of the file in the cache.
        title: one line for a table.
        url: where it is published.
        blob_id: git's name for its bytes, which `git_blob_id` gives.
        trained_on: data set.
        licence: of the weights, and of the data.
    """

    name: str
    title: str
    url: str
    blob_id: str
    trained_on: str
    licence: str

    @property
    def path(self) -> Path:
        """Where it lies once it is pulled: checkpoints/NAME in the cache folder."""
        return cache_folder() / "checkpoints" / self.name

    @property
    def is_here(self) -> bool:
        """Whether there is a file in its place, right or wrong."""
        try:
            return self.path.is_file()
        except OSError:  # a folder that is closed
            return False


def cache_folder() -> Path:
    """The environment's NAT_HOME, else `nat` in the usual place for what can be fetched again.

    Raises:
        InputError: NAT_HOME is in the home folder of nobody.
    """
    home = os.environ.get(HOME_VARIABLE)
    try:
        return Path(home).expanduser().absolute() if home else _user_cache() / "nat"
    except RuntimeError as error:
        raise InputError(f"cannot find the home folder in {HOME_VARIABLE}={home}. Name another folder.") from error


def _user_cache() -> Path:
    try:
        home = Path.home()
    except RuntimeError:  # a user without one, as in some containers
        return Path(tempfile.gettempdir())
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else home / ".cache"  # the standard has relative ones ignored


def git_blob_id(path: Path) -> str:
    """SHA-1 of "blob", the size and the bytes: what git, and so a repository's listing, calls a file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def verified(file: PublishedFile) -> Path:
    """The path of a file that was pulled or put there by hand.

    Raises:
        CheckpointError: it is not there, or another file is.
    """
    if not file.is_here:
        raise CheckpointError(f"expected '{file.name}' at '{file.path}': run 'nat checkpoints pull {file.name}' first.")
    try:
        found = git_blob_id(file.path)
    except OSError as error:
        raise CheckpointError(f"cannot read '{file.path}': {error.strerror}. Make it readable.") from error
    if found != file.blob_id:
        raise CheckpointError(
            f"expected git blob id {file.blob_id} of '{file.path}', got {found}: it is damaged or another file. "
            f"Run 'nat checkpoints pull {file.name}' to replace it."
        )
    return file.path


def pull(file: PublishedFile, patience: Patience = PATIENCE, report: Report = ignore, say: Say = ignore) -> bool:
    """Brings a published file into the cache, going on with what an earlier call has left.

    Args:
        file: which.
        patience: timeout and number of tries.
        report: called with (bytes here, bytes in all or None where the server does not say).
        say: called with what the user should know.

    Returns:
        Whether it was fetched; False where it was there and right.

    Raises:
        CheckpointError: it cannot be had, is not what was published, or another process is fetching it.
        InputError: the cache folder cannot be written.
    """
    path = file.path
    try:
        if file.is_here:
            found = git_blob_id(path)
            if found == file.blob_id:
                return False
            say(f"expected git blob id {file.blob_id} of '{path}', got {found}: fetching it again")
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _fetch(file, patience, report, say)
        return True
    except OSError as error:
        raise InputError(
            f"cannot write '{path}': {error.strerror or error}. Free space, or name another folder in {HOME_VARIABLE}."
        ) from error
    except UnavailableError as error:
        raise CheckpointError(f"{error}. {_by_hand(file, error)}") from error


def _fetch(file: PublishedFile, patience: Patience, report: Report, say: Say) -> None:
    """Downloads beside the place of the file and gives it its name once the bytes are right."""
    part = _part(file)
    left_over = part.exists()
    download(file.url, part, patience, report, say)
    found = git_blob_id(part)
    if found == file.blob_id:
        part.replace(file.path)
        return
    part.unlink()
    if left_over:  # the beginning may have been of another file
        say("what an earlier try left does not go with the rest; fetching all of it")
        return _fetch(file, patience, report, say)
    raise CheckpointError(
        f"expected git blob id {file.blob_id} from {file.url}, got {found}; what came is deleted. "
        "Try again; if it stays so, the file there was replaced or is changed on its way here."
    )


def _by_hand(file: PublishedFile, error: UnavailableError) -> str:
    """What the user can do about it."""
    there = f"put it at '{file.path}'; it is verified on first use."
    if isinstance(error, GoneError):
        return f"If you have the file from elsewhere, {there}"
    again = " Or try again later: what has come is kept." if _part(file).exists() else ""
    return f"Fetch {file.url} on another machine and {there}{again}"


def _part(file: PublishedFile) -> Path:
    """Where a download gathers, beside the place of the file."""
    return file.path.with_name(f"{file.name}.part")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other processes from fetching the same file.

    The lock's file stays, as removing it would let two in; the lock ends with the process, however that ends.
    """
    with path.with_name(f".{path.name}.lock").open("a") as file:
        if not take_lock(file):
            raise CheckpointError(f"another process is fetching '{path}'. Wait for its end, then run this again.")
        yield
