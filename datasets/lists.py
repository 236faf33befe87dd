"""Lists of image files with their labels, as spreadsheets and scripts write them.

    path,label,split
    photos/0001.jpg,rose,train
    photos/0002.jpg,tulip,test

The first line names the columns: `path` (or file, filename, image), `label` (or class) and, if wanted, `split` (train,
val or test). Paths count from the list's own folder. Without splits, all images are for training, and validation and
test images are drawn from them.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nat.datasets.scan import SPLITS, Scan, composed
from nat.datasets.splits import shortened
from nat.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_COLUMNS = {
    "path": ("path", "file", "filename", "image", "filepath", "image_path"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "set", "subset"),
}
LAYOUT = "a first line with the columns path and label, and perhaps split (train, val or test)"


def scan_list(file: Path, *, to_train: bool = True) -> Scan:
    """Read a list.

    Args:
        file: .csv (commas) or .tsv (tabs), in UTF-8.
        to_train: else its images are only measured on: there may be one class, and none for training.

    Raises:
        InputError: the list cannot be read, lacks a column, names a file that is not there or a split that is none, or
            has fewer than two classes; says in which line.
    """
    rows = list(_rows(file))
    if not rows:
        raise InputError(f"{file} lists no images; expected {LAYOUT}.")
    missing = [f"{path} (line {line})" for line, path, _, _ in rows if not path.is_file()]
    if missing:
        raise InputError(
            f"{file} lists what is not there: {shortened(missing)} ({len(missing)} of {len(rows)}). Paths count from "
            f"{file.parent}."
        )
    classes = tuple(sorted({label for _, _, label, _ in rows}))
    files: dict[str, list[tuple[Path, int]]] = {}
    for _, path, label, split in sorted(rows, key=lambda row: (row[2], composed(row[1].as_posix()))):
        files.setdefault(split, []).append((path, classes.index(label)))
    _check_once(file, files)
    if to_train:
        _check(file, classes, files)
    return Scan(classes, files, 0)


def _rows(file: Path) -> Iterator[tuple[int, Path, str, str]]:
    """Line number, path, label and split of each entry."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=DELIMITERS[file.suffix.lower()])
            names = _columns(file, reader.fieldnames or [])
            for row in reader:
                line = reader.line_num
                path, label = ((row.get(names[key]) or "").strip() for key in ("path", "label"))
                if not path or not label:
                    raise InputError(f"line {line} of {file} has no {'label' if path else 'path'}; expected {LAYOUT}.")
                yield line, file.parent / Path(path), composed(label), _split(file, line, names, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {file}: {error}; expected {LAYOUT}, in UTF-8.") from error


def _columns(file: Path, found: Sequence[str]) -> dict[str, str]:
    """The list's own names of the columns."""
    lower = {name.strip().lower(): name for name in found}
    names = {key: lower[word] for key, words in _COLUMNS.items() for word in words[::-1] if word in lower}
    lacking = [key for key in ("path", "label") if key not in names]
    if lacking:
        have = shortened(list(found), 6) or "an empty line"
        raise InputError(f"{file} has no column {' and no column '.join(lacking)}, only {have}; expected {LAYOUT}.")
    return names


def _split(file: Path, line: int, names: Mapping[str, str], row: Mapping[str, str]) -> str:
    if "split" not in names:
        return "train"
    word = (row.get(names["split"]) or "").strip().lower()
    if word not in SPLITS:
        raise InputError(f"line {line} of {file}: expected the split train, val or test, got '{word}'.")
    return SPLITS[word]


def _check(file: Path, classes: Sequence[str], files: Mapping[str, Sequence[tuple[Path, int]]]) -> None:
    if len(classes) < 2:
        raise InputError(f"{file} has one class only, '{classes[0]}'; expected at least 2.")
    if "train" not in files:
        raise InputError(f"{file} has no images of the split train; expected some of each class.")
    trained = {label for _, label in files["train"]}
    lacking = [f"'{name}'" for label, name in enumerate(classes) if label not in trained]
    if lacking:
        raise InputError(f"in {file}, class {shortened(lacking)} has no training images; expected at least one.")


def _check_once(file: Path, files: Mapping[str, Sequence[tuple[Path, int]]]) -> None:
    paths = [path for listed in files.values() for path, _ in listed]
    if twice := sorted(str(path) for path, times in Counter(paths).items() if times > 1):
        raise InputError(f"{file} lists {shortened(twice)} more than once; keep one line for each image.")
