"""The program `cgstore`: its commands gathered, wrong usage explained, the exit code returned."""

import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cgstore.cli.card import app as card
from cgstore.cli.data import app as data
from cgstore.cli.invert import app as invert
from cgstore.cli.learn import app as learn
from cgstore.cli.recipes import app as recipes
from cgstore.cli.results import app as results
from cgstore.cli.shell import INTERRUPTED, complain
from cgstore.cli.simulate import app as simulate
from cgstore.cli.splits import app as splits
from cgstore.cli.tables import app as tables

__all__ = ["app", "main"]

WRONG_USAGE = 2
_EPILOG = (
    "Exit codes: 0 done, 1 failed or damaged, 2 wrong usage or input, 3 model and reference disagree, 130 interrupted."
)

app = typer.Typer(
    help="Simulation archives in, coarse-grained training data out.",
    epilog=_EPILOG,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data)
app.add_typer(card)
app.add_typer(simulate)
app.add_typer(results)
app.add_typer(learn)
app.add_typer(invert)
app.add_typer(splits, name="split", help="Look at a split, check it for leaks, freeze it.", rich_help_panel="Learn")
app.add_typer(tables, name="table", help="Tables of features of many systems.", rich_help_panel="Results")
app.add_typer(recipes, name="recipe", help="Draft a recipe, or import one.", rich_help_panel="The store")


def _show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from cgstore import __version__

        typer.echo(f"cgstore {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options of the program itself."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cgstore` and return its exit code.

    Parameters
    ----------
    argv : the words after the program's name; those of this process by default

    Examples
    --------
    >>> main(["--version"])
    cgstore 0.1.0
    0
    """
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if argv is None:  # this process is the program: batch systems end their jobs by SIGTERM
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(args=words, prog_name="cgstore", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        # Wrong usage is the only thing that leaves a command; typer ships its own copy of click, whose classes differ.
        explain = getattr(error, "format_message", None)
        if explain is None:
            raise
        context = getattr(error, "ctx", None)
        program = context.command_path if context is not None else "cgstore"
        complain(f"{explain().rstrip('.')}; see {program} --help")
        return WRONG_USAGE
    return code if isinstance(code, int) else 0
