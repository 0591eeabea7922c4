"""From g(r) and a state point to a Lennard-Jones potential: rows, networks, range, and asking; training needs torch."""
