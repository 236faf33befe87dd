"""Commands that list and inspect: macs, datasets, searchers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nat.commands.arguments import Json
from nat.commands.console import facts_as_rows, print_json, print_table
from nat.errors import InputError

PAIRS = "near_duplicate_pairs"  # in the JSON alone: there may be thousands

datasets = typer.Typer(no_args_is_help=True, help="Data sets: list them, inspect one.")


def macs(
    architecture: Annotated[
        str | None, typer.Argument(metavar="ARCHITECTURE", help="JSON, 23 digits of NAT, or a file of either.")
    ] = None,
    from_jsonl: Annotated[Path | None, typer.Option(help="A file with one architecture a line.")] = None,
    classes: Annotated[int, typer.Option(min=1, max=10**6, help="Outputs of the classifier.")] = 1000,
    json: Json = False,
) -> None:
    """Multiply-adds and parameters of architectures: convolutions and linear layers, one multiply-add counts as one.

    Example: `nat macs 08011001440551052208877` or `nat macs net.subnet --classes 10 --json`
    """
    from nat.supernet.costs import costs_of_all

    if (architecture is None) == (from_jsonl is None):
        raise InputError("expected one ARCHITECTURE or --from-jsonl FILE.")
    nets, structures = zip(*(_read_lines(from_jsonl) if from_jsonl else [_read(architecture or "")]), strict=True)
    counts = costs_of_all(nets, classes, structures)
    results = [
        {"id": net.id, "macs": int(m), "params": int(p), "resolution": net.resolution, "classes": classes}
        for net, m, p in zip(nets, *counts, strict=True)
    ]
    if json:
        print_json(results if from_jsonl else results[0])
        return
    columns = [("subnet", "left"), ("input", "right"), ("multiply-adds", "right"), ("parameters", "right")]
    rows = [(r["id"], f"{r['resolution']} px", f"{r['macs']:,}", f"{r['params']:,}") for r in results]
    print_table(f"with {classes} classes", columns, rows)


def _with_structure(text: str) -> tuple[Any, Any]:
    """The architecture that a text spells, and its structure: the one it brings along, or that of its name."""
    from json import loads

    from nat.supernet.encodings import read_architecture
    from nat.supernet.structure import structure_of

    net = read_architecture(text)
    return net, structure_of(loads(text) if text.lstrip().startswith("{") else {}, net.family)


def _read(text: str) -> tuple[Any, Any]:
    if not text.lstrip().startswith(("{", "[")) and not text.strip().isdigit():
        try:
            text = Path(text).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"expected an architecture as JSON, as 23 digits, or a file of either; cannot read '{text}' ({error})."
            ) from error
    return _with_structure(text)


def _read_lines(path: Path) -> list[tuple[Any, Any]]:
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read '{path}': {error}.") from error
    nets = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                nets.append(_with_structure(line))
            except InputError as error:
                raise InputError(f"line {number} of '{path}': {error}") from error
    if not nets:
        raise InputError(f"expected an architecture a line in '{path}'; it has none.")
    return nets


@datasets.command("list")
def list_datasets(json: Json = False) -> None:
    """Data sets that can be named; any folder of class sub-folders, or .csv of paths and labels, will do as well.

    Example: `nat datasets list`
    """
    from nat.datasets.catalogue import list_datasets as cards

    found = cards()
    if json:
        print_json([_card(card) for card in found])
        return
    columns = [("name", "left"), ("what", "left"), ("classes", "right"), ("train", "right"), ("test", "right")]
    columns += [("how to get it", "left")]
    rows = [(c.name, c.title, str(c.num_classes), str(c.train_images), str(c.test_images), c.how_to_get) for c in found]
    print_table("data sets", columns, rows)


@datasets.command("info")
def dataset_info(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A name, a folder, a .csv or .tsv of paths and labels, or hf:NAME.")
    ],
    store_size: Annotated[
        int, typer.Option(help="Larger images are shrunk to this short side in memory; less takes less.")
    ] = 256,
    json: Json = False,
) -> None:
    """All that is known of a data set; a folder or list is read and checked, with the splits that a transfer would use.

    Of one with a name: its card, whether it is in the data root, and the memory that it takes. --json lists all pairs
    of near-duplicates.

    Example: `nat datasets info photos/flowers`
    """
    from nat.datasets.catalogue import list_datasets
    from nat.datasets.loading import load_dataset

    if data in {card.name for card in list_datasets()}:
        facts = _named(data, store_size)
    else:
        facts = _found(load_dataset(data, store_size=store_size, skip_corrupt=True))
    if json:
        print_json(facts)
        return
    shown = {key: value for key, value in facts.items() if key != PAIRS}
    print_table(str(facts["name"]), [("", "left"), ("", "left")], facts_as_rows(shown))


def searchers(json: Json = False) -> None:
    """Search strategies that can be named.

    Example: `nat searchers`
    """
    from nat.searchers import SEARCHERS

    if json:
        print_json([{"name": name, "title": searcher.title} for name, searcher in SEARCHERS.items()])
        return
    rows = [(name, searcher.title) for name, searcher in SEARCHERS.items()]
    print_table("search strategies", [("name", "left"), ("what", "left")], rows)


def _named(name: str, store_size: int) -> dict[str, Any]:
    """The card of a named data set, where its files go and whether they are there, and the memory that it takes."""
    from os import environ

    from nat.datasets.catalogue import find_dataset, names_in_root
    from nat.datasets.loading import ROOT_VARIABLE, data_root
    from nat.datasets.memory import bytes_of

    card, names, root = find_dataset(name), names_in_root(name), data_root().resolve()
    facts = _card(card)
    if names:
        facts["data_root"] = str(root)
        how = f"by {ROOT_VARIABLE}" if environ.get(ROOT_VARIABLE) else f"by default; {ROOT_VARIABLE} names another"
        facts["data_root_chosen"] = f"{how}, and so does --data-root"
        facts["in_data_root"] = any((root / name).exists() for name in names)
    return facts | {"memory": f"about {_gibibytes(bytes_of(card, store_size))}, at --store-size {store_size}"}


def _gibibytes(number: float) -> str:
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.1f} MiB"


def _found(splits: Any) -> dict[str, Any]:
    """What there is of a data set on this machine."""
    from nat.datasets.duplicates import find_duplicates

    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    counts = splits.train.labels.bincount(minlength=splits.num_classes).tolist()
    duplicates = find_duplicates(splits)
    return _card(splits.card) | {
        "splits": {name: len(images) for name, images in parts.items()},
        "classes": list(splits.classes),
        "smallest_class": _class(min(zip(counts, splits.classes, strict=True))),
        "largest_class": _class(max(zip(counts, splits.classes, strict=True))),
        "corrupt": [str(path) for path in splits.skipped],
        **_about_corrupt(len(splits.skipped), sum(map(len, parts.values()))),
        "ignored": splits.ignored,
        "near_duplicates": duplicates.in_words(splits) or 0,
        PAIRS: duplicates.to_json(splits),
        "fingerprint": splits.fingerprint,
    }


def _about_corrupt(corrupt: int, sound: int) -> dict[str, str]:
    """What `nat transfer` does with corrupt files, if there are any."""
    from nat.datasets.files import MOST_CORRUPT

    if not corrupt:
        return {}
    files, most = corrupt + sound, f"{100 * MOST_CORRUPT:g} %"
    told = f"{corrupt} of {files} files ({100 * corrupt / files:.1f} %)"
    done = f"refused, as they are over {most} of all; remove or replace them, or give --skip-corrupt"
    if corrupt <= MOST_CORRUPT * files:
        done = f"skipped, and said, as they are at most {most} of all"
    return {"corrupt_in_a_transfer": f"{told}: {done}"}


def _class(counted: tuple[int, str]) -> dict[str, Any]:
    count, name = counted
    return {"name": name, "train_images": count}


def _card(card: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(card)
