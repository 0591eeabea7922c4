"""The command that writes the publishing card of datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgstore.cli.shell import Shell, command

if TYPE_CHECKING:
    from cgstore.catalog import Catalog, Entry

__all__ = ["app"]

app = typer.Typer()


@command(app, "The store")
def card(
    shell: Shell,
    name: Annotated[
        list[str] | None,
        typer.Argument(help="Datasets, or KEY=VALUE as for search; all by default.", metavar="NAME"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File of the card; printed by default.", metavar="FILE")
    ] = None,
    title: Annotated[str, typer.Option(help="Name of the whole; that of the systems by default.")] = "",
    url: Annotated[str, typer.Option(help="Where the store will be found once it is published.")] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing, with exit code 2, if licence, DOI or the like is missing.")
    ] = False,
) -> None:
    """Describe datasets in Croissant to publish them: licence, DOI, units, state point, lineage, SHA-256 of files."""
    from cgstore.card import make_card
    from cgstore.catalog import open_catalog
    from cgstore.errors import InputError
    from cgstore.intake_files import write_text

    entries = _chosen(open_catalog(shell.store), name or [])
    made = make_card(entries, name=title, url=url)
    if strict and made.problems:
        raise InputError("\n".join([f"{len(made.problems)} missing; no card is written", *made.problems]))
    for problem in made.problems:
        shell.say(f"warning: {problem}")
    if output is None:
        shell.answer(made.document, made.render())
        return
    write_text(output, made.render())
    many = f"{len(entries)} dataset{'' if len(entries) == 1 else 's'}"
    data = {"card": output, "datasets": [entry.name for entry in entries], "missing": made.problems}
    shell.answer(data, f"{output}: card of {many}, {len(made.problems)} missing")


def _chosen(catalog: "Catalog", words: list[str]) -> "list[Entry]":
    """Return the datasets with these names and those to which all of KEY=VALUE apply; all of them without words."""
    from cgstore.facets import parse_questions

    names = [word for word in words if "=" not in word]
    questions = [word for word in words if "=" in word]
    found = {name: catalog[name] for name in names}
    if questions or not words:
        found |= catalog.search(**parse_questions(questions, catalog.facets(), where=catalog.location)).items()
    return list(found.values())
