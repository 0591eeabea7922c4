"""Starting structures and their force fields, as GROMACS topologies."""
