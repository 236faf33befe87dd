"""Settings, checked: every mistake at once, in the words of the toolkit; and those of a file."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nat.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
UNUSABLE = "settings that cannot be used: "


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The validated settings.

    Raises:
        InputError: all mistakes at once, one a line.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [_mistake(details, model) for details in error.errors()]
        raise InputError(f"{UNUSABLE}{'; '.join(lines)}.") from error


def _mistake(details: Any, model: type[BaseModel]) -> str:
    """One of pydantic's findings in the words of the toolkit."""
    place = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return f"unknown setting {place} (there are {', '.join(sorted(model.model_fields))})"
    message = details["msg"].removeprefix("Value error, ").removeprefix(UNUSABLE).rstrip(".")
    own = details["type"] == "value_error"  # says what it got
    where = f"{place}: " if place else ""  # several settings together have none
    return f"{where}{message}" + ("" if own else f", got {details['input']!r}")


def read_config(path: Path) -> dict[str, Any]:
    """Settings of a TOML or JSON file; `config.json` of a run may be given as it is.

    Raises:
        InputError: the file is missing or neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(f"cannot read settings from '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"expected TOML or JSON settings in '{path}': {error}.") from error
    if not isinstance(data, dict):
        raise InputError(f"expected settings by name in '{path}', got {type(data).__name__}.")
    options = data.get("options", data)
    if not isinstance(options, dict):
        raise InputError(f"expected settings by name as 'options' in '{path}', got {type(options).__name__}.")
    return options
