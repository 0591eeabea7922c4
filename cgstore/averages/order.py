"""Order parameters: how C–H bonds of lipids, and bonds between beads, are directed with respect to the membrane."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.carbons import Group, ch_groups, ch_vectors
from cgstore.averages.counting import result_attrs
from cgstore.averages.framewise import frame_values, mean_variables, normals
from cgstore.averages.lipids import lipid_kinds, named_topology, skeleton_of
from cgstore.box import minimum_image
from cgstore.errors import InputError, PhysicsError
from cgstore.molecules import variants_of
from cgstore.schema import check_dataset

__all__ = ["bond_order", "order_parameters"]

_CARBON = {"units": "1", "long_name": "order parameter S_CD"}
_HYDROGEN = {"units": "1", "long_name": "order parameter S_CD of a hydrogen"}
_BOND = {"units": "1", "long_name": "order parameter P2 of bonds"}

Float = NDArray[np.float64]
Index = NDArray[np.int64]


def order_parameters(
    ds: xr.Dataset,
    *,
    lipids: str | Iterable[str] | None = None,
    carbons: str | Iterable[str] | None = None,
    hydrogens: Mapping[str, int] | None = None,
    normal: str = "z",
) -> xr.Dataset:
    """Return the deuterium order parameters of carbons, of each hydrogen and averaged over those of a carbon; lazy.

    Parameters
    ----------
    ds : dataset of the schema at the level of atoms, with `molecule`, `molecule_kind`, `name`, `mass` and `bond`;
        hydrogens explicit or united with their carbons
    lipids : kinds of molecules; by default all phospholipids and sterols
    carbons : names; by default those of the chains, unbranched paths of six carbons or more; "all" for all carbons
        with hydrogens, head group, glycerol and sterol rings too
    hydrogens : how many hydrogens a carbon has, by name, where they are left out and the masses do not tell
    normal : the box vector that crosses the bilayer; the normal is that of the plane of the other two

    Returns
    -------
    dataset with `order_parameter` (carbon), its `_error`, `_series` (frame, carbon), `_correlation_time` in ps and
    `_blocks`; `order_parameter_lipid_error` (carbon), what the scatter among lipids gives;
    `hydrogen_order_parameter` (hydrogen) with `_error`, `_correlation_time`, `_blocks`; `lipids` (carbon), how many.
    Coordinates say the `molecule_kind`, `chain` (from 1, 0 for none) and `number` in the chain of each carbon, the
    carbonyl being number 1, and the `of_carbon` of each hydrogen

    Raises
    ------
    NotFound : no lipids, or no carbon of that name
    InputError : no hydrogens, explicit or by mass, or bonds that do not tell where they are
    PhysicsError : when computed: a position that is not finite, a box without volume

    Notes
    -----
    S_CD = ⟨(3 cos² θ − 1) / 2⟩ with the angle θ between the C–H bond and the normal of the membrane; plateaus of
    acyl chains are near −0.2, and −S_CD or |S_CD| is what is often plotted. Lipids are averaged first, in each frame,
    and the error comes from blocks of that series which are longer than its correlation time. Lipids that all are
    independent would give `order_parameter_lipid_error`; where it is larger than the error, lipids differ for longer
    than the run lasts, and the larger of the two is the honest one. Undulations and a tilted bilayer lower |S_CD|, and
    so do lipids that are not in the bilayer, which count here.

    Hydrogens that are united with their carbon are built with ideal geometry (see
    `cgstore.averages.carbons.ch_vectors`); on DMPC with Lipid21 that is within 0.005 of explicit ones. Which of the two
    hydrogens of a CH2 is the first follows from the order of its neighbours; it is the same in all lipids, and so tells
    diastereotopic hydrogens apart, but is not pro-R or pro-S. Seelig 1977, doi:10.1017/S0033583500002948; building
    hydrogens: Santuz et al. 2021, doi:10.21105/joss.03521

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), [[[0.0, 0, 0], [0, 0, 0.1], [0.1, 0, 0]]]),
    ...      "bond": (("bond", "bond_end"), [[0, 1], [0, 2]]), "mass": ("particle", [12.011, 1.008, 1.008])},
    ...     {"name": ("particle", ["C1", "H1", "H2"]), "molecule": ("particle", [0] * 3),
    ...      "molecule_kind": ("particle", ["LIP"] * 3)},
    ... )
    >>> found = order_parameters(ds, lipids="LIP", carbons="all")
    >>> found.hydrogen_order_parameter.values.tolist(), float(found.order_parameter.sel(carbon="C1"))
    ([1.0, -0.5], 0.25)
    """
    check_dataset(ds, needs=("position", "molecule", "name", "bond"))
    title = str(ds.attrs.get("name", "this dataset"))
    normals(None, 0, normal, title)
    topology = named_topology(ds)
    kinds = lipid_kinds(topology, title, lipids)
    groups = ch_groups(topology, title, kinds, carbons=carbons, hydrogens=hydrogens)

    def vectors(position: np.ndarray, box: Float | None) -> list[Float]:
        return [ch_vectors(group, position, box) for group in groups]

    sizes = [len(group.hydrogen) for group in groups]
    lipid_numbers = [len(group.molecule) for group in groups]
    compute = _second_legendre(vectors, normal, title)
    of_hydrogen, total = frame_values(ds, compute, [sum(sizes)], totals=[sum(lipid_numbers)])
    carbon = np.repeat(np.arange(len(groups)), sizes)
    average = (carbon[:, None] == np.arange(len(groups))) / np.array(sizes, np.float64)  # (hydrogen, carbon)
    labels = _labels([(group.carbon.kind, group.carbon.residue, (group.carbon.name,)) for group in groups])
    variables = {
        **mean_variables(ds, "order_parameter", of_hydrogen @ average, _CARBON, dims=("carbon",)),
        "order_parameter_lipid_error": _lipid_error(ds, total, lipid_numbers),
        **mean_variables(ds, "hydrogen_order_parameter", of_hydrogen, _HYDROGEN, dims=("hydrogen",), keep=False),
        "lipids": xr.DataArray(lipid_numbers, dims="carbon", attrs={"units": "1", "long_name": "number of lipids"}),
    }
    coords = _carbon_coords(groups, labels, carbon)
    return _result(ds, variables, coords, {"lipids": kinds, "normal": normal, "built": _built(groups)})


def bond_order(ds: xr.Dataset, *, lipids: str | Iterable[str] | None = None, normal: str = "z") -> xr.Dataset:
    """Return the order parameter P2 of every bond of the lipids, between beads or heavy atoms; lazy.

    Parameters
    ----------
    ds : dataset of the schema at any level, with `molecule`, `molecule_kind` and `bond`
    lipids, normal : as `order_parameters`

    Returns
    -------
    dataset with `bond_order` (bond_kind), its `_error`, `_series` (frame, bond_kind), `_correlation_time` in ps and
    `_blocks`, and the `molecule_kind` of each

    Raises
    ------
    NotFound : no lipids
    InputError : the lipids have no bonds
    PhysicsError : when computed: a position that is not finite, a box without volume

    Notes
    -----
    P2 = ⟨(3 cos² θ − 1) / 2⟩ with the angle θ between bond and normal: 1 along the normal, −1/2 in the plane of the
    membrane, 0 if there is no order. Bonds are named by their particles, `PO4-GL1`, and averaged over lipids first; see
    `order_parameters` for errors.

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), [[[0.0, 0, 0], [0, 0, 0.5]]]),
    ...      "bond": (("bond", "bond_end"), [[0, 1]])},
    ...     {"name": ("particle", ["GL", "C1"]), "molecule": ("particle", [0, 0]),
    ...      "molecule_kind": ("particle", ["DMPC"] * 2)},
    ... )
    >>> float(bond_order(ds).bond_order.sel(bond_kind="GL-C1"))
    1.0
    """
    check_dataset(ds, needs=("position", "molecule", "bond"))
    title = str(ds.attrs.get("name", "this dataset"))
    normals(None, 0, normal, title)
    topology = named_topology(ds)
    kinds = lipid_kinds(topology, title, lipids)
    found: dict[tuple[str, int, tuple[str, ...]], list[Index]] = {}
    heavy = skeleton_of(topology)
    for variant in variants_of(topology, kinds):
        for ends in variant.bond.tolist():
            if heavy[variant.atoms[0, ends]].all():
                names = tuple(str(variant.name[end]) for end in ends)
                key = (variant.kind, int(variant.number[ends[0]]), names)
                found.setdefault(key, []).append(variant.atoms[:, ends])
    if not found:
        raise InputError(
            f"{title}: found no bonds in {', '.join(kinds)}, expected a variable bond with those of lipids"
        )
    ends_of = [np.concatenate(parts) for parts in found.values()]

    def vectors(position: np.ndarray, box: Float | None) -> list[Float]:
        steps = [np.asarray(position[:, ends[:, 1]], np.float64) - position[:, ends[:, 0]] for ends in ends_of]
        return [(step if box is None else minimum_image(step, box))[:, :, None] for step in steps]

    compute = _second_legendre(vectors, normal, title)
    number = len(ends_of)
    series, _ = frame_values(ds, compute, [number], totals=[sum(map(len, ends_of))])
    variables = mean_variables(ds, "bond_order", series, _BOND, dims=("bond_kind",))
    coords = {
        "bond_kind": ("bond_kind", _labels(list(found))),
        "molecule_kind": ("bond_kind", [kind for kind, _, _ in found]),
    }
    return _result(ds, variables, coords, {"lipids": kinds, "normal": normal})


def _second_legendre(
    vectors: Callable[[np.ndarray, Float | None], list[Float]], normal: str, title: str
) -> Callable[[np.ndarray, Float | None, Float, int], list[np.ndarray]]:
    """Return what computes the mean of P2 over lipids, and its weighted sum over frames for each lipid."""

    def compute(position: np.ndarray, box: Float | None, weight: Float, first: int) -> list[np.ndarray]:
        direction, _ = normals(box, len(position), normal, title)
        means, totals = [], []
        for vector in vectors(position, box):  # (frame, lipid, hydrogen, xyz)
            along = np.einsum("flhx,fx->flh", vector, direction)
            with np.errstate(invalid="ignore"):
                value = 1.5 * along**2 / (vector**2).sum(axis=-1) - 0.5
            means.append(value.mean(axis=1))
            totals.append(weight @ value.mean(axis=2))
        series = np.concatenate(means, axis=1)
        wrong = ~np.isfinite(series).all(axis=1)
        if wrong.any():
            raise PhysicsError(
                f"{title}: frame {first + int(wrong.argmax())} has positions of lipids that are not finite, or two "
                "bonded ones at the same place; leave that frame out"
            )
        return [series, np.concatenate(totals)]

    return compute


def _lipid_error(ds: xr.Dataset, total: Any, numbers: Sequence[int]) -> xr.DataArray:
    """Return the standard error that the scatter of the means of the lipids gives; NaN for a single lipid."""
    heavy = ds["weight"].variable.data.sum() if "weight" in ds else float(ds.sizes["frame"])
    starts = np.cumsum([0, *numbers])

    def scatter(values: Float) -> Float:
        parts = [values[a:b] for a, b in pairwise(starts)]
        return np.array([np.std(x, ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.nan for x in parts])

    error: xr.DataArray = xr.apply_ufunc(
        scatter,
        xr.DataArray(total / heavy, dims="lipid"),
        input_core_dims=[["lipid"]],
        output_core_dims=[["carbon"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"carbon": len(numbers)}},
    )
    return error.assign_attrs({**_CARBON, "long_name": "standard error of S_CD from the scatter among lipids"})


def _labels(keys: Sequence[tuple[str, int, tuple[str, ...]]]) -> list[str]:
    """Return names that are unique: the particles, with residue and kind of molecule where that is needed."""
    plain = ["-".join(names) for _, _, names in keys]
    found = []
    for (kind, residue, _), label in zip(keys, plain, strict=True):
        same = [key for key, other in zip(keys, plain, strict=True) if other == label]
        if len({key[0] for key in same}) > 1:
            label = f"{kind} {label}"
        found.append(f"{label} {residue}" if len({key[1] for key in same if key[0] == kind}) > 1 else label)
    return found


def _carbon_coords(groups: Sequence[Group], labels: Sequence[str], carbon: Index) -> dict[str, Any]:
    """Return the coordinates of carbons and hydrogens."""
    names = [name for group in groups for name in group.hydrogen]
    return {
        "carbon": ("carbon", list(labels)),
        "molecule_kind": ("carbon", [group.carbon.kind for group in groups]),
        "chain": ("carbon", [group.carbon.chain for group in groups]),
        "number": ("carbon", [group.carbon.number if group.carbon.chain else 0 for group in groups]),
        "hydrogen": ("hydrogen", [f"{labels[of]} {name}" for of, name in zip(carbon, names, strict=True)]),
        "of_carbon": ("hydrogen", [labels[of] for of in carbon]),
    }


def _built(groups: Sequence[Group]) -> int:
    """Return how many hydrogens of a lipid of each kind are built."""
    return sum(len(group.hydrogen) for group in groups if group.geometry != "explicit")


def _result(
    ds: xr.Dataset, variables: Mapping[str, xr.DataArray], coords: dict[str, Any], parameters: dict[str, Any]
) -> xr.Dataset:
    """Put variables into one dataset with the time of the frames."""
    known = {"time": ds["time"].variable} if "time" in ds else {}
    return xr.Dataset(variables, {**known, **coords}, result_attrs(ds, parameters))
