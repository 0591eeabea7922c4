"""Datasets in the hands of other programs: MDAnalysis and mdtraj; each module needs the package that it is for."""
