"""Commands on fits: train a potential, ask it about held-out systems, hand it to a simulation program."""

from pathlib import Path
from typing import Annotated

import typer

from cgstore.cli.shell import Shell, command

__all__ = ["app"]

app = typer.Typer()
_PANEL = "Learn"

Fit = Annotated[Path, typer.Argument(help="Folder of a fit.", metavar="FITDIR")]
