"""Commands on tables of features: build or renew one, list, show and explain them."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from cgstore.cli.shell import Shell, align, command, size

__all__ = ["app"]

app = typer.Typer()
_RESULTS = "Results"
_SHOWN = 20  # values of a kind that are listed one by one

Modules = Annotated[
    list[str] | None,
    typer.Option("--import", help="Python module with features of your own; may be repeated.", metavar="MODULE"),
]
Name = Annotated[str, typer.Argument(help="A table.", metavar="NAME")]


@command(app, _RESULTS)
def build(
    shell: Shell,
    spec: Annotated[Path, typer.Argument(help="TOML file: which datasets, which features.", metavar="SPEC.toml")],
    jobs: Annotated[int, typer.Option(min=1, help="Processes.", metavar="N")] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Compute again what failed the last time.")] = False,
    recompute: Annotated[
        list[str] | None,
        typer.Option(help="A column that is computed again, though it is known; may be repeated.", metavar="COLUMN"),
    ] = None,
    modules: Modules = None,
) -> int:
    """Make or renew a table; what is known is not computed again, and a build that was stopped goes on."""
    from cgstore.feature_tables.build import build_table

    _import(modules)
    with shell.progress() as progress:
        built = build_table(shell.folder(), spec, jobs=jobs, retry=retry, recompute=recompute or (), progress=progress)
    for line in built.warnings:
        shell.say(f"warning: {line}")
    for line in _failures(built.failures):
        shell.say(line)
    state = "published" if built.published else "as it was"
    failed = f", {len(built.failures)} without a value" if built.failures else ""
    dropped = f"; rows that are gone: {len(built.dropped)}" if built.dropped else ""
    text = (
        f"{built.name} v{built.version}, {state}: {built.rows} rows, {built.computed} values computed, "
        f"{built.known} known{failed}{dropped}"
    )
    shell.answer(_plain(built), text)
    return int(bool(built.failures) and len(built.failures) == built.computed + built.known)


def _failures(failures: Any) -> list[str]:
    """List the reasons, of very many the first."""
    lines = [f"no value: {what}: {reason}" for what, reason in list(failures.items())[:_SHOWN]]
    return lines + (
        [f"… and {len(failures) - _SHOWN} more, see cgstore table explain"] if len(failures) > _SHOWN else []
    )


@command(app, _RESULTS)
def ls(shell: Shell) -> None:
    """List the tables of the store."""
    from cgstore.feature_tables.storage import tables

    found = tables(shell.folder())
    rows = [["name", "version", "rows", "columns", "lacking", "size", "title"]]
    for item in found:
        counts = [f"{number}" for number in (item.version, item.rows, len(item.columns), item.failed)]
        rows.append([item.name, *counts, size(item.bytes), str(item.about.get("title", ""))])
    answers = [{key: value for key, value in _plain(item).items() if key != "about"} for item in found]
    shell.answer(answers, align(rows) if found else "no tables; make one with cgstore table build SPEC.toml")


@command(app, _RESULTS)
def show(
    shell: Shell,
    name: Name,
    version: Annotated[int | None, typer.Option(help="The newest by default.", metavar="N")] = None,
) -> None:
    """Show the columns of a table: what they are, how they were made, and in which range their values lie."""
    from cgstore.feature_tables.storage import open_table, read_published

    found = read_published(shell.folder(), name, version)
    ds = open_table(shell.folder(), name, version)
    columns = [
        {**_column(ds[variable]), "column": column, "feature": made["feature"], "feature_version": made["version"]}
        for column, made in found.about["columns"].items()
        for variable in made["variables"]
    ]
    rows = [["variable", "dims", "unit", "rows", "lowest", "highest", "feature", "meaning"]]
    for item in columns:
        dims = ", ".join(f"{dim} {number}" for dim, number in item["dims"].items())
        bounds = [f"{item[end]:.6g}" if item["known"] else "" for end in ("lowest", "highest")]
        feature = f"{item['feature']} v{item['feature_version']}"
        rows.append([item["variable"], dims, item["units"], f"{item['known']}", *bounds, feature, item["meaning"]])
    title = f"{found.name} v{found.version}: {found.rows} rows, {found.failed} of them lack a value"
    about = {"name": found.name, "version": found.version, "digest": found.digest, "rows": found.rows}
    answer = {**about, "failed": found.failed, "folder": found.folder, "columns": columns, "about": found.about}
    shell.answer(answer, "\n".join([title, *(f"  {line}" for line in align(rows).splitlines())]))


def _column(array: Any) -> dict[str, Any]:
    """Describe one variable of a table."""
    import numpy as np

    values = np.asarray(array.values, np.float64)
    finite = np.isfinite(values)
    known = finite.reshape(len(values), -1).any(axis=1).sum() if values.size else 0
    return {
        "variable": str(array.name),
        "dims": {str(dim): number for dim, number in array.sizes.items() if dim != "system"},
        "units": str(array.attrs.get("units", "")),
        "meaning": str(array.attrs.get("long_name", "")),
        "known": int(known),
        "lowest": float(values[finite].min()) if known else None,
        "highest": float(values[finite].max()) if known else None,
    }


@command(app, _RESULTS)
def explain(
    shell: Shell,
    name: Name,
    spec: Annotated[Path | None, typer.Option(help="Another spec than that of the table.", metavar="FILE")] = None,
    modules: Modules = None,
) -> None:
    """Say which values are stale, new, failed or gone, and why; nothing is computed."""
    from cgstore.feature_tables.staleness import explain_table

    _import(modules)
    found = explain_table(shell.folder(), name, spec)
    for line in found.warnings:
        shell.say(f"warning: {line}")
    states = ", ".join(f"{number} {state}" for state, number in found.states.items() if number)
    rows = [[value.state, value.system, value.column, value.why] for value in found.values]
    lines = align(rows[: 2 * _SHOWN]).splitlines() if rows else []
    more = [f"… and {len(rows) - 2 * _SHOWN} more, all of them with --json"] if len(rows) > 2 * _SHOWN else []
    text = [f"{found.name} v{found.version}, {found.rows} rows: {states}", *(f"  {line}" for line in [*lines, *more])]
    shell.answer({**_plain(found), "values": [_plain(value) for value in found.values]}, "\n".join(text))


@command(app, _RESULTS)
def features(shell: Shell, modules: Modules = None) -> None:
    """List the features that can be columns, with their parameters."""
    from cgstore.feature_tables.registry import features

    _import(modules)
    found: list[dict[str, Any]] = [
        {
            "name": feature.name,
            "version": feature.version,
            "locality": feature.locality,
            "inputs": list(feature.inputs),
            "parameters": list(feature.parameters.model_fields),
            "meaning": feature.meaning,
        }
        for feature in features().values()
    ]
    rows = [["name", "version", "locality", "meaning", "parameters"]]
    for item in found:
        parameters = ", ".join(item["parameters"])
        rows.append([item["name"], f"{item['version']}", item["locality"], item["meaning"], parameters])
    shell.answer(found, align(rows))


def _import(modules: list[str] | None) -> None:
    """Import modules, which register their features; those of the current folder, too.

    Raises
    ------
    InputError : there is no such module, or it cannot be imported
    """
    import sys

    from cgstore.errors import InputError

    here = str(Path.cwd())  # a full path: other processes are told it
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    for name in modules or ():
        try:
            import_module(name)
        except Exception as error:  # it is anybody's code
            raise InputError(f"--import {name}: cannot be imported: {type(error).__name__}: {error}") from error


def _plain(item: Any) -> dict[str, Any]:
    """Return the fields of a slotted dataclass."""
    return {field: getattr(item, field) for field in item.__slots__}
