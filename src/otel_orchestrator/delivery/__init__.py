"""Run files and what becomes of them: written, sent to an endpoint, and what was acknowledged."""
