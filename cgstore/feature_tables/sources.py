"""What a feature is computed from: one version of a dataset, opened once, and its kept statistics, read once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.bodies import bodies_of
from cgstore.averages.counting import result_attrs
from cgstore.averages.keeping import NAME, VERSION, kept_statistics
from cgstore.averages.observables import OBSERVABLES
from cgstore.averages.onepass import question_of, statistics_of
from cgstore.averages.spec import BondedSpec, RdfSpec, Spec
from cgstore.box import heights
from cgstore.catalog import Entry
from cgstore.errors import PhysicsError
from cgstore.features import keep, kept, read_kept

__all__ = ["Source"]

_CENTRES, _CENTRES_VERSION = "centre_statistics", 1


@dataclass(frozen=True)
class Source:
    """One dataset as features see it: `name`, `metadata`, its folder `path`, lazily `ds`, and statistics.

    Examples
    --------
    >>> entry = Entry("a/r1/cg", {"temperature": 300.0, "version": 1, "digest": "0"}, "store/a/r1/cg")
    >>> Source(entry).temperature
    300.0
    """

    entry: Entry
    _found: dict[str, xr.DataTree] = field(default_factory=dict, init=False, repr=False, compare=False)
    _of_centres: dict[str, xr.DataTree] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name, system/run/level."""
        return self.entry.name

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the catalog knows."""
        return self.entry.metadata

    @property
    def path(self) -> Path:
        """The folder of the dataset."""
        return self.entry.path

    @property
    def temperature(self) -> float:
        """The temperature of the system, K.

        Raises
        ------
        PhysicsError : it is not known
        """
        if not self.metadata.get("temperature"):
            raise PhysicsError(f"{self.name}: found no temperature; give it in the recipe")
        return float(self.metadata["temperature"])

    @cached_property
    def ds(self) -> xr.Dataset:
        """The listed version, opened lazily."""
        return self.entry.open()

    @cached_property
    def box(self) -> np.ndarray:
        """Box vectors (frame, box_vector, xyz) nm.

        Raises
        ------
        PhysicsError : there is no box
        """
        if "box" not in self.ds:
            raise PhysicsError(f"{self.name}: found no box, so there is no volume")
        return np.asarray(self.ds["box"].values, np.float64)

    @property
    def half_box(self) -> float:
        """Half the smallest height of any box, nm: the longest distance that can be counted."""
        return 0.5 * float(heights(self.box).min())

    def rdf_blocks(
        self, *, pairs: tuple[str, ...] | None, r_max: float, bin_width: float, exclude_bonded: int | str, of: str
    ) -> xr.Dataset:
        """Return block statistics of radial distribution functions; only what nobody has counted before is counted.

        Parameters
        ----------
        pairs, r_max, bin_width, exclude_bonded : as `cgstore.rdf`; there may be more pairs and bins in the answer
        of : "particles", or "molecules" for their centres of mass
        """
        asked: dict[str, Any] = {"pairs": pairs, "r_max": r_max, "bin_width": bin_width}
        spec = Spec(rdf=RdfSpec.model_construct(**asked, exclude_bonded=exclude_bonded))
        if of == "molecules":
            return self._centre_statistics(spec)["rdf"].to_dataset()
        tree = self._statistics(spec, partial(_covers, asked=spec.rdf.model_dump()))
        return tree["rdf"].to_dataset()

    def kept_rdf_blocks(self, *, of: str, **asked: Any) -> xr.Dataset | None:
        """Return them if they are kept, whatever the boxes allow; None if they are not, or those of molecules."""
        found = None if of == "molecules" else self._kept(partial(_covers, asked=asked))
        return None if found is None else found["rdf"].to_dataset()

    def bonded_blocks(self, parameters: Mapping[str, Any]) -> dict[str, xr.Dataset]:
        """Return block statistics of bonds, angles, dihedrals and impropers; parameters as the spec has them."""
        spec = Spec(bonded=BondedSpec.model_construct(**{**BondedSpec().model_dump(), **parameters}))
        asked = spec.bonded.model_dump()
        tree = self._statistics(spec, lambda known: bool(known["bonded"] == asked))
        return {name: node.to_dataset() for name, node in tree.children.items()}

    def observable(self, name: str, parameters: dict[str, Any]) -> xr.Dataset:
        """Return one of `cgstore.averages.observables`, kept as `cgstore distributions` keeps it."""
        asked: dict[str, Any] = {"name": name, "version": OBSERVABLES[name].version, "parameters": parameters}

        def compute() -> xr.Dataset:
            return OBSERVABLES[name].compute(self.ds, **parameters)

        return keep(self.path, **asked, dataset_digest=self.metadata["digest"], compute=compute)[0]

    def _statistics(self, spec: Spec, is_enough: Callable[[Mapping[str, Any]], bool]) -> xr.DataTree:
        """Return kept statistics that answer a spec, whatever else they answer; or count."""
        tree = self._kept(is_enough)
        if tree is None:
            self._found[str(len(self._found))] = tree = kept_statistics(self.path, self.ds, spec)[0]
        return tree

    def _kept(self, is_enough: Callable[[Mapping[str, Any]], bool]) -> xr.DataTree | None:
        """Return kept statistics with parameters that are enough, None if there are none."""
        for tree in self._found.values():
            if is_enough(tree.attrs["parameters"]):
                return tree
        for item in kept(self.path):
            mine = (item.name, item.version, item.dataset_digest) == (NAME, VERSION, self.metadata["digest"])
            if mine and is_enough(item.parameters):
                self._found[item.key] = read_kept(item)
                return self._found[item.key]
        return None

    def _centre_statistics(self, spec: Spec) -> xr.DataTree:
        """Return kept statistics of the centres of mass of molecules."""
        centres = _centres(self.ds)
        question = question_of(centres, spec)
        key = f"{_CENTRES} {question['rdf']}"
        if key not in self._of_centres:
            named: dict[str, Any] = {"name": _CENTRES, "version": _CENTRES_VERSION, "parameters": question}
            self._of_centres[key] = keep(
                self.path,
                **named,
                dataset_digest=self.metadata["digest"],
                compute=lambda: statistics_of(centres, question),
            )[0]
        return self._of_centres[key]


def _covers(parameters: Mapping[str, Any], *, asked: Mapping[str, Any]) -> bool:
    """Tell whether counts in bins from zero hold those that are asked for."""
    known = parameters["rdf"]
    same = all(known[key] == asked[key] for key in ("bin_width", "exclude_bonded"))
    pairs = known["pairs"] is None or (asked["pairs"] is not None and set(asked["pairs"]) <= set(known["pairs"]))
    return bool(same and pairs and known["r_max"] >= asked["r_max"] - 1e-9)


def _centres(ds: xr.Dataset) -> xr.Dataset:
    """Return the molecules as particles at their centres of mass, lazily; types are the kinds of molecules."""
    bodies = bodies_of(ds, "molecule")
    if "box" not in ds:
        raise PhysicsError(f"{ds.attrs.get('name', 'this dataset')}: found no box, so there is no volume")

    def centres(position: np.ndarray, box: np.ndarray) -> np.ndarray:
        edges: NDArray[np.float64] = np.asarray(box, np.float64)
        return bodies.centres(position, edges, np.asarray(np.linalg.inv(edges), np.float64)).astype(np.float32)

    lazy, box = ds["position"].variable, ds["box"].variable
    if lazy.chunks is not None:
        lazy = lazy.chunk(particle=-1, xyz=-1)
        box = box.chunk(frame=lazy.chunksizes["frame"], box_vector=-1, xyz=-1)
    position = xr.apply_ufunc(
        centres,
        lazy,
        xr.Variable(("frame", "box_vector", "edge"), box.data),
        input_core_dims=[["particle", "xyz"], ["box_vector", "edge"]],
        output_core_dims=[["body", "xyz"]],
        exclude_dims={"particle"},
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"body": len(bodies)}},
    )
    frames = {name: ds[name] for name in ("box", "weight", "time") if name in ds}
    found = xr.Dataset(
        {"position": (("frame", "particle", "xyz"), position.data), "mass": ("particle", bodies.mass), **frames},
        {"type": ("particle", bodies.kind), "molecule": ("particle", bodies.number.astype(np.int32))},
    )
    attrs = {key: ds.attrs[key] for key in ("name", "version", "digest") if key in ds.attrs}
    return found.assign_attrs(attrs | {"of": "centres of mass", **_own(result_attrs(ds, {}))})


def _own(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return what results say about their dataset, without the parameters."""
    return {key: value for key, value in attrs.items() if key != "parameters"}
