"""Drivers of intake: `intake.open_cgstore_catalog("store")` lists a store, `intake.open_cgstore(…)` is one dataset.

For those who live in intake: facets, versions and thousands of datasets at once, which a YAML of intake cannot do.
Intake finds the classes through entry points and imports this module when they are asked for; nobody else does.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from intake.catalog import Catalog as IntakeCatalog
from intake.catalog.entry import CatalogEntry
from intake.source.base import DataSource, Schema

from cgstore.catalog import Catalog, Entry, open_catalog, without_credentials

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CgstoreCatalog", "CgstoreSource"]


class CgstoreSource(DataSource):  # type: ignore[misc]
    """One dataset of a store.

    Parameters
    ----------
    store : folder or URL of a store, or an intake YAML written by cgstore
    dataset : its name, system/run/level
    at_version : the newest by default
    metadata : what else is known of it

    Examples
    --------
    >>> import intake
    >>> intake.open_cgstore("store", "dmpc_303k/r1/cg").to_dask()  # doctest: +SKIP
    """

    name = "cgstore"
    container = "xarray"
    version = "1"  # of the driver
    _given: Entry | None = None

    def __init__(
        self, store: str, dataset: str, at_version: int | None = None, metadata: Mapping[str, Any] | None = None
    ) -> None:
        without_credentials(store)  # it is shown, and written into catalogs of intake
        super().__init__()
        self.metadata: dict[str, Any] = dict(metadata or {})
        self._store, self._dataset, self._at_version = store, dataset, at_version
        self._opened: xr.Dataset | None = None

    def to_dask(self) -> "xr.Dataset":
        """Open the dataset lazily, as `cgstore.open_catalog(store)[dataset].open(at_version)` does.

        Raises
        ------
        InputError : there is no such store
        NotFound : there is no such dataset or version
        """
        if self._opened is None:
            entry = self._given or open_catalog(self._store)[self._dataset]
            self.metadata = {**entry.metadata, **self.metadata}
            self._opened = entry.open(self._at_version)
        return self._opened

    def read(self) -> "xr.Dataset":
        """Load the whole dataset into memory."""
        return self.to_dask().load()

    def _get_schema(self) -> Schema:
        """Tell intake what there is."""
        shape = {str(name): array.shape for name, array in self.to_dask().data_vars.items()}
        return Schema(dtype=None, shape=shape, npartitions=1, extra_metadata={})

    def _close(self) -> None:
        """Let go of the dataset."""
        self._opened = None


class CgstoreCatalog(IntakeCatalog):  # type: ignore[misc]
    """The datasets of a store, each a source that is made when it is asked for; a snapshot until `force_reload`.

    Parameters
    ----------
    store : folder or URL of a store, or an intake YAML written by cgstore
    searches : facets by name, as `search` takes them; only datasets to which all of them apply
    metadata : of the catalog itself

    Examples
    --------
    >>> import intake
    >>> catalog = intake.open_cgstore_catalog("store")  # doctest: +SKIP
    >>> ds = catalog.search(lipid="DMPC", temperature=(295, 325))["dmpc_303k/r1/cg"].to_dask()  # doctest: +SKIP
    """

    name = "cgstore_catalog"
    version = "1"  # of the driver
    _given: Catalog | None = None

    def __init__(
        self, store: str, searches: Sequence[Mapping[str, Any]] = (), metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._store, self._searches = store, list(searches)
        super().__init__(name=store, metadata=dict(metadata or {}), ttl=None)

    def _load(self) -> None:
        """Look at the store."""
        catalog, self._given = self._given, None
        if catalog is None:
            catalog = open_catalog(self._store)
            for facets in self._searches:
                catalog = catalog.search(**facets)
        self._entries = _Entries(self._store, catalog)

    def search(self, **facets: Any) -> "CgstoreCatalog":
        """Return the datasets to which every facet applies; see `cgstore.catalog.Catalog.search`.

        Raises
        ------
        NotFound : no dataset has this facet
        InputError : a text where the facet is a number, or a range where it is a text
        """
        searches = [*self._searches, facets]
        found = CgstoreCatalog.__new__(CgstoreCatalog, self._store, searches)  # type: ignore[call-arg]
        found._given = self._entries.catalog.search(**facets)
        found.__init__(self._store, searches)  # type: ignore[misc]
        return found


class _Entries(Mapping[str, "_CatalogEntry"]):
    """The entries of a catalog, made one by one when they are asked for."""

    def __init__(self, store: str, catalog: Catalog) -> None:
        self._store, self.catalog = store, catalog

    def __getitem__(self, name: str) -> "_CatalogEntry":
        """Return an entry."""
        return _CatalogEntry(self._store, self.catalog[name])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.catalog)

    def __len__(self) -> int:
        """Count the datasets."""
        return len(self.catalog)

    def __contains__(self, name: object) -> bool:
        """Tell whether a dataset is listed."""
        return name in self.catalog


class _CatalogEntry(CatalogEntry):  # type: ignore[misc]
    """What intake says of a dataset before it is opened.

    Not the entry of intake's own files: that one takes metadata for templates and fills them in, with whatever a
    title says.
    """

    def __init__(self, store: str, entry: Entry) -> None:
        super().__init__()
        self._store, self._listed = store, entry
        self._container = CgstoreSource.container
        self._metadata = dict(entry.metadata)
        self._user_parameters: list[Any] = []

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self._listed.name

    def describe(self) -> dict[str, Any]:
        """Return what is known of the dataset, in the words of intake."""
        return {
            "name": self.name,
            "container": self._container,
            "plugin": [CgstoreSource.name],
            "driver": [CgstoreSource.name],
            "description": str(self._metadata.get("title") or ""),
            "direct_access": "allow",
            "user_parameters": [],
            "metadata": self._metadata,
            "args": {"store": self._store, "dataset": self.name},
        }

    def get(self, **arguments: Any) -> CgstoreSource:
        """Return the source; `at_version` chooses an older version."""
        source = CgstoreSource(self._store, self.name, metadata=self._metadata, **arguments)
        source._given, source.description = self._listed, self.describe()["description"]
        return source
