"""Commands on results: computed and kept, explained, drawn, reported."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from cgstore.cli.shell import Shell, align, command

__all__ = ["app"]

app = typer.Typer()
_RESULTS = "Results"

Spec = Annotated[Path | None, typer.Option(help="TOML file of what to compute, and how finely.", metavar="FILE")]
Name = Annotated[str, typer.Argument(help="A dataset, system/run/level.", metavar="NAME")]


@command(app, _RESULTS)
def distributions(
    shell: Shell,
    name: Annotated[list[str], typer.Argument(help="Datasets.", metavar="NAME")],
    spec: Spec = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only say what is known, what is stale and why, and from which files.")
    ] = False,
) -> None:
    """Compute distributions with their errors and keep them; what is known already is not computed again."""
    from cgstore.averages.keeping import kept_distributions
    from cgstore.averages.onepass import warnings_about
    from cgstore.averages.spec import load_spec
    from cgstore.catalog import open_catalog

    shell.folder()  # results are kept beside the dataset
    listed = open_catalog(shell.store)
    entries = [listed[item] for item in name]
    wanted = load_spec(spec) if spec else None
    if explain:
        _explain(shell, entries, wanted)
        return
    answers, lines = [], []
    with shell.progress() as progress:
        for number, entry in enumerate(entries):
            progress("distributions", number, len(entries))
            tree, computed = kept_distributions(entry.path, entry.open(), wanted)
            sizes = {str(dim): size for node in tree.subtree for dim, size in node.sizes.items()}
            counts = {dim: size for dim, size in sizes.items() if dim == "pair" or dim.endswith("_kind")}
            others = [name for name in tree if name not in ("rdf", "bonded")]
            values, warnings = _values(tree), warnings_about(tree)
            for line in warnings:
                shell.say(line)
            answers.append(
                {
                    "name": entry.name,
                    "computed": computed,
                    "distributions": counts,
                    "others": others,
                    "values": [plain for plain, _ in values],
                    "warnings": warnings,
                }
            )
            counted = [f"{dim.replace('_', ' ')}s: {size}" for dim, size in counts.items() if size]
            words = ", ".join([*counted, *(name.replace("_", " ") for name in others)])
            lines.append(f"{entry.name}: {'computed' if computed else 'known already'}; {words}")
            lines += [f"  {line}" for line in align([row for _, row in values]).splitlines()]
            progress("distributions", number + 1, len(entries))
    shell.answer(answers, "\n".join(lines))


def _values(tree: Any) -> list[tuple[dict[str, Any], list[str]]]:
    """Gather the single numbers of a result with their errors: as data, and as a row of words."""
    from cgstore.averages.numbers import single_numbers
    from cgstore.plot.wording import with_error, with_unit

    numbers = [number for node in tree.children.values() for number in single_numbers(node.to_dataset())]
    found = []
    for number in numbers:
        what = "".join([number.what, *(f" of {kind}" for kind in number.of)])
        plain = {"what": what, "value": number.value, "error": number.error, "unit": number.unit, "note": number.reason}
        shown = with_error(number.value, number.error)
        shown = with_unit(shown, number.unit) if math.isfinite(number.value) else shown
        found.append((plain, [what, shown, number.remark()]))
    return found


def _explain(shell: Shell, entries: Any, wanted: Any) -> None:
    """Answer what is known of each dataset, and why the rest is not."""
    from dataclasses import asdict

    from cgstore.averages.keeping import explain

    found = [explain(entry.path, entry.open(), wanted) for entry in entries]
    shell.answer([{**asdict(item), "state": _state(item)} for item in found], "\n\n".join(map(_describe, found)))


def _state(item: Any) -> str:
    """Say in a word whether an answer is kept."""
    return "known" if item.key else "partly known" if item.known_frames else "not known"


def _describe(item: Any) -> str:
    """Explain one dataset in lines."""
    title = f"{item.name} v{item.version}: {_state(item)}"
    if item.key:
        title += f", all {item.frames} frames, in {item.known_from}"
    elif item.known_frames:
        title += f", {item.known_frames} of {item.frames} frames in {item.known_from}; the others will be read"
    else:
        title += f"; {item.frames} frames will be read"
    rows = [[name, f"known, in {name}-{key[:16]}" if key else "not known"] for name, key in item.observables.items()]
    rows += [[folder, reason] for folder, reason in sorted(item.others.items())]
    for key, value in item.lineage.items():
        if key == "sources":
            rows += [["source", f"{source['path']}, {source['size']} B, sha256 {source['digest']}"] for source in value]
        elif isinstance(value, dict):
            rows.append([key.replace("_", " "), ", ".join(f"{name} {text}" for name, text in value.items())])
        else:
            rows.append([key.replace("_", " "), str(value)])
    return "\n".join([title, *(f"  {line}" for line in align(rows).splitlines())])


@command(app, _RESULTS)
def plot(
    shell: Shell,
    name: Name,
    kind: Annotated[str, typer.Argument(help="What to draw, one of the words above.", metavar="KIND")],
    pair: Annotated[
        str | None, typer.Argument(help="A-B, A-B-C, a type, a kind of molecule; all without it.", metavar="PAIR")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture; its suffix is the format.", metavar="FILE")],
    spec: Spec = None,
) -> None:
    """Draw one kind of result, with its errors.

    Structure: rdf, bond, angle, dihedral, improper; covariance of their bins; pmf, the potential of mean force.

    Densities: profile along an axis; radial_profile and map (r, z) around a particle that --spec names.

    Membranes: area, thickness, order, tilt. Motion: msd, vacf (needs velocities).

    What is kept is drawn; what is not is computed and kept.
    """
    from cgstore.catalog import open_catalog
    from cgstore.plot import save_plot

    written = save_plot(open_catalog(shell.store)[name], kind, pair, output=output, spec=spec)
    shell.answer({"written": written}, str(written))


@command(app, _RESULTS)
def report(
    shell: Shell,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the page.", metavar="DIR")],
    fit: Annotated[list[Path] | None, typer.Option(help="A fit to show; may be repeated.", metavar="FITDIR")] = None,
) -> None:
    """Write the store as one HTML page that needs no server."""
    from cgstore.report import write_report

    written = write_report(shell.folder(), output, fits=fit or ())
    shell.answer({"written": written}, str(written))
