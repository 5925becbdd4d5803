"""How long it takes to read, account for and report large runs, and how much memory: of all
processes together.

python benchmarks/reading.py                       10 000, 100 000 and 1 000 000 spans
python benchmarks/reading.py --spans 100000

A run of the reference orchestrator is recorded, and repeated until it is large enough.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from copies import write_copies
from demos import run_demos

from otel_orchestrator.sources.runfiles import find_run

_SPANS: Final = (10_000, 100_000, 1_000_000)
_AIM_S, _AIM_GB = 15.0, 2.0
_STAGES: Final = ("import", "read", "account", "report", "all")
# What `report` does, stage by stage, in a process of its own so that its memory is its own, too. Of
# a large run the processes that read it also look at its spans, so that is part of reading.
_MEASURED: Final = """
import json, os, resource, sys, time
from pathlib import Path
def now():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)
began, told = now(), {}
def stage(name):
    global began
    at = now()
    told[name] = [at[0] - began[0], at[1] - began[1]]
    began = at
from otel_orchestrator.analysis.study import study, study_of_parts
from otel_orchestrator.reports import text
from otel_orchestrator.sources.in_parts import read_in_parts
from otel_orchestrator.sources.runfiles import find_run, read_run
from otel_orchestrator.sources.uncollected import uncollected
stage("import")
with uncollected():
    file = find_run(sys.argv[1], Path("."))
    parts = read_in_parts(file)
    run = read_run(file) if parts is None else None
    stage("read")
    found = study(run) if parts is None else study_of_parts(parts)
    stage("account")
    text.render(found, width=100, colour=False)
    stage("report")
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
each = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
told["gigabytes"] = (own + each * (os.cpu_count() or 1)) * 1024 / 1e9
print(json.dumps(told))
"""


def main() -> None:
    """Record, repeat, measure; print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--spans", type=int, nargs="+", default=_SPANS)
    parser.add_argument("--run", type=Path, help="a run file to repeat, instead of a new demo's")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds, and of the processor")
    print(f"{'spans':>9}" + "".join(f"{stage:>16}" for stage in _STAGES) + "  spans/s  peak GB")
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-reading-") as temporary:
        folder = Path(temporary)
        original = options.run or _recorded(folder)
        for wanted in options.spans:
            path = folder / f"{wanted}.jsonl"
            spans = write_copies(original, wanted, path)
            _measure(path, spans)
            path.unlink()
    print(f"the aim, for 1 000 000 spans: {_AIM_S:.0f} s and {_AIM_GB:.0f} GB on two idle cores")


def _recorded(folder: Path) -> Path:
    run_demos(folder, {"demo": ["--seed", "7"]}, 1)
    return find_run(None, folder / "demo").path


def _measure(path: Path, spans: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(path)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    told["all"] = [sum(told[stage][n] for stage in _STAGES[:-1]) for n in range(2)]
    cells = "".join(f"{told[stage][0]:>8.2f} {told[stage][1]:>6.2f} " for stage in _STAGES)
    print(f"{spans:>9}{cells}{spans / told['all'][0]:>9.0f}{told['gigabytes']:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
