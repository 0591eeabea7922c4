"""Settings of VOTCA's csg_inverse: what they ask for, in the forms of this project, and what was not understood.

VOTCA 2026 has no csg_inverse any more. Mapping files become mapping files, grids become a spec, target distributions
and first potentials are read, and the rest are arguments of `cgstore.learn.inversion.invert`. Whatever has no
counterpart is a remark with its path and value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.documents import toml_value
from cgstore.drafts.votca_mapping import VotcaMapping, import_mapping
from cgstore.drafts.votca_tables import Columns, pair_table, read_table
from cgstore.drafts.votca_xml import Node, read_xml
from cgstore.errors import InputError
from cgstore.tables import Table
from cgstore.units import BOLTZMANN

__all__ = ["VotcaInversion", "import_votca"]

_METHODS = ("ibi", "imc", "re")
_SMOOTHING = {"smooth", "splinesmooth", "extrapolate"}


@dataclass(frozen=True, slots=True, eq=False)
class VotcaInversion:
    """What the settings of an inversion say.

    `invert(found.reference(), start, **found.arguments)` does it, `start` being frames of the beads; `pairs` of VOTCA
    are those of the reference.
    """

    mappings: dict[str, VotcaMapping]  # by molecule
    spec: str  # TOML, which distributions to count
    arguments: dict[str, Any]  # of `invert`: method, temperature, iterations, step, cutoff, guess, pressure
    width: float  # nm, of the bins of pairs
    targets: dict[str, Columns]  # by pair "A-B": x in nm, g
    remarks: tuple[str, ...]

    def reference(self, particles: dict[str, int] | None = None) -> xr.Dataset:
        """Return the target distributions as `cgstore.rdf` would have them, without errors.

        Parameters
        ----------
        particles : number of particles of each type in the system of the targets. VOTCA divides by N²/2 for like
            types; with these g is multiplied by N / (N − 1)

        Raises
        ------
        InputError : there are no targets, or they do not reach the cutoff

        Notes
        -----
        VOTCA's bins are centred on multiples of the step, ours lie between them: g is interpolated linearly.
        """
        if not self.targets:
            raise InputError("no targets: the files that cg.non-bonded.inverse.target names were not found")
        cutoff, width = self.arguments["cutoff"], self.width
        r = (np.arange(round(cutoff / width)) + 0.5) * width
        rows = []
        for pair, (x, g, known) in self.targets.items():
            if x[-1] < r[-1] - 1e-9:
                raise InputError(f"the target of {pair} ends at {x[-1]:g} nm, before the cutoff at {cutoff:g} nm")
            a, b = pair.split("-")
            count = (particles or {}).get(a, 0)
            factor = count / (count - 1.0) if a == b and count > 1 else 1.0
            rows.append(factor * np.interp(r, x, np.where(known, g, 0.0)))
        unit = {"units": "1", "long_name": "radial distribution function"}
        return xr.Dataset(
            {"rdf": (("pair", "r"), rows, unit), "rdf_error": (("pair", "r"), np.full_like(rows, np.nan), unit)},
            {"pair": list(self.targets), "r": ("r", r, {"units": "nm", "long_name": "distance"})},
            {"temperature": self.arguments["temperature"]},
        )


def import_votca(settings: Path, *, mappings: Sequence[Path] = ()) -> VotcaInversion:
    """Read the settings of csg_inverse, with the targets and potentials that lie beside them.

    Parameters
    ----------
    settings : settings.xml, with <cg>
    mappings : mapping.xml of each molecule; bonded interactions are known by their names in these

    Returns
    -------
    VotcaInversion

    Raises
    ------
    InputError : a file is no XML or table of VOTCA, or there is nothing to invert

    Notes
    -----
    kBT is taken as it stands and divided by k. Potentials: NAME.pot.in beside the settings, as csg_inverse takes them,
    else NAME.pot. Energies of VOTCA are kJ/mol, lengths nm, angles rad.
    """
    root = read_xml(settings, "cg")
    found = {mapping.molecule: mapping for mapping in map(import_mapping, mappings)}
    remarks = [f"{mapping.molecule}: {remark}" for mapping in found.values() for remark in mapping.remarks]
    pairs = [_interaction(settings, node) for node in root.all("non-bonded")]
    terms = [_interaction(settings, node) for node in root.all("bonded")]
    if not pairs and not terms:
        raise InputError(f"{settings}: found neither cg.non-bonded nor cg.bonded; expected interactions to invert")
    arguments = _arguments(settings, root, pairs, remarks)
    spec = _spec(settings, pairs, terms, list(found.values()), remarks)
    targets, guess = _files(settings.parent, pairs, arguments, remarks)
    if guess:
        arguments["guess"] = guess
    arguments |= _pressure(settings, pairs, remarks)
    _interaction_remarks(pairs + terms, remarks)
    remarks += [f"{where} = {text}   not understood, left out" for where, text in root.unread()]
    return VotcaInversion(found, spec, arguments, _width(pairs), targets, tuple(remarks))


@dataclass(slots=True)
class _Interaction:
    """One interaction as it stands in the settings."""

    node: Node
    name: str
    pair: str  # "A-B", empty for bonded ones
    low: float
    high: float
    step: float


def _interaction(path: Path, node: Node) -> _Interaction:
    """Read what an interaction is of, and its grid."""
    name = node.value("name") or ""
    types = [node.value("type1"), node.value("type2")]
    pair = "-".join(sorted(word for word in types if word)) if all(types) else ""
    grid = [_number(path, f"{name}.{key}", node.value(key), None) for key in ("min", "max", "step")]
    if not grid[1] > grid[0] >= (0.0 if pair else -math.inf) or not grid[2] > 0.0:
        raise InputError(f"{path}: {name or node.tag}: found min {grid[0]:g}, max {grid[1]:g}, step {grid[2]:g}")
    return _Interaction(node, name, pair, *grid)


def _number(path: Path, key: str, text: str | None, default: float | None) -> float:
    """Return a number of the settings."""
    if not text:
        if default is None:
            raise InputError(f"{path}: {key}   missing, expected a number")
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: {key}   found {text[:80]!r}, expected a number")
    return value


def _arguments(path: Path, root: Node, pairs: Sequence[_Interaction], remarks: list[str]) -> dict[str, Any]:
    """Return the arguments of `invert`."""
    method = root.value("inverse.method") or "ibi"
    if method not in _METHODS:
        remarks.append(f'cg.inverse.method = {method}   not known here; written "ibi"')
        method = "ibi"
    thermal = _number(path, "inverse.kBT", root.value("inverse.kBT"), None)
    most = int(_number(path, "inverse.iterations_max", root.value("inverse.iterations_max"), 0.0))
    if most == 0:
        remarks.append(
            "cg.inverse.iterations_max = 0   means without end; 20 are written, it ends when it has converged"
        )
    width = _width(pairs)
    cutoff = round(max((one.high for one in pairs), default=0.0) / width) * width
    if len({(one.high, one.step) for one in pairs}) > 1:
        remarks.append(f"max, step   differ between pairs; all have bins of {width:g} nm up to {cutoff:g} nm here")
    limit = root.value("inverse.convergence_check.limit")
    kind = root.value("inverse.convergence_check.type")
    if limit or (kind and kind != "none"):
        remarks.append(
            f"cg.inverse.convergence_check = {kind or ''} {limit or ''}   sums of differences are no measure here; it "
            "ends when errors say so, or at tolerance="
        )
    scales = {one.name: _scale(path, one) for one in pairs}
    if len(set(scales.values())) > 1:
        remarks.append(f"post_update_options.scale   differs between pairs ({scales}); the smallest is written for all")
    return {
        "method": method,
        "temperature": round(thermal / BOLTZMANN, 4),
        "iterations": most or 20,
        "step": min(scales.values(), default=1.0),
        "cutoff": round(cutoff, 9),
    }


def _width(pairs: Sequence[_Interaction]) -> float:
    """Return the width of the bins of all pairs, nm."""
    return min((one.step for one in pairs), default=0.01)


def _scale(path: Path, one: _Interaction) -> float:
    """Return the part of a correction that is made: that of the post-update `scale`, if it is asked for."""
    text = one.node.value("inverse.post_update_options.scale")
    asked = "scale" in (one.node.value("inverse.post_update") or "").split()
    return _number(path, f"{one.name}.scale", text, 1.0) if asked else 1.0


def _pressure(path: Path, pairs: Sequence[_Interaction], remarks: list[str]) -> dict[str, float]:
    """Return the pressure that a correction asks for."""
    asked = [one for one in pairs if "pressure" in (one.node.value("inverse.post_update") or "").split()]
    targets = {one.name: one.node.value("inverse.p_target") for one in asked}
    if not asked:
        return {}
    found = {_number(path, f"{name}.p_target", text, None) for name, text in targets.items() if text}
    if len(found) != 1 or None in targets.values():
        remarks.append(f"post_update = pressure   p_target is {targets}, expected one and the same; left out")
        return {}
    names = ", ".join(targets)
    remarks.append(
        f"post_update = pressure   of {names}: all pairs get a ramp for the pressure of the whole model here"
    )
    return {"pressure": found.pop()}


def _spec(
    path: Path,
    pairs: Sequence[_Interaction],
    terms: Sequence[_Interaction],
    mappings: Sequence[VotcaMapping],
    remarks: list[str],
) -> str:
    """Return the spec of the distributions that are inverted."""
    lines = [f"# From {path.name} of VOTCA."]
    if pairs:
        high = max(one.high for one in pairs)
        lines += ["", "[rdf]", f"pairs = {toml_value([one.pair for one in pairs])}"]
        lines += [f'r_max = "{high:g} nm"', f'bin_width = "{_width(pairs):g} nm"']
    groups = {name: group for mapping in mappings for name, group in mapping.groups.items()}
    widths: dict[str, list[float]] = {"bond": [], "angle": [], "dihedral": []}
    longest = 0.0
    for one in terms:
        if one.name not in groups:
            remarks.append(f"cg.bonded {one.name}   is in none of the mapping files; give its mapping.xml")
            continue
        term, _ = groups[one.name]
        widths[term].append(one.step)
        longest = max(longest, one.high if term == "bond" else 0.0)
    rows = []
    if widths["bond"]:
        width = min(widths["bond"])
        bins = max(math.ceil(longest / width - 1e-9), 1)
        rows += [f'bond_width = "{width:g} nm"', f'bond_max = "{bins * width:.9g} nm"']
    for term, span in (("angle", 180), ("dihedral", 360)):
        if widths[term]:
            degrees = math.degrees(min(widths[term]))
            bins = max(round(span / degrees), 4)
            rows.append(f'{term}_width = "{span / bins:.9g} degree"')
            if abs(span / bins - degrees) > 1e-6:
                remarks.append(
                    f"{term}s   bins of {degrees:.4g} degrees do not divide {span}; written {span / bins:.4g}"
                )
    return "\n".join(lines + (["", "[bonded]", *rows] if rows else [])) + "\n"


def _files(
    folder: Path, pairs: Sequence[_Interaction], arguments: dict[str, Any], remarks: list[str]
) -> tuple[dict[str, Columns], dict[str, Table]]:
    """Read targets and first potentials of pairs, as far as they are there."""
    targets, guess = {}, {}
    for one in pairs:
        if not one.pair:
            remarks.append(f"cg.non-bonded {one.name}   has no type1 and type2; left out")
            continue
        target = one.node.value("inverse.target") or f"{one.name}.dist.tgt"
        if _beside(folder, target):
            targets[one.pair] = read_table(folder / target)
        else:
            remarks.append(
                f"{one.name}.inverse.target = {target}   is not beside the settings; compute the reference anew"
            )
        for name in (f"{one.name}.pot.in", f"{one.name}.pot"):
            if _beside(folder, name):
                guess[one.pair] = pair_table(folder / name, arguments["cutoff"])
                break
    return targets, guess


def _beside(folder: Path, name: str) -> bool:
    """Tell whether a name is that of a file in the folder, not of one elsewhere."""
    return name == Path(name).name and (folder / name).is_file()


def _interaction_remarks(interactions: Sequence[_Interaction], remarks: list[str]) -> None:
    """Say what becomes of the updates of interactions."""
    for one in interactions:
        inverse = f"{one.name}.inverse"
        update = (one.node.value("inverse.do_potential") or "1").split()
        if set(update) != {"1"}:
            remarks.append(
                f"{inverse}.do_potential = {' '.join(update)}   here every potential is corrected every time"
            )
        if not one.pair:
            target = one.node.value("inverse.target")
            remarks.append(
                f"{inverse}.target = {target}   bonded targets are counted from the reference frames, not read"
            )
        after = set((one.node.value("inverse.post_update") or "").split())
        if smoothed := sorted(after & _SMOOTHING):
            remarks.append(
                f"{inverse}.post_update = {' '.join(smoothed)}   corrections are smoothed by their errors here"
            )
        for other in sorted(after - _SMOOTHING - {"pressure", "scale", "dummy"}):
            remarks.append(f"{inverse}.post_update = {other}   has no counterpart")
        for script in sorted(set((one.node.value("inverse.post_add") or "").split()) - {"dummy"}):
            remarks.append(f"{inverse}.post_add = {script}   has no counterpart")
