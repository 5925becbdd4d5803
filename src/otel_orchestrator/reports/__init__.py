"""A run as something to look at or to parse: pure functions from a `Run` to text."""
