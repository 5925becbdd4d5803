"""Set up telemetry before the user's program starts: `otel-orchestrator run` puts this on its path.

Python imports `sitecustomize` by name at start-up. This one takes itself off the path again, so
that further Python processes of the program are no runs of their own; imports the one that it
hides, if there is one; and then configures and instruments. If that fails, one line says so and
the program runs untraced.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)


def _leave_the_path() -> None:
    kept = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != _HERE]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [p for p in sys.path if p != _HERE]


def _import_the_hidden_one() -> None:
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError:
        if ours is not None:
            sys.modules["sitecustomize"] = ours


def _set_up() -> None:
    # It takes a moment, in which there is no program yet that could want to hear of a Ctrl-C.
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        import otel_orchestrator

        otel_orchestrator.configure()
        otel_orchestrator.instrument()
    except Exception as error:
        print(f"otel-orchestrator: not tracing this program: {error}", file=sys.stderr)
    finally:
        if is_pythons:
            signal.signal(signal.SIGINT, signal.default_int_handler)


_leave_the_path()
_import_the_hidden_one()
_set_up()
