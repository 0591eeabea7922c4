"""Commands on recipes: drafted from a folder of files, made from the entry of a databank, or from files of VOTCA."""

from pathlib import Path
from typing import Annotated

import typer

from cgstore.cli.shell import Shell, command
from cgstore.errors import InputError

__all__ = ["app"]

app = typer.Typer()
_PANEL = "Recipes"

Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Recipe to write; on the screen without it.", metavar="FILE")
]
Archive = Annotated[
    Path | None,
    typer.Option(help="Folder that paths in the recipe are relative to; that of the files by default.", metavar="DIR"),
]


@command(app, _PANEL)
def new(
    shell: Shell,
    folder: Annotated[Path, typer.Argument(help="Folder with the files of one system.", metavar="DIR")],
    output: Output = None,
    archive: Archive = None,
) -> None:
    """Draft a recipe from topologies and trajectories; what was guessed says so."""
    from cgstore.drafts import draft_recipe

    mappings = [Path("ingest/mappings")]
    if output is not None:
        _refuse_to_overwrite(output)
        mappings.insert(0, output.absolute().parent.parent / "mappings")
    draft = draft_recipe(folder, archive=archive, mappings=mappings)
    for remark in draft.remarks:
        shell.say(f"left out: {remark}")
    if draft.open:
        shell.say(f"to be filled in before it is accepted: {', '.join(draft.open)}")
    _hand_over(
        shell, draft.name, draft.text, output, {"runs": draft.runs, "open": draft.open, "remarks": draft.remarks}
    )


@command(app, _PANEL)
def fairmd(
    shell: Shell,
    readme: Annotated[Path, typer.Argument(help="README.yaml of a FAIRMD Lipids entry.", metavar="README.yaml")],
    output: Output = None,
    archive: Archive = None,
) -> None:
    """Make a recipe from the README.yaml of a FAIRMD Lipids (NMRlipids) entry."""
    from cgstore.fairmd import import_fairmd

    if output is not None:
        _refuse_to_overwrite(output)
    imported = import_fairmd(readme, archive=archive)
    for remark in imported.remarks:
        shell.say(f"check: {remark}")
    _hand_over(shell, imported.name, imported.text, output, {"remarks": imported.remarks})


@command(app, _PANEL)
def votca(
    shell: Shell,
    settings: Annotated[Path, typer.Argument(help="settings.xml of csg_inverse.", metavar="SETTINGS.xml")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.", metavar="DIR")],
    mapping: Annotated[
        list[Path] | None, typer.Option(help="mapping.xml of a molecule; may be repeated.", metavar="FILE")
    ] = None,
) -> None:
    """Turn settings and mappings of VOTCA into those of cgstore; whatever has no counterpart is said."""
    import json
    import re

    from cgstore.drafts.votca import import_votca

    found = import_votca(settings, mappings=mapping or [])
    plain = {name: value for name, value in found.arguments.items() if name != "guess"}
    texts = {"spec.toml": found.spec, "arguments.json": json.dumps(plain, indent=1) + "\n"}
    for name, part in found.mappings.items():  # a name that others chose becomes one of a file in this folder
        texts[f"mappings/{re.sub(r'[^a-z0-9_]', '_', name.lower())}_votca.toml"] = part.text
    texts["remarks.txt"] = "".join(f"{remark}\n" for remark in found.remarks)
    for name, text in texts.items():
        _refuse_to_overwrite(output / name)
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(text, encoding="utf-8")
    for remark in found.remarks:
        shell.say(f"check: {remark}")
    shell.answer({"written": [str(output / name) for name in texts], "remarks": found.remarks}, str(output))


def _refuse_to_overwrite(path: Path) -> None:
    """Keep what somebody may have written by hand."""
    if path.exists():
        raise InputError(f"{path}: it exists; give another name, or remove it first")


def _hand_over(shell: Shell, name: str, text: str, output: Path | None, more: dict[str, object]) -> None:
    """Write the recipe to its file, or show it."""
    if output is None:
        shell.answer({"name": name, "recipe": text, **more}, text)
        return
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    with output.open("x", encoding="utf-8") as file:
        file.write(text)
    shell.answer({"name": name, "written": output, **more}, str(output))
