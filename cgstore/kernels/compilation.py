"""The compilation of kernels: whoever waits for it, once per machine, is told what for."""

import contextlib
from collections.abc import Callable, Iterator

from numba.core import event

__all__ = ["told"]


class _Once(event.Listener):
    """Calls a function at the first event."""

    def __init__(self, say: Callable[[], None]) -> None:
        self._say, self._said = say, False

    def on_start(self, event: event.Event) -> None:
        """Call it."""
        if not self._said:
            self._said = True
            self._say()

    def on_end(self, event: event.Event) -> None:
        """Do nothing."""


@contextlib.contextmanager
def told(say: Callable[[], None]) -> Iterator[None]:
    """Call a function when the first kernel is compiled; one that is found in the cache of an earlier run is not.

    Parameters
    ----------
    say : called once at most, by the thread that compiles

    Examples
    --------
    >>> from numba import njit
    >>> double = njit(lambda x: 2 * x)
    >>> with told(lambda: print("compiling")):
    ...     print(double(1), double(2))
    compiling
    2 4
    """
    with event.install_listener("numba:compile", _Once(say)):
        yield
