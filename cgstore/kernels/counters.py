"""Random numbers without a state: hashes of counters, the same in any order and on any number of threads.

The hash is the output function of splitmix64, Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195.
"""

import numpy as np
from numba import njit

__all__ = ["GOLDEN", "mix", "uniform"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def mix(counter: np.uint64) -> np.uint64:
    """Return 64 random bits."""
    z = (counter ^ (counter >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def uniform(counter: np.uint64) -> float:
    """Return a random number in [0, 1)."""
    return (mix(counter) >> np.uint64(11)) / 2.0**53
