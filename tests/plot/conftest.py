"""Results with known shapes, one of every kind that is drawn."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from cgstore.plot.mean_force import mean_force

R = np.arange(0.005, 1.0, 0.01)


def distributions(kind: str, along: str, axis: str, count: int) -> xr.Dataset:
    """Bell curves with an error that is unknown in the first half of the axis."""
    x = R if axis == "r" else np.arange(1.0, 180.0, 2.0)
    y = np.array([np.exp(-(((x - x.mean()) / (0.05 * x[-1] * (n + 1))) ** 2)) for n in range(count)])
    error = np.where(x < x.mean(), np.nan, 0.1)
    return xr.Dataset(
        {kind: ((along, axis), y), f"{kind}_error": ((along, axis), np.broadcast_to(error, y.shape).copy())},
        coords={along: [f"A-B{n}" for n in range(count)], axis: x},
        attrs={"name": "toy/r1/cg"},
    )


def curves(variable: str, names: list[str], pairs: int = 1) -> xr.Dataset:
    """Lennard-Jones curves of growing depth."""
    well = np.array([4 * (n + 1) * ((0.3 / R) ** 12 - (0.3 / R) ** 6) for n in range(len(names))])
    values = np.repeat((well if variable == "energy" else np.exp(-well / 2))[:, None], pairs, axis=1)
    return xr.Dataset(
        {variable: (("curve", "pair", "r"), values), f"{variable}_error": (("curve", "pair", "r"), 0.02 + 0 * values)},
        coords={"curve": names, "pair": [f"A-B{n}" for n in range(pairs)], "r": R},
    )


def training() -> xr.Dataset:
    """A loss that falls."""
    steps = np.arange(1, 30)
    return xr.Dataset(
        {
            "loss": ("iteration", 9.0 / steps),
            "part_loss": (("part", "iteration"), np.array([8.0 / steps, 10.0 / steps])),
            "effective": ("iteration", np.full(29, 0.8)),
        },
        coords={"iteration": steps, "part": ["cold", "hot"]},
    )


def flagged(count: int = 2) -> xr.Dataset:
    """Profiles of particles, the first of which drifts and the second begins far off."""
    z = np.arange(-0.95, 1.0, 0.1)
    y = np.array([np.exp(-((z - 0.3 * n) ** 2)) for n in range(count)])
    return xr.Dataset(
        {
            "profile": (("type", "z"), y, {"units": "1/nm^3", "long_name": "number density"}),
            "profile_error": (("type", "z"), 0.05 + 0 * y),
            "drift": ("type", np.arange(count)[::-1] * 6.3),
            "equilibration": ("type", np.arange(count) * 20.0),
            "equilibration_frames": ("type", np.arange(count) * 4.0),
        },
        {"type": [f"T{n}" for n in range(count)], "z": ("z", z, {"units": "nm"})},
        {"name": "toy/r1/cg"},
    )


def around() -> xr.Dataset:
    """A density that falls with the distance from the axis, of two types."""
    r, z = np.arange(0.05, 1.0, 0.1), np.arange(-1.95, 2.0, 0.1)
    density = np.exp(-r)[None, :, None] * np.array([1.0, 3.0])[:, None, None] * np.ones(len(z))
    attrs = {"units": "1/nm^3", "long_name": "number density"}
    return xr.Dataset({"map": (("type", "r", "z"), density, attrs)}, {"type": ["AU", "W"], "r": r, "z": z})


def series(error: float = 0.01) -> xr.Dataset:
    """A membrane of equal leaflets, and its tilt."""
    area = 0.63 + 0.01 * np.sin(np.arange(50.0))
    return xr.Dataset(
        {
            "area_per_lipid": ((), 0.63, {"units": "nm^2"}),
            "area_per_lipid_error": error,
            "area_per_lipid_series": ("frame", area),
            "leaflet_area_per_lipid_series": (("frame", "leaflet"), np.stack([area, area], 1)),
            "thickness": ((), 3.4, {"units": "nm"}),
            "thickness_error": error,
            "thickness_series": ("frame", 3.4 + 0.1 * np.cos(np.arange(50.0))),
            "tilt": ("molecule_kind", [20.0, 25.0], {"units": "degree"}),
            "tilt_error": ("molecule_kind", [error, np.nan]),
            "tilt_series": (("frame", "molecule_kind"), np.stack([20.0 + 0 * area, 25.0 + area], 1)),
        },
        {"time": ("frame", 10.0 * np.arange(50)), "leaflet": ["upper", "lower"], "molecule_kind": ["DMPC", "CHL1"]},
        {"name": "toy/r1/cg"},
    )


def order() -> xr.Dataset:
    """Two chains of seven carbons, one error of which is not known, and one carbon of the head."""
    number = np.array([*range(2, 9), *range(2, 9), 0])
    error = np.full(15, 0.01)
    error[3] = np.nan
    return xr.Dataset(
        {
            "order_parameter": ("carbon", -0.2 + 0.01 * number),
            "order_parameter_error": ("carbon", error),
            "order_parameter_lipid_error": ("carbon", np.full(15, np.nan)),
        },
        {
            "carbon": [f"C{n}" for n in range(15)],
            "chain": ("carbon", [1] * 7 + [2] * 7 + [0]),
            "number": ("carbon", number),
            "molecule_kind": ("carbon", ["DMPC"] * 15),
        },
    )


def displacements(dims: str = "xyz") -> xr.Dataset:
    """Straight lines with an offset: MSD = 0.02 + 2 d D t; of the second kind there is no coefficient."""
    lag = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    msd = 0.02 + 2 * len(dims) * np.array([[1e-3], [2e-3]]) * lag
    return xr.Dataset(
        {
            "msd": (("kind", "lag"), msd, {"units": "nm^2"}),
            "msd_error": (("kind", "lag"), [[0.001] * 6, [0.001] * 5 + [np.nan]]),
            "diffusion": ("kind", [1e-3, np.nan], {"units": "nm^2/ps"}),
            "diffusion_error": ("kind", [5e-5, np.nan]),
            "fit_start": ("kind", [2.0, np.nan]),
            "fit_stop": ("kind", [16.0, np.nan]),
            "reason": ("kind", ["", "too few frames: no window in the first tenth of the run"]),
        },
        {"kind": ["A", "B"], "lag": ("lag", lag, {"units": "ps"})},
        {"dims": dims},
    )


def velocities() -> xr.Dataset:
    """An exponential and its integral."""
    lag = np.arange(0.0, 2.0, 0.1)
    c = np.exp(-lag / 0.3)[None]
    return xr.Dataset(
        {
            "vacf": (("kind", "lag"), c, {"units": "nm^2/ps^2"}),
            "vacf_error": (("kind", "lag"), 0.01 + 0 * c),
            "diffusion": (("kind", "lag"), 0.1 * (1 - c), {"units": "nm^2/ps"}),
            "diffusion_error": (("kind", "lag"), 0.002 + 0 * c),
        },
        {"kind": ["A"], "lag": ("lag", lag, {"units": "ps"})},
    )


def covariance(parts: int = 2) -> tuple[xr.Dataset, np.ndarray]:
    """Counts of two pairs and a bond, of which one bin is never hit."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(8.0, (parts, 40, 12)).astype(float)
    counts[..., 1] += 2.0 * counts[..., 0]
    counts[..., 5] = 0.0
    mean = counts.mean(axis=1)
    step = counts - mean[:, None]
    return xr.Dataset(
        {
            "mean": (("part", "entry"), mean),
            "comoment": (("part", "entry", "other"), np.einsum("pfa,pfb->pab", step, step)),
            "weight": ("part", np.full(parts, 40.0)),
            "square": ("part", np.full(parts, 40.0)),
            "frames": ("part", np.full(parts, 40)),
        },
        {
            "distribution": ("entry", ["rdf"] * 8 + ["bond"] * 4),
            "kind": ("entry", ["A-A"] * 4 + ["A-B"] * 4 + ["A-B"] * 4),
            "x": ("entry", np.tile(0.1 * np.arange(1, 5), 3)),
        },
    ), counts.reshape(-1, 12)


def liquid(count: int = 2) -> xr.Dataset:
    """g(r) with an empty core."""
    g = np.array([np.where(R < 0.3, 0.0, 1.0 + 0.5 * np.cos(20 * R) * np.exp(-3 * R)) for _ in range(count)])
    return xr.Dataset(
        {"rdf": (("pair", "r"), g), "rdf_error": (("pair", "r"), np.where(g > 0, 0.02, np.nan))},
        {"pair": [f"A-B{n}" for n in range(count)], "r": R},
        {"name": "toy/r1/cg", "temperature": 300.0},
    )


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """Give the functions that make results."""
    made = (
        distributions,
        curves,
        training,
        flagged,
        around,
        series,
        order,
        displacements,
        velocities,
        covariance,
        liquid,
    )
    return SimpleNamespace(**{make.__name__: make for make in made})


@pytest.fixture(scope="session")
def results() -> dict[str, xr.Dataset]:
    """Give a result of every kind."""
    return {
        "rdf": distributions("rdf", "pair", "r", 2),
        "bond": distributions("bond", "bond_kind", "r", 2),
        "angle": distributions("angle", "angle_kind", "theta", 7),
        "dihedral": distributions("dihedral", "dihedral_kind", "phi", 1),
        "improper": distributions("improper", "improper_kind", "xi", 1),
        "profile": flagged(5),
        "radial_profile": flagged(9).rename(z="r").assign_coords(r=np.arange(0.05, 2.0, 0.1)),
        "map": around(),
        "area": series(),
        "thickness": series(np.nan),
        "tilt": series(),
        "order": order(),
        "msd": displacements(),
        "vacf": velocities(),
        "pmf": mean_force(liquid(), "rdf"),
        "covariance": covariance()[0],
        "potential": curves("energy", ["network", "IBI", "PMF"]),
        "validation": curves("rdf", ["reference", "network", "IBI"], pairs=2),
        "training": training(),
    }
