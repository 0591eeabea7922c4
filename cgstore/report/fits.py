"""Cards of fits: what each learned from, how it went, what it became, and what it is worth on data it has not seen."""

import csv
import io
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.spec import load_spec
from cgstore.catalog import Catalog, plain_text
from cgstore.errors import InputError, PhysicsError
from cgstore.plain_files import open_plain, read_plain
from cgstore.plot.mean_force import mean_force
from cgstore.plot.wording import with_error, with_unit
from cgstore.report.pictures import picture

__all__ = ["fit_card"]

_PARTS = {"heldout": "held-out", "validation": "validation", "train": "training"}  # in the order of interest
_ERRORS = {"value": "error", "reference": "reference_error"}
_COMPARED = (
    ("rmsd", "noise_floor", ".4f", 1.0),
    ("chi2", "", ".2f", 1.0),
    ("total_variation", "total_variation_noise", ".4f", 1.0),
    ("divergence", "divergence_noise", ".2f", 1e3),
)
_FIT, _MOST_BYTES = ("lock.json", "trainset.lock", "fit.toml", "log.csv"), 2**26


def fit_card(folder: Path, catalog: Catalog) -> dict[str, Any]:
    """Return what is shown of one fit: what it learned from, how it went, what it became, what it is worth."""
    try:
        texts = [read_plain(folder / name, most=_MOST_BYTES).decode("utf-8") for name in _FIT]
        lock, learned, settings = json.loads(texts[0]), json.loads(texts[1]), tomllib.loads(texts[2])
        log = list(csv.DictReader(io.StringIO(texts[3])))
        curves = {name: _read(folder / f"{name}.nc") for name in ("training", "potential")}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: not a finished fit: {error}; make one with cgstore train") from error
    try:
        return _describe_fit(folder, catalog, lock, learned, settings, log, curves)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{folder}: not a fit that cgstore made: {error!r}") from error


def _describe_fit(
    folder: Path,
    catalog: Catalog,
    lock: Mapping[str, Any],
    learned: Mapping[str, Any],
    settings: Mapping[str, Any],
    log: list[dict[str, str]],
    curves: Mapping[str, xr.Dataset],
) -> dict[str, Any]:
    """Return what is shown of a fit whose files are there."""
    baseline = settings.get("baseline", {}).get("dataset", "")
    state = f"at {catalog[baseline].metadata['temperature']:g} K" if baseline in catalog else f"from {baseline}"
    labels = {"ibi": f"IBI {state}", "imc": f"IMC {state}", "network": "network"}
    parts = learned["parts"]
    return {
        "name": lock["name"],
        "text": f"A network potential, learned from {_names(parts['train'])}. "
        f"Held out, and read by no part of the training: {_names(parts.get('heldout', []))}.",
        "facts": _fit_facts(lock, learned, log),
        "pictures": [
            picture(
                _with_pmf(curves["potential"], folder, catalog, parts["train"], labels),
                "potential",
                caption=f"Network, {_inversion(curves['potential'])}and the potential of mean force −kT ln g (PMF) "
                "with its standard error as a band, where it was sampled.",
            ),
            picture(
                curves["training"],
                "training",
                caption="Loss per step; below, the share of the drawn frames that count after reweighting. "
                "When it falls too low, new frames are drawn and it is 1 again.",
            ),
        ],
        "validations": [_validation(folder, part, labels) for part in _PARTS if _validated(folder, part)],
        "parts": _side_by_side(folder, labels),
        "datasets": [item["name"] for items in parts.values() for item in items],
    }


def _inversion(potential: xr.Dataset) -> str:
    """Return the baseline in words, nothing where there is none."""
    known = {"ibi": "iterative Boltzmann inversion (IBI), ", "imc": "inverse Monte Carlo (IMC), "}
    return "".join(words for name, words in known.items() if name in potential["curve"].values)


def _read(path: Path) -> xr.Dataset:
    """Read a small netCDF file whole; ValueError where it is none."""
    try:
        with open_plain(path) as file, xr.open_dataset(io.BytesIO(file.read()), engine="scipy") as ds:
            return ds.load()
    except OSError:
        raise
    except Exception as error:  # scipy has a great many ways to say that a file is damaged
        raise ValueError(f"{path}: {error}") from error


def _names(datasets: Iterable[Mapping[str, Any]]) -> str:
    """Return the names of datasets as a list in a sentence."""
    return ", ".join(item["name"] for item in datasets) or "nothing"


def _fit_facts(lock: Mapping[str, Any], learned: Mapping[str, Any], log: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return what a fit was made of and how long it took, line by line."""
    best = next((row for row in reversed(log) if row["best"] == "1"), log[-1])
    kinds = {"rmsd ": "rmsd of g at the end of training", "force error ": "error of forces at the end, kJ/mol/nm"}
    reached = {
        words: [
            f"{key.removeprefix(kind)} {float(best[key]):.4f}" for key in best if key.startswith(kind) and best[key]
        ]
        for kind, words in kinds.items()
    }
    datasets = [
        (f"{part} data", f"{item['name']} version {item['version']}, digest {item['digest']}")
        for part, items in learned["parts"].items()
        for item in items
    ]
    return [
        *datasets,
        ("digest of the split", learned["split"]),
        *((f"SHA-256 of {name}", known) for name, known in lock["files"].items()),
        ("seed", str(learned["seed"])),
        *((words, ", ".join(found)) for words, found in reached.items() if found),
        ("time of the training", f"{float(log[-1]['seconds']):.0f} s, {len(log)} steps, without the baseline"),
        ("software", plain_text(learned["software"])),
    ]


def _with_pmf(
    potential: xr.Dataset,
    folder: Path,
    catalog: Catalog,
    train: Iterable[Mapping[str, Any]],
    labels: Mapping[str, str],
) -> xr.Dataset:
    """Return the potentials with readable names, and beside them −kT ln g of each dataset they were learned from."""
    energy = potential["energy"]
    energy = energy.assign_coords(curve=[labels.get(str(c), str(c)) for c in potential["curve"].values])
    curves = [xr.Dataset({"energy": energy, "energy_error": xr.full_like(energy, np.nan)})]
    for item in train:
        if item["name"] not in catalog or catalog[item["name"]].metadata["digest"] != item["digest"]:
            continue
        entry = catalog[item["name"]]
        g = kept_distributions(entry.path, entry.open(), load_spec(folder / "spec.toml"))[0]["rdf"].to_dataset()
        temperature = float(entry.metadata["temperature"])
        curves.append(_mean_force(g, temperature, curves[0]["energy"], f"PMF at {temperature:g} K"))
    return xr.concat(curves, "curve").assign_attrs(name=potential.attrs.get("name", ""))


def _mean_force(g: xr.Dataset, temperature: float, energy: xr.DataArray, name: str) -> xr.Dataset:
    """Return −kT ln g with its error where potentials are tabulated, NaN where g was not sampled."""
    r = energy["r"].values
    found = np.full((2, 1, energy.sizes["pair"], len(r)), np.nan)
    for row, pair in enumerate(energy["pair"].values):
        if pair not in g["pair"].values:
            continue
        try:
            measured = mean_force(g.sel(pair=[pair]).assign_attrs(temperature=temperature), "rdf").isel(pair=0)
        except PhysicsError:  # hardly ever seen
            continue
        for place, variable in enumerate(("pmf", "pmf_error")):
            found[place, 0, row] = np.interp(r, g["r"].values, measured[variable].values, left=np.nan, right=np.nan)
    one = energy[:1].transpose("curve", "pair", "r").assign_coords(curve=[name])
    return xr.Dataset({"energy": one.copy(data=found[0]), "energy_error": one.copy(data=found[1])})


def _validated(folder: Path, part: str) -> bool:
    """Tell whether a fit was held against this part of its split."""
    return (folder / f"validation-{part}.json").is_file()


def _measured(row: Mapping[str, Any], name: str, form: str, times: float = 1.0) -> str:
    """Return a distance with its error and, in brackets, what noise alone would give; nothing where it is not known."""
    if row.get(name) is None:
        return ""
    if row[f"{name}_error"] is None:
        return f"{times * row[name]:{form}}"
    value, error, noise = (times * row[key] for key in (name, f"{name}_error", f"{name}_noise"))
    return f"{value:{form}} ± {error:{form}} ({noise:{form}})"


def _with_error(row: Mapping[str, Any], name: str, form: str) -> str:
    """Return a number, with its error where one is known."""
    error = row[f"{name}_error"]
    return f"{row[name]:{form}}" if error is None else f"{row[name]:{form}} ± {error:{form}}"


def _number(value: float | None, form: str) -> str:
    """Return a number, or nothing where it is not known."""
    return "" if value is None else f"{value:{form}}"


def _distribution(row: Mapping[str, Any]) -> str:
    """Return the name of a pair, or of a term with what it is."""
    kind = row.get("distribution", "rdf")
    return str(row["pair"]) if kind == "rdf" else f"{kind} {row['pair']}"


def _observable(row: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """Return a line of pressure, diffusion and the like."""
    values = []
    for name in ("value", "reference"):
        value, error = (math.nan if row[key] is None else row[key] for key in (name, _ERRORS[name]))
        values.append(with_unit(with_error(value, error), row["unit"]) if math.isfinite(value) else "")
    what = " of ".join(filter(None, [row["what"], row["of"]]))
    return [row["dataset"], labels.get(row["model"], row["model"]), what, *values, row["note"]]


def _side_by_side(folder: Path, labels: Mapping[str, str]) -> dict[str, Any] | None:
    """Return each model on all parts that were asked about, means over the datasets; nothing where it is only one."""
    answers = {part: _answer(folder, part)["rows"] for part in _PARTS if _validated(folder, part)}
    if len(answers) < 2:
        return None
    head = ["distribution", "model"]
    for part in answers:
        head += [f"{_PARTS[part]}: rmsd (noise)", "χ²", "TV (noise)", "KL / 10⁻³ (noise)"]
    lines = dict.fromkeys((_distribution(row), row["model"]) for rows in answers.values() for row in rows)
    table = []
    for distribution, model in lines:
        line = [distribution, labels.get(model, model)]
        for rows in answers.values():
            mine = [row for row in rows if (_distribution(row), row["model"]) == (distribution, model)]
            for name, noise, form, times in _COMPARED:
                known = [times * row[name] for row in mine if row.get(name) is not None]
                floor = [times * row[noise] for row in mine if row.get(noise) is not None]
                shown = f"{np.mean(known):{form}}" if known else ""
                line.append(f"{shown} ({np.mean(floor):{form}})" if known and floor else shown)
        table.append(line)
    return {"head": head, "rows": table}


def _answer(folder: Path, part: str) -> dict[str, Any]:
    """Read what a validation found."""
    return dict(json.loads((folder / f"validation-{part}.json").read_text(encoding="utf-8")))


def _validation(folder: Path, part: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return table, verdict and pictures of the validation of a fit on a part of its split."""
    answer = _answer(folder, part)
    curves = _read(folder / f"validation-{part}.nc")
    names = [labels.get(str(curve), str(curve)) for curve in curves["curve"].values]
    curves = curves.assign_coords(curve=names)
    rows = [
        [
            row["dataset"], _distribution(row), labels.get(row["model"], row["model"]),
            _with_error(row, "rmsd", ".4f"), _number(row["noise_floor"], ".4f"), _number(row["chi2"], ".2f"),
            _measured(row, "total_variation", ".4f"), _measured(row, "divergence", ".2f", 1e3),
            _with_error(row, "peak", ".3f"), _with_error(row, "peak_reference", ".3f"),
        ]
        for row in answer["rows"]
    ]  # fmt: skip
    caption = "The reference with its error, the models with theirs; below, how far each model is from the reference."
    return {
        "on": _PARTS[part],
        "agrees": answer["passed"],
        "text": answer["verdict"] + ".",
        "head": [
            "dataset",
            "distribution",
            "model",
            "rmsd",
            "noise",
            "χ²",
            "TV (noise)",
            "KL / 10⁻³ (noise)",
            "first peak",
            "of the reference",
        ],
        "rows": rows,
        "observables": [_observable(row, labels) for row in answer.get("observables", [])],
        "pictures": [
            picture(curves.sel(dataset=name).assign_attrs(name=str(name)), "validation", caption=caption)
            for name in curves["dataset"].values
        ],
    }
