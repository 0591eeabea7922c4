"""cgstore: simulation archives in, coarse-grained training data out.

The public functions are loaded on first use, so that `import cgstore` is quick and has no side effects.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ingest": "cgstore.ingestion",
    "open_catalog": "cgstore.catalog",
    "verify": "cgstore.store.integrity",
    "rdf": "cgstore.averages.pair",
    "bonded": "cgstore.averages.bonded",
    "density_profile": "cgstore.averages.profile",
    "radial_profile": "cgstore.averages.radial",
    "radial_map": "cgstore.averages.radial",
    "distributions": "cgstore.averages.onepass",
    "membrane": "cgstore.averages.membrane",
    "area_per_lipid": "cgstore.averages.membrane",
    "thickness": "cgstore.averages.membrane",
    "leaflets": "cgstore.averages.leaflets",
    "order_parameters": "cgstore.averages.order",
    "bond_order": "cgstore.averages.order",
    "tilt": "cgstore.averages.tilt",
    "tilt_distribution": "cgstore.averages.tilt",
    "area_compressibility": "cgstore.averages.compressibility",
    "mean_squared_displacement": "cgstore.averages.displacement",
    "diffusion_coefficient": "cgstore.averages.diffusion",
    "finite_size_diffusion": "cgstore.averages.diffusion",
    "acceleration_factor": "cgstore.averages.diffusion",
    "velocity_autocorrelation": "cgstore.averages.velocity",
    "unwrap": "cgstore.averages.unwrapping",
    "export": "cgstore.writers.exporting",
    "to_mdtraj": "cgstore.neighbours.mdtraj",
    "to_universe": "cgstore.neighbours.mdanalysis",
}

__all__ = [
    "__version__",
    "acceleration_factor",
    "area_compressibility",
    "area_per_lipid",
    "bond_order",
    "bonded",
    "density_profile",
    "diffusion_coefficient",
    "distributions",
    "export",
    "finite_size_diffusion",
    "ingest",
    "leaflets",
    "mean_squared_displacement",
    "membrane",
    "open_catalog",
    "order_parameters",
    "radial_map",
    "radial_profile",
    "rdf",
    "thickness",
    "tilt",
    "tilt_distribution",
    "to_mdtraj",
    "to_universe",
    "unwrap",
    "velocity_autocorrelation",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public function from its module."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cgstore' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return sorted(__all__)
