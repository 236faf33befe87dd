"""Arguments and options that several commands share: the same name, the same meaning, the same words of help."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nat.errors import InputError
from nat.options import TransferOptions

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a subnet.")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")]
DataRoot = Annotated[Path | None, typer.Option(help="Where named data sets lie.")]
GrownModel = Annotated[
    str | None, typer.Option(help="The timm model whose weights the file of --supernet holds, to grow one.")
]
MaxMacs = Annotated[str | None, typer.Option(help="Most multiply-adds of a subnet, such as 30M.")]
MaxParams = Annotated[str | None, typer.Option(help="Most parameters of a subnet, such as 2M.")]
MaxMemory = Annotated[str | None, typer.Option(help="Most bytes of activations at once, such as 500k or 2M.")]
MinTop1 = Annotated[
    float | None, typer.Option(help="Least top-1 accuracy on validation images in the search, such as 0.9.")
]
Resolutions = Annotated[str | None, typer.Option(help="Input sizes to choose from, such as 64,96,128.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One amount of the effort, such as rounds=6."),
]
SkipCorrupt = Annotated[
    bool | None, typer.Option("--skip-corrupt", help="Skip images that cannot be read, even if over 2 %.")
]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip",
        help="Whether mirrored images keep their class: not those of letters, digits, signs. Default: --flip, and "
        "--no-flip for the data set digits.",
    ),
]


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's parameters, by name, that are settings of a transfer and were given a value."""
    settings = {name: value for name, value in parameters.items() if name in TransferOptions.model_fields}
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in settings.items() if value is not None
    }


def overrides_of(pairs: list[str]) -> dict[str, str]:
    """What NAME=VALUE words say, by name."""
    overrides = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"expected --set NAME=VALUE, for example --set rounds=5, got '{pair}'.")
        overrides[name.strip()] = value.strip()
    return overrides
