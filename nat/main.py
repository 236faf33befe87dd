"""The command `nat`. Exit codes: 0, 1 (the work failed), 2 (bad input), 130 (stopped from the keyboard)."""

import os
import sys

import typer
from rich.console import Console
from rich.markup import escape
from typer.main import get_command

from nat.commands import (
    catalogues,
    cells,
    checkpoints,
    comparing,
    deploying,
    finetuning,
    growing,
    importing,
    measuring,
    reporting,
    runs,
    training,
    transferring,
)
from nat.errors import InputError, NatError

app = typer.Typer(
    name="nat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Neural Architecture Transfer: adapt a supernet to your images, search Pareto-optimal subnets, pick one for a "
    "budget.\n\nExample: `nat transfer digits --out runs/digits`. Every command takes `--debug` for a traceback.",
)
app.command("transfer")(transferring.transfer)
app.command("resume")(transferring.resume)
app.command("front")(runs.front)
app.command("pick")(runs.pick)
app.command("finetune")(finetuning.finetune)
app.command("evaluate")(runs.evaluate)
app.command("compare")(comparing.compare)
app.command("export")(deploying.export)
app.command("predict")(deploying.predict)
app.command("push")(deploying.push)
app.command("pull")(deploying.pull)
app.command("report")(reporting.report)
app.command("pretrain")(training.pretrain)
app.command("macs")(catalogues.macs)
app.command("latency")(measuring.latency)
app.command("cell")(cells.cell)
app.command("searchers")(catalogues.searchers)
group = typer.Typer(no_args_is_help=True, help="Supernets: list, inspect, pull, import, grow, verify them.")
group.command("list")(checkpoints.list_checkpoints)
group.command("info")(checkpoints.checkpoint_info)
group.command("pull")(checkpoints.pull_checkpoint)
group.command("import")(importing.import_checkpoint)
group.command("grow")(growing.grow_checkpoint)
group.command("verify")(checkpoints.verify_checkpoint)
app.add_typer(group, name="checkpoints")
app.add_typer(catalogues.datasets, name="datasets")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; errors of the toolkit become one or two lines on standard error."""
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # threads that wait give way soon: matters on a busy machine
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        get_command(app)([word for word in words if word != "--debug"], prog_name="nat")
    except NatError as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
