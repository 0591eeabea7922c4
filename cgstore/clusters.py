"""Clusters: the Dask scheduler at an address, or what to do about it that none answers."""

from typing import Any

from cgstore.errors import InputError, MissingExtra

__all__ = ["client_of"]


def client_of(scheduler: str) -> Any:
    """Return a client of a Dask scheduler, to be used in a `with`.

    Parameters
    ----------
    scheduler : address, for example "tcp://node1:8786"

    Raises
    ------
    MissingExtra : distributed is not installed
    InputError : no scheduler answers there
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtra.of("distributed", extra="distributed", purpose="--scheduler") from error
    try:
        return Client(scheduler, timeout=20)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
