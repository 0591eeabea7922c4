"""Commands on fits: train a potential, ask it about held-out systems, hand it to a simulation program."""

from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from cgstore.cli.shell import Shell, align, command

__all__ = ["app"]

app = typer.Typer()
_PANEL = "Learn"
_DISAGREES = 3

Fit = Annotated[Path, typer.Argument(help="Folder of a fit.", metavar="FITDIR")]


class Part(StrEnum):
    """A part of a split."""

    HELDOUT = "heldout"
    VALIDATION = "validation"
    TRAIN = "train"


class Curve(StrEnum):
    """A potential of a fit."""

    NETWORK = "network"
    IBI = "ibi"
    IMC = "imc"
    PMF = "pmf"


@command(app, _PANEL)
def train(
    shell: Shell,
    file: Annotated[Path, typer.Argument(help="What is fitted to what.", metavar="FIT.toml")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the fit.", metavar="FITDIR")],
) -> None:
    """Train a potential; a fit that was interrupted goes on exactly where it was."""
    from cgstore.learn import train, train_liquid
    from cgstore.learn.liquid.settings import is_liquid_fit

    with shell.progress() as progress:
        folder = (train_liquid if is_liquid_fit(file) else train)(
            file, store=shell.store, out=output, progress=progress
        )
    shell.answer({"fit": folder}, f"{folder}: trained; next: cgstore validate {folder}")


@command(app, _PANEL)
def validate(
    shell: Shell,
    fit: Fit,
    on: Annotated[Part, typer.Option(help="The part of the split to ask about.")] = Part.HELDOUT,
) -> int:
    """Compare the potentials of a fit with reference data; exit code 3 when they disagree.

    The answer is kept in the folder of the fit, and validation.html there is a page of all parts that were asked about.
    """
    from cgstore.learn import validate, validate_liquid
    from cgstore.learn.liquid.settings import is_liquid_fit
    from cgstore.report import write_fit_page

    if is_liquid_fit(fit):
        found = validate_liquid(fit, store=shell.store, on=on.value)
        shell.answer(found.to_dict(), f"{align(found.table())}\n{found.verdict}")
        return 0 if found.passed else _DISAGREES
    with shell.progress() as progress:
        answer = validate(fit, store=shell.store, on=on.value, progress=progress)
    pages = [write_fit_page(shell.store, fit)] if isinstance(shell.location(), Path) else []  # a URL keeps no results
    head = ["dataset", "pair", "model", "rmsd of g", "noise", "chi2", "first peak", "of the reference", "TV", "KL"]
    table = align([head, *map(_row, answer.rows)])
    others = align([["dataset", "model", "", "", "of the reference", ""], *map(_other, answer.observables)])
    lines = [table, "", others, "", *map(str, pages), answer.verdict]
    shell.answer({**answer.to_dict(), "pages": pages}, "\n".join(lines))
    return 0 if answer.passed else _DISAGREES


def _row(row: Any) -> list[str]:
    """Show one line of a validation; what is no radial distribution function is named."""
    return [
        row.dataset,
        row.pair if row.distribution == "rdf" else f"{row.distribution} {row.pair}",
        row.model,
        _known(row.rmsd, row.rmsd_error, ".4f"),
        f"{row.noise_floor:.4f}" if isfinite(row.noise_floor) else "",
        f"{row.chi2:.2f}" if isfinite(row.chi2) else "",
        _known(row.peak, row.peak_error, ".3f"),
        _known(row.peak_reference, row.peak_reference_error, ".3f"),
        _known(row.total_variation, row.total_variation_error, ".4f"),
        _known(row.divergence, row.divergence_error, ".2g", ".1g"),
    ]


def _known(value: float, error: float, digits: str, of_error: str | None = None) -> str:
    """Show a number, with its error where one is known."""
    return f"{value:{digits}} ± {error:{of_error or digits}}" if isfinite(error) else f"{value:{digits}}"


def _other(row: Any) -> list[str]:
    """Show pressure, diffusion and the like of a validation."""
    from cgstore.plot.wording import with_error, with_unit

    shown = [with_error(*pair) for pair in ((row.value, row.error), (row.reference, row.reference_error))]
    values = [
        with_unit(text, row.unit) if isfinite(value) else ""
        for text, value in zip(shown, (row.value, row.reference), strict=True)
    ]
    return [row.dataset, row.model, " of ".join(filter(None, [row.what, row.of])), *values, row.note]


@command(app, _PANEL)
def potential(
    shell: Shell,
    fit: Fit,
    to: Annotated[
        str,
        typer.Option(
            help="gromacs, lammps, openmm, hoomd, votca or magic; torch for a network of atoms.", metavar="PROGRAM"
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the files.", metavar="DIR")],
    curve: Annotated[
        Curve, typer.Option(help="The trained network, or its baseline; of molecules what it began as.")
    ] = Curve.NETWORK,
    dataset: Annotated[
        str | None,
        typer.Option(help="Whose particles and temperature; the first of training by default.", metavar="NAME"),
    ] = None,
) -> None:
    """Write the potential of a fit as files of a simulation program."""
    from cgstore.exchange import write_potential
    from cgstore.learn.folder import read_settings
    from cgstore.learn.potential_file import read_tables

    if curve is Curve.NETWORK and to in ("torch", "openmm") and read_settings(fit).potential.kind == "atomic":
        written = _write_network(fit, shell.store, dataset, to, output)
    else:
        tables = read_tables(fit, curve.value)
        masses, temperature, system = _training_system(fit, shell.store, dataset)
        written = write_potential(tables, to, output, masses=masses, temperature=temperature, system=system)
    shell.answer({"written": written}, "\n".join(map(str, written)))


def _write_network(fit: Path, store: str, dataset: str | None, to: str, output: Path) -> list[Path]:
    """Write the network of atoms of a fit, for the particles of a dataset."""
    from cgstore.learn.atomic_files import read_network
    from cgstore.learn.exporting import write_network
    from cgstore.learn.source import inputs_of

    _, temperature, system = _training_system(fit, store, dataset)
    network, inputs = read_network(fit / "weights.npz"), inputs_of(system, temperature)
    return write_network(network, to, output, system=system, temperature=temperature, inputs=inputs)


def _training_system(fit: Path, store: str, dataset: str | None) -> tuple[dict[str, float], float, Any]:
    """Return the mass of each type a fit was trained on, and temperature and first frame of a dataset."""
    from cgstore.catalog import open_catalog
    from cgstore.learn.trainset import TrainingSet
    from cgstore.schema import topology_of

    catalog = open_catalog(store)
    entries = [catalog[used.member.name] for used in TrainingSet.read(fit).parts["train"]]
    topologies = [topology_of(entry.open()) for entry in entries]
    masses = {str(kind): float(mass) for t in topologies for kind, mass in zip(t.type, t.mass, strict=True)}
    chosen = entries[0] if dataset is None else catalog[dataset]
    return masses, float(chosen.metadata["temperature"]), chosen.open().isel(frame=slice(0, 1))
