"""Compiled kernels: arrays in, arrays out; no labels, units, files or objects."""
