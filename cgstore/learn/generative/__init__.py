"""Models that generate conformations, trained on a potential and no data; needs torch."""
