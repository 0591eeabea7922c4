"""Splits, loaders, potentials, training and validation; the only part that imports torch."""
