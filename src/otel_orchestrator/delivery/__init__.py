"""Deliver run files: the run file is the spool, and beside it stands what was acknowledged."""
