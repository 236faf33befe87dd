"""What a report says first: what was asked, which net is best, whether the search paid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nat.errors import NatError
from nat.objectives import ERROR, read_objectives

LIMITS = {
    "max_macs": ("multiply-adds", "M"),
    "max_params": ("parameters", "M"),
    "max_memory": ("bytes of activations", "M"),
    "max_latency_ms": ("ms of latency", ""),
}


def headline(config: Mapping[str, Any], front: Mapping[str, Any]) -> dict[str, Any]:
    """The first lines of a report.

    Args:
        config: content of config.json.
        front: content of front.json, or the best so far.

    Returns:
        `title`; `asked`: a sentence; `verdict`: the first sentence of the front's verdict, which says whether the
        search paid; `more`: the other ones; `best`: id of the most accurate net on validation images, the cheapest of
        several, and `cheapest`: id of the cheapest net that is statistically tied with it in top-1; None where there
        are none, or another error was traded.
    """
    options, data = config["options"], config["data"]
    name = str(front.get("dataset") or data.get("name") or Path(str(data.get("source", "images"))).name)
    verdict = [str(sentence) for sentence in front.get("verdict", [])]
    error = str((front.get("objectives") or [ERROR])[0])
    return {
        "title": name,
        "asked": _asked(name, options, data),
        "verdict": verdict[0] if verdict else "",
        "more": verdict[1:],
        "best": best_of(front["front"], error),
        "cheapest": (front.get("ties") or {}).get("cheapest") if error == ERROR else None,
    }


def best_of(rows: Sequence[Mapping[str, Any]], error: str = ERROR) -> str | None:
    """Id of the most accurate net on validation images, as fine-tuned, else as searched; the cheapest of several.

    By another error than that of top-1, where it was traded, as the search saw it.
    """
    if not rows:
        return None

    def accuracy(row: Mapping[str, Any]) -> float:
        if error in row:
            return 1.0 - float(row[error])
        tuned = row.get("finetuned_val_top1")
        return float(row["val_top1"] if tuned is None else tuned)

    return str(max(rows, key=lambda row: (accuracy(row), -row["macs"]))["id"])


def _asked(name: str, options: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    sizes = [f"{data[split]:,} {split}" for split in ("train", "val", "test") if isinstance(data.get(split), int)]
    given = [(LIMITS[key], options[key]) for key in LIMITS if options.get(key) is not None]
    limits = [f"at most {_amount(value, unit)} {title}" for (title, unit), value in given]
    if options.get("min_top1") is not None:
        limits.append(f"at least {100 * options['min_top1']:g} % top-1 accuracy")
    return (
        f"Adapt the supernet {Path(str(options.get('supernet', '?'))).name} to {name} "
        f"({data.get('classes', '?')} classes; {', '.join(sizes)} images) and find subnets that trade "
        f"{_traded(str(options.get('objectives', 'top1,macs')))}{', with ' if limits else ''}{', '.join(limits)}. "
        f"Strategy {options.get('searcher', '?')}, effort {options.get('effort', '?')}, "
        f"seed {options.get('seed', '?')}."
    )


def _traded(words: str) -> str:
    """The objectives by their titles; by their words where they cannot be read any more."""
    try:
        titles = [objective.title for objective in read_objectives(words)]
    except NatError:
        titles = [word.strip() for word in words.split(",")]
    return " against ".join((titles[0], ", ".join(titles[1:]))) if len(titles) > 1 else titles[0]


def _amount(value: float, unit: str) -> str:
    return f"{value / 1e6:g} M" if unit else f"{value:g}"
