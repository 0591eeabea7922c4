"""Feature keys: which values of which features a training learns from, named by the digest of all they depend on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import xarray as xr

from cgstore.averages.keeping import NAME, VERSION, statistics_key
from cgstore.averages.spec import Spec
from cgstore.errors import InputError
from cgstore.learn.used import SHOWN, Used
from cgstore.splits.members import Catalog

__all__ = ["FeatureKeys", "Features", "changes_of_feature", "feature_keys"]

Features = Spec | xr.Dataset


@dataclass(frozen=True, slots=True)
class FeatureKeys:
    """A feature of some version, and for each dataset the key of its value: the digest of all that this depends on."""

    version: int
    keys: Mapping[str, str]


def feature_keys(
    features: Features | Sequence[Features], used: Sequence[Used], catalog: Catalog
) -> dict[str, FeatureKeys]:
    """Return the keys of features for datasets.

    Parameters
    ----------
    features : a feature table, the spec of distributions, or several of them
    used : the datasets
    catalog : that they are in

    Raises
    ------
    InputError : a table lacks the row of a dataset, or has one of other content, or has no keys
    """
    found: dict[str, FeatureKeys] = {}
    for one in [features] if isinstance(features, Spec | xr.Dataset) else features:
        found |= _of_table(one, used) if isinstance(one, xr.Dataset) else {NAME: _of_spec(one, used, catalog)}
    return found


def _of_spec(spec: Spec, used: Sequence[Used], catalog: Catalog) -> FeatureKeys:
    """Return the keys of the statistics that a spec asks for."""
    keys = {}
    for row in used:
        ds = catalog[row.member.name].open()
        chosen = ds.isel(frame=row.member.frames(ds["time"].values)) if row.frames != ds.sizes["frame"] else ds
        keys[row.member.words] = statistics_key(chosen, spec)
    return FeatureKeys(VERSION, keys)


def _of_table(table: xr.Dataset, used: Sequence[Used]) -> dict[str, FeatureKeys]:
    """Return the keys of the columns of a feature table."""
    if "key" not in table.coords or "about" not in table.attrs:
        raise InputError(
            "features: found a dataset without the keys of its values, expected a table of cgstore table build or a "
            "spec; of other tables give their RowLoader"
        )
    place = {str(name): row for row, name in enumerate(table["system"].values)}
    for row in used:
        if row.member.name not in place:
            raise InputError(f"features: the table has no row of {row.member.name}; build it again")
        if (known := str(table["digest"].values[place[row.member.name]])) != row.digest:
            raise InputError(
                f"features: the row of {row.member.name} was made from the content {known[:SHOWN]}, the split has "
                f"{row.words}; build the table again"
            )
    columns = json.loads(table.attrs["about"])["columns"]
    keys = table["key"].transpose("system", "feature").values
    return {
        str(name): FeatureKeys(
            int(columns[str(name)]["version"]),
            {row.member.name: f"{int(keys[place[row.member.name], number]):016x}" for row in used},
        )
        for number, name in enumerate(table["feature"].values)
    }


def changes_of_feature(name: str, before: Mapping[str, FeatureKeys], now: Mapping[str, FeatureKeys]) -> Iterator[str]:
    """Say how a feature changed."""
    found = now[name]
    if name not in before:
        yield f"feature {name}   was no part of it; found version {found.version}"
    elif found.version != before[name].version:
        yield f"feature {name}   found version {found.version}; made with version {before[name].version}"
    else:
        for dataset, key in found.keys.items():
            was = before[name].keys.get(dataset, key)  # a dataset that came has a line of its own
            if key != was:
                yield f"feature {name} of {dataset}   found key {key[:SHOWN]}; made with {was[:SHOWN]}"
