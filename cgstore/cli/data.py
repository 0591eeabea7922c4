"""Commands on the store: fill it, look into it, check it, hand its data on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cgstore.cli.shell import Shell, align, command, size

__all__ = ["app"]

app = typer.Typer()
_STORE, _START = "The store", "Start here"

Name = Annotated[str, typer.Argument(help="A dataset, system/run/level.", metavar="NAME")]


@command(app, _START)
def demo(
    shell: Shell,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the tour leaves its results.")] = Path(
        "cgstore-demo"
    ),
) -> None:
    """Take the whole tour on the archive that ships with cgstore."""
    from cgstore.demo import run

    if not (shell.json or shell.quiet):
        run(folder, say=typer.echo)  # the transcript is the answer
        return
    report = run(folder, say=shell.say)
    shell.answer({"folder": folder, "report": report}, str(report))


@command(app, _START)
def doctor(shell: Shell) -> int:
    """Show versions, threads, accelerators, and packages known to break others."""
    from cgstore.cli.doctor import examine

    findings = examine()
    rows = [[finding.what, finding.found] for finding in findings]
    advice = [f"{finding.what}: {finding.advice}" for finding in findings if finding.advice]
    data = [{"what": f.what, "found": f.found, "broken": f.broken, "advice": f.advice} for f in findings]
    shell.answer(data, "\n".join([align(rows), *(["", *advice] if advice else [])]))
    return int(any(finding.broken for finding in findings))


@command(app, _STORE)
def ingest(
    shell: Shell,
    recipe: Annotated[list[Path], typer.Argument(help="Recipe files.", metavar="RECIPE")],
    archive: Annotated[Path, typer.Option(help="Folder that the paths in recipes are relative to.", metavar="DIR")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count; write nothing.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads; all cores by default.", metavar="N")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.", metavar="ADDRESS")] = None,
) -> None:
    """Bring runs from an archive into the store; what is there already is continued."""
    from dataclasses import asdict

    from cgstore.ingestion import ingest

    with shell.progress() as progress:
        summaries = ingest(
            recipe,
            archive=archive,
            store=shell.location(),
            jobs=jobs,
            dry_run=dry_run,
            progress=progress,
            scheduler=scheduler,
        )
    shell.answer([asdict(summary) for summary in summaries], "\n".join(map(_describe_run, summaries)))


def _describe_run(summary: Any) -> str:
    """Say in one line, or two with a reason, what became of a run."""
    planned = summary.action == "planned"
    levels = []
    for level, particles in summary.particles.items():
        version = f" v{summary.versions[level]}" if level in summary.versions else ""
        levels.append(f"{level}{version} with {particles} particles")
    read = "nothing is written" if planned else f"{summary.new_frames} read now"
    stored = "" if planned else f", {size(summary.bytes_stored)} in the store"
    line = (
        f"{summary.run}: {summary.action}, {summary.frames} frames ({read}); {', '.join(levels)}; "
        f"{size(summary.bytes_in)} in the archive{stored}; {summary.seconds:.1f} s"
    )
    return f"{line}\n  {summary.reason}" if summary.reason else line


@command(app, _STORE)
def ls(shell: Shell) -> None:
    """List the datasets of the store."""
    from cgstore.catalog import open_catalog

    catalog = open_catalog(shell.store)
    shell.answer(catalog.rows(), catalog.table())


@command(app, _STORE)
def search(
    shell: Shell,
    question: Annotated[list[str], typer.Argument(help="KEY=VALUE, KEY=A,B or KEY=LOW..HIGH.", metavar="KEY=VALUE")],
) -> None:
    """List the datasets to which all of KEY=VALUE apply; `cgstore schema` shows the keys."""
    from cgstore.catalog import open_catalog
    from cgstore.documents import did_you_mean
    from cgstore.facets import parse_questions

    catalog = open_catalog(shell.store)
    facets = catalog.facets()
    questions = parse_questions(question, facets, where=shell.store)
    found = catalog.search(**questions)
    for key, wanted in questions.items():
        for word in wanted if isinstance(wanted, list) else [wanted]:
            if isinstance(word, str) and word not in (there := facets.get(key, [])):
                shell.say(f'no dataset has {key} "{word}"{did_you_mean(word, there) if there else ""}')
    shell.answer(found.rows(), found.table())


@command(app, _STORE)
def show(
    shell: Shell,
    name: Name,
    version: Annotated[int | None, typer.Option(help="A version; the newest by default.")] = None,
) -> None:
    """Show all that is known of a dataset: system, provenance, variables, versions."""
    from cgstore.catalog import open_catalog, plain_text

    entry = open_catalog(shell.store)[name]
    ds = entry.open(version)
    variables = [
        {
            "name": key,
            "dims": list(map(str, array.dims)),
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "unit": array.attrs.get("units", ""),
        }
        for key, array in sorted(ds.variables.items(), key=lambda item: str(item[0]))
    ]
    known = _facts(entry, ds)
    table = [["variable", "dims", "shape", "dtype", "unit"]]
    table += [[str(v["name"]), ", ".join(v["dims"]), str(v["shape"]), v["dtype"], v["unit"]] for v in variables]
    units = {"time_ps": "ps", "temperature": "K", "pressure": "bar", "precision": "nm", "bytes": "B"}
    facts = align([
        [key, f"{plain_text(value)} {units.get(key, '')}".rstrip()]
        for key, value in known.items()
        if value not in (None, "", [], {})
    ])  # fmt: skip
    shell.answer({**known, "variables": variables}, f"{facts}\n\n{align(table)}")


def _facts(entry: Any, ds: Any) -> dict[str, Any]:
    """Gather what is known of the version that was opened, which need not be the listed one."""
    from cgstore.features import kept
    from cgstore.intake_files import is_remote

    facts = {**entry.metadata, **ds.attrs, "frames": ds.sizes["frame"], "particles": ds.sizes["particle"]}
    if ds.attrs["version"] != entry.metadata["version"]:
        del facts["bytes"]
        facts["time_ps"] = float(ds["time"].max() - ds["time"].min())
    del facts["chunk_frames"]
    facts |= {"versions": entry.versions(), "location": entry.location}
    if not is_remote(entry.location):
        facts["kept"] = [f"{item.name} {item.key[:16]}" for item in kept(entry.path)]
    return facts


@command(app, _STORE)
def schema(shell: Shell) -> None:
    """Show the variables of a dataset with their units, and the keys that `search` knows."""
    from dataclasses import asdict

    from cgstore.catalog import open_catalog
    from cgstore.errors import InputError
    from cgstore.schema import SCHEMA

    variables = [["variable", "dims", "dtype", "unit", "meaning"]]
    variables += [[row.name, ", ".join(row.dims), row.dtype, row.unit, row.meaning] for row in SCHEMA]
    text = align(variables)
    facets: dict[str, list[Any]] = {}
    try:
        facets = open_catalog(shell.store).facets()
    except InputError:
        shell.say(f"no store at {shell.store}: its search keys are not shown")
    if facets:
        text += "\n\n" + align([["search key", "type", "values"], *(_facet_row(*item) for item in facets.items())])
    shell.answer({"variables": [asdict(row) for row in SCHEMA], "facets": facets}, text)


def _facet_row(key: str, values: list[Any]) -> list[str]:
    """Show a search key with its type and its values, or their range."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [key, "number", f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} … {values[-1]:g}"]
    return [key, "text", ", ".join(map(str, values[:6])) + (f" … ({len(values)})" if len(values) > 6 else "")]


@command(app, _STORE)
def verify(
    shell: Shell,
    name: Annotated[list[str] | None, typer.Argument(help="Datasets; all by default.", metavar="NAME")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read and check every byte.")] = False,
) -> int:
    """Check that the store is whole; exit code 1 if it is not."""
    from cgstore.store.integrity import verify

    problems = verify(shell.location(), name or None, deep=deep)
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    sound = f"{shell.store}: sound" if deep else f"{shell.store}: no file is lost or resized; --deep reads them all"
    shell.answer({"store": shell.store, "problems": problems}, "\n".join([*problems, count]) if problems else sound)
    return int(bool(problems))


@command(app, _STORE)
def gc(
    shell: Shell,
    name: Annotated[list[str] | None, typer.Argument(help="Datasets; all by default.", metavar="NAME")] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove versions but this many of the newest.", metavar="N")
    ] = None,
    older_than: Annotated[str | None, typer.Option(help='Only what is older, as in "30 days".', metavar="TIME")] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(help="Keep what this fit, or these catalogs, name; may be repeated.", metavar="PATH"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove remains, results about lost content and, with --keep, old versions."""
    from dataclasses import asdict

    from cgstore.catalog import write_catalog
    from cgstore.errors import InputError
    from cgstore.store.collecting import collect, pinned_digests
    from cgstore.store.mirrors import write_lists
    from cgstore.units import parse_quantity

    try:
        seconds = None if older_than is None else parse_quantity(older_than, "time") * 1e-12
    except InputError as error:
        raise InputError(
            f'--older-than: found {older_than!r}, expected a time with its unit, as in "30 days"'
        ) from error
    pinned = pinned_digests(pin or ())
    found = collect(shell.location(), name or None, keep=keep, older_than=seconds, pinned=pinned, dry_run=dry_run)
    if not dry_run:
        write_lists(shell.location(), write_catalog)
    lines = [f"{item.dataset} {item.what}: {item.kind}, {size(item.bytes)}" for item in found]
    total = sum(item.bytes for item in found)
    verb = "would free" if dry_run else "freed"
    lines.append(f"{verb} {size(total)}" if found else "nothing to remove")
    shell.answer(
        {"store": shell.store, "dry_run": dry_run, "collected": [asdict(item) for item in found]}, "\n".join(lines)
    )


@command(app, _STORE)
def catalog(
    shell: Shell,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the files are up to date.")] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the files.", metavar="DIR")] = Path("catalogs"),
) -> int:
    """Write the intake catalogs of the store, one per kind of system, for anyone without cgstore."""
    from cgstore.catalog import check_collections, write_collections

    if check:
        problems = check_collections(shell.store, folder)
        shell.answer({"problems": problems}, "\n".join(problems) or f"{folder}: up to date")
        return int(bool(problems))
    written = write_collections(shell.store, folder)
    shell.answer({"written": written}, "\n".join(map(str, written)))
    return 0


@command(app, _STORE)
def export(
    shell: Shell,
    name: Name,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="xtc, trr, dcd, h5md, gro, pdb or lammpstrj.", metavar="FILE")
    ],
    version: Annotated[int | None, typer.Option(help="A version; the newest by default.")] = None,
    start: Annotated[str | None, typer.Option("--from", help='First time, such as "10 ns".', metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option(help="Last time.", metavar="TIME")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Take every N-th frame.", metavar="N")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write frames of a dataset to a trajectory file of other programs; the suffix is the format."""
    from dataclasses import asdict

    from cgstore.catalog import open_catalog
    from cgstore.writers import export

    ds = open_catalog(shell.store)[name].open(version)
    with shell.progress() as progress:
        done = export(ds, output, start=start, until=until, stride=stride, force=force, progress=progress)
    for note in done.notes:
        shell.say(note)
    line = f"{done.path}: {done.frames} frames of {done.particles} particles"
    shell.answer(asdict(done), f"{line}, {size(done.bytes)} in {done.seconds:.1f} s")
