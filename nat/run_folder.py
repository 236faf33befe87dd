"""The folder of a run: where everything is, and how it is written."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nat.errors import InputError, RunError
from nat.files import read_json, write_json
from nat.options import TransferOptions, checked


def draft(path: Path) -> bool:
    """Whether a path is what a kill left of an unfinished file."""
    return path.name.startswith(".") and path.name.endswith(".draft")


class RunFolder:
    """Paths of a run.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self.config = self.path / "config.json"
        self.archive = self.path / "archive.sqlite"
        self.events = self.path / "events.jsonl"
        self.training = self.path / "training.pt"
        self.supernet = self.path / "supernet.safetensors"
        self.front = self.path / "front.json"
        self.picture = self.path / "front.png"
        self.subnets = self.path / "subnets"
        self.controls = self.path / "controls"

    def check_free(self) -> None:
        """Raises `RunError` if the folder is used or cannot be made; makes nothing."""
        try:
            self._check_free()
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"cannot use '{self.path}' as --out: {reason}. Name another --out.") from error

    def _check_free(self) -> None:
        if self.config.exists():
            raise RunError(
                f"'{self.path}' already holds a run: go on with 'nat resume {self.path}', or name another --out."
            )
        if self.path.exists() and (not self.path.is_dir() or any(not draft(path) for path in self.path.iterdir())):
            raise RunError(f"expected --out to be a new or empty folder; '{self.path}' is in use. Name another.")
        above = self.path.absolute()
        while not above.exists():
            above = above.parent
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise RunError(f"cannot write in '{above}', where --out should go. Name another --out.")

    def create(self, config: Mapping[str, Any]) -> None:
        """Makes the folder with its config.json."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make '{self.path}': {error.strerror or error}. Name another --out.") from error
        write_json(self.config, config)

    def sweep(self) -> None:
        """Removes the drafts of files that a kill left unfinished."""
        for path in self.path.glob(".*.draft"):
            path.unlink()

    def read_config(self) -> dict[str, Any]:
        """The content of config.json.

        Raises:
            RunError: the folder holds no run.
        """
        if not self.config.is_file():
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
        """Adds a line to events.jsonl: what was done, and how long it took."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": stamp, "event": event, "seconds": round(seconds, 3), **(detail or {})})
        with self.events.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def seconds_logged(self) -> float:
        """Time that all steps took together, over all sessions of the run."""
        if not self.events.is_file():
            return 0.0
        total = 0.0
        for line in self.events.read_text(encoding="utf-8").splitlines():
            try:
                total += float(json.loads(line)["seconds"])
            except (ValueError, KeyError):  # a line that a kill cut off
                continue
        return total
