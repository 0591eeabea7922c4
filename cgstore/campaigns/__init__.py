"""Campaigns: the simulations that make an archive, declared in a file, run by existing engines."""
