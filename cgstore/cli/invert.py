"""The command `cgstore invert`: the Lennard-Jones parameters of a pair, from its g(r) and the state alone."""

from pathlib import Path
from typing import Annotated

import typer

from cgstore.cli.shell import Shell, command

__all__ = ["app"]

app = typer.Typer()


@command(app, "Learn")
def invert(
    shell: Shell,
    name: Annotated[str, typer.Argument(help="A dataset.", metavar="NAME")],
    pair: Annotated[tuple[str, str], typer.Option(help="Two types of particles.", metavar="A B")],
    model: Annotated[
        Path | None,
        typer.Option(help="A fit of the kind liquid_state, or its model.npz; the shipped one by default."),
    ] = None,
) -> None:
    """Estimate sigma and epsilon of a pair from its g(r), with errors, and say when the model cannot know."""
    from cgstore.catalog import open_catalog
    from cgstore.learn.liquid.asking import invert_pair
    from cgstore.learn.liquid.model import SHIPPED, read_model

    path = model or SHIPPED
    trained = read_model(path / "model.npz" if path.is_dir() else path)
    answer = invert_pair(open_catalog(shell.folder())[name], pair, model=trained)
    shell.answer(answer.to_dict(), answer.text())
