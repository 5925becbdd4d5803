"""What could be done about what was seen in one run."""
