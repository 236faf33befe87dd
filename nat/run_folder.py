"""The folder of a run: where everything is, and how it is written."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nat.errors import InputError, RunError
from nat.files import read_json, take_lock, write_json
from nat.options import TransferOptions
from nat.settings import checked


def draft(path: Path) -> bool:
    """Whether a path is what a kill left of an unfinished file."""
    return path.name.startswith(".") and path.name.endswith(".draft")


def check_new(path: Path) -> None:
    """Raises `RunError` if a path is there already or no folder can be made at it; makes nothing."""
    try:
        if path.exists():
            raise RunError(f"expected --out to be a new folder; '{path}' is there already. Name another.")
        _check_writable(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _check_writable(path: Path) -> None:
    above = path.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"cannot write in '{above}', where --out should go. Name another --out.")


def _unusable(path: Path, error: OSError) -> RunError:
    return RunError(f"cannot use '{path}' as --out: {error.strerror or error}. Name another --out.")


class RunFolder:
    """Paths of a run.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self.lock = self.path / ".lock"
        self.config = self.path / "config.json"
        self.duplicates = self.path / "near_duplicates.json"
        self.archive = self.path / "archive.sqlite"
        self.events = self.path / "events.jsonl"
        self.plan = self.path / "plan.json"
        self.training = self.path / "training.pt"
        self.supernet = self.path / "supernet.safetensors"
        self.latency = self.path / "latency.json"
        self.front = self.path / "front.json"
        self.picture = self.path / "front.png"
        self.progress_picture = self.path / "rounds.png"
        self.report = self.path / "report.html"
        self.thumbnails = self.path / "thumbnails.json"
        self.subnets = self.path / "subnets"
        self.controls = self.path / "controls"
        self._opened = time.monotonic()
        self._before: float | None = None  # seconds of earlier sessions

    def check_free(self) -> None:
        """Raises `RunError` if the folder is used or cannot be made; makes nothing."""
        try:
            self._check_free()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _check_free(self) -> None:
        self._check_no_run()
        if self.path.exists() and (not self.path.is_dir() or any(map(self._foreign, self.path.iterdir()))):
            raise RunError(f"expected --out to be a new or empty folder; '{self.path}' is in use. Name another.")
        _check_writable(self.path)

    def _check_no_run(self) -> None:
        if self.config.exists():
            raise RunError(
                f"'{self.path}' already holds a run: go on with 'nat resume {self.path}', or name another --out."
            )

    def _foreign(self, path: Path) -> bool:
        """Whether an entry of the folder is nothing that a run leaves which was killed before its config.json."""
        return path not in (self.lock, self.duplicates) and not draft(path)

    def create(self, config: Mapping[str, Any]) -> None:
        """Makes the folder with its config.json; one that another process has made since `check_free` is refused."""
        self._make()
        self._check_no_run()
        write_json(self.config, config)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from working in the folder, which is made if need be.

        The file stays, as removing it would let two in; the lock on it ends with the process, however that ends.

        Raises:
            RunError: another process is at work here.
        """
        self._make()
        try:
            file = self.lock.open("a")
        except OSError as error:
            raise _unusable(self.path, error) from error
        with file:
            if not take_lock(file):
                raise RunError(f"another process is at work in '{self.path}'. Wait for its end, or stop it first.")
            yield

    def sweep(self) -> None:
        """Removes the drafts of files and of bundles that a kill left unfinished, and ends a line that it cut off."""
        for place in (self.path, self.subnets, self.controls):
            for path in place.glob(".*.draft"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        if self.events.is_file() and not self.events.read_bytes().endswith(b"\n"):
            with self.events.open("a", encoding="utf-8") as file:
                file.write("\n")

    def read_config(self) -> dict[str, Any]:
        """The content of config.json.

        Raises:
            RunError: the folder holds no run.
        """
        try:
            there = self.config.is_file()
        except OSError as error:
            raise RunError(
                f"cannot read '{self.path}': {error.strerror or error}. Name the folder of a run."
            ) from error
        if not there:
            raise RunError(f"expected the folder of a run at '{self.path}' (with a config.json); there is none.")
        data = read_json(self.config)
        parts = ("options", "space", "data")
        if not isinstance(data, dict) or not all(isinstance(data.get(part), dict) for part in parts):
            raise RunError(f"'{self.config}' is not the config of a run.")
        return data

    def read_options(self) -> TransferOptions:
        """What the run was asked, with the number of threads that it had: results depend on it in the last digits.

        Raises:
            RunError: the folder holds no run, or one whose settings this version does not know.
        """
        config = self.read_config()
        try:
            return checked(TransferOptions, {**config["options"], "threads": config.get("threads")})
        except InputError as error:
            raise RunError(f"'{self.config}' has {error}") from error

    def read_front(self) -> dict[str, Any]:
        """The content of front.json.

        Raises:
            RunError: the run has not come so far, or is none.
        """
        self.read_config()
        if not self.front.is_file():
            raise RunError(f"the run in '{self.path}' is not finished: go on with 'nat resume {self.path}'.")
        data: dict[str, Any] = read_json(self.front)
        return data

    def log(self, event: str, seconds: float, detail: Mapping[str, Any] | None = None) -> None:
        """Adds a line to events.jsonl: what was done, how long it took, and what the run's clock says."""
        times = {"seconds": round(seconds, 3), "elapsed": round(self.elapsed(), 3)}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": stamp, "event": event, **times, **(detail or {})})
        with self.events.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read_events(self) -> list[dict[str, Any]]:
        """The lines of events.jsonl, but for one that a kill cut off."""
        if not self.events.is_file():
            return []
        found = []
        for line in self.events.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event and "seconds" in event:
                found.append(event)
        return found

    def seconds_logged(self) -> float:
        """Time that all steps took together, over all sessions of the run."""
        return sum(float(event["seconds"]) for event in self.read_events())

    def elapsed(self) -> float:
        """Wall-clock seconds of the run so far: of this session, since this object was made, and of those before.

        Of a session that was killed the time up to its last event counts: what it did not finish is lost, and its time.
        """
        if self._before is None:
            self._before = max((float(event.get("elapsed", 0.0)) for event in self.read_events()), default=0.0)
        return self._before + time.monotonic() - self._opened
