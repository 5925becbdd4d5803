"""`python -m otel_orchestrator.cli`, where the command is not on PATH."""

from . import main

main()
