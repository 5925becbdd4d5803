"""What a run says: pure functions from a `Run` to numbers. No files, no clock, no environment."""
