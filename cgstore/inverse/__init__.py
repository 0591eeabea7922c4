"""Inversion: from stored statistics to potentials, as pure functions; nothing here samples or reads frames."""
