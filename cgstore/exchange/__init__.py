"""Potentials as the files of simulation programs."""

from cgstore.exchange.writing import PROGRAMS, write_potential

__all__ = ["PROGRAMS", "write_potential"]
