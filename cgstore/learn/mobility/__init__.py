"""Models of mobility: from force fields to potentials that keep the structure or the speed; networks need torch."""
