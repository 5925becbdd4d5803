"""Groups of runs against each other."""
