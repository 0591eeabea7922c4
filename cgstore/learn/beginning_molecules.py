"""The tables that a potential of molecules begins as: potentials of mean force, or a short inversion of one dataset."""

from collections.abc import Callable

import xarray as xr

from cgstore.learn.binned import first_model
from cgstore.learn.drawing import StatePoint
from cgstore.learn.goal import goal_of
from cgstore.learn.inversion import invert
from cgstore.learn.molecular import Molecular
from cgstore.learn.settings import FitFile

__all__ = ["begin_molecules"]


def begin_molecules(
    file: FitFile, reference: xr.DataTree, point: StatePoint, tell: Callable[[int, int], None]
) -> Molecular:
    """Return the tables of pairs, bonds, angles and dihedrals that the training of a fit begins with.

    Parameters
    ----------
    file : of the fit; `start` of its potential says how they are found
    reference : the tree of `cgstore.distributions` of a dataset with all kinds of pairs and terms
    point : its state point, with the pressure that the model should have, if one is asked for
    tell : is told how many corrections are done, and how many there are

    Raises
    ------
    PhysicsError : a distribution is empty, or does not reach the cutoff; the motion explodes
    """
    asked, pressure = file.potential, point.pressure
    reference = _sampled(reference)
    if asked.start == "pmf":
        model = first_model(
            goal_of(reference, asked.cutoff), None, temperature=point.temperature, spacing=asked.spacing
        )
        assert isinstance(model, Molecular)
        return model
    model, _ = invert(
        reference,
        point.start,
        temperature=point.temperature,
        method="imc" if asked.start == "imc" else "ibi",
        iterations=asked.start_iterations,
        step=asked.start_step,
        cutoff=asked.cutoff,
        spacing=asked.spacing,
        pressure=None if pressure is None else pressure.value,
        membrane=pressure is not None and pressure.plane,
        sampling=file.sampling.sampling(),
        seed=file.seed,
        progress=lambda iteration, deviation, chi2: tell(iteration, asked.start_iterations),
    )
    return model


def _sampled(reference: xr.DataTree) -> xr.DataTree:
    """Return the distributions without the pairs that never came within reach, such as the ends of a stiff chain.

    Nothing is known of them, and they begin without a potential.
    """
    rdf = reference["rdf"].to_dataset()
    seen = rdf["count"].sum("r") > 0
    known = rdf.assign({name: rdf[name].where(seen) for name in ("rdf", "rdf_error")})
    return xr.DataTree.from_dict({"rdf": known, "bonded": reference["bonded"].to_dataset()})
