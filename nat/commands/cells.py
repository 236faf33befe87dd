"""The command that shows a cell: its edges, its network's costs, a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nat.commands.arguments import Json
from nat.commands.console import print_json, print_table
from nat.errors import unknown_name

if TYPE_CHECKING:
    from nat.supernet.cells.genotype import Genotype


def cell(
    genotype: Annotated[
        str,
        typer.Argument(
            metavar="GENOTYPE",
            help="A file (JSON, or Genotype(...) as published code has it), such a text, a string of NAS-Bench-201, or "
            "darts-v1, darts-v2, nasp, pnasnet-5. PNAS's cells: "
            '{"blocks": [[input, operation, input, operation], ...]}.',
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A picture: FILE.svg or FILE.png.")] = None,
    form: Annotated[
        str | None,
        typer.Option(help="Network to count: cifar, imagenet, nas-bench-201 or digits; default: as published."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Refuse cells of other spaces than: darts, nasp, nasp-7, nasp-12, nas-bench-201, digits or pnas."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Shows a cell (DARTS, NASP, PNAS, NAS-Bench-201): operations, multiply-adds, parameters, a picture.

    Example: `nat cell darts-v2 -o cell.svg` or `nat cell genotype.json --form imagenet --json`
    """
    from nat.drawing import draw_genotype
    from nat.files import check_free
    from nat.supernet.cells.costs import network_costs
    from nat.supernet.cells.network import FORMS
    from nat.supernet.cells.spelling import find_genotype

    net = find_genotype(genotype)
    if space is not None:
        _check_space(net, space)
    name = form or ("cifar" if net.normal.inputs == 2 else "nas-bench-201")
    if name not in FORMS:
        raise unknown_name("form", name, FORMS)
    macs, params = network_costs(net, FORMS[name])
    if out is not None:
        check_free(out.expanduser())
        draw_genotype(net, out.expanduser())
    if json:
        print_json({"id": net.id, "form": name, "macs": macs, "params": params, "genotype": net.to_json()})
        return
    rows = [
        (kind, str(node), str(source), operation)
        for kind, cell in net.shown.items()
        for source, node, operation in cell.edges
    ]
    columns = [("cell", "left"), ("node", "right"), ("from", "right"), ("operation", "left")]
    print_table(f"genotype {net.id}", columns, rows)
    shape = FORMS[name]
    print(f"{name} network of {shape.layers} layers, {shape.channels} channels, {shape.resolution} px:")
    print(f"{macs:,} multiply-adds, {params:,} parameters")
    if out is not None:
        print(out)


def _check_space(net: "Genotype", name: str) -> None:
    """Raises `InputError` unless the cells are of the space of that name."""
    from nat.supernet.cells.blocks import BlockCell, BlockSpace
    from nat.supernet.cells.space import cell_spaces

    spaces = cell_spaces()
    if name == "pnas":
        BlockSpace().encode([BlockCell.of(net)])
    elif name in spaces:
        spaces[name].validate(net)
    else:
        raise unknown_name("space of cells", name, (*spaces, "pnas"))
