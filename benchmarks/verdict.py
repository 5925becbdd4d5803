"""Slow one thing in the reference orchestrator: does the verdict name that, and nothing else?

python benchmarks/verdict.py            about 3 minutes
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from demos import read_demo, run_demos

from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.verdict.judging import verdict
from otel_orchestrator.demo.plan import shipped_tasks

# A quick LLM, and a second of each task that is neither LLM nor git: by itself nothing takes long
# enough to be blamed, however fast the machine that runs this is.
BASE: Final = [
    *("--llm-speed", "0.02"),
    *(part for task in shipped_tasks() for part in ("--slow", f"{task['id']}=1")),
]
# What is slowed, and the one hypothesis that is then to be supported.
CASES: Final[dict[str, tuple[list[str], str | None]]] = {
    "nothing": ([], None),
    "llm": (["--slow", "llm=2"], "llm"),
    "git": (["--slow", "git=1"], "git"),
    "straggler": (["--slow", "stock=30"], "superstep"),
    "director": (["--slow", "director=10"], "cycle"),
}


def main() -> None:
    """Run, judge, print a line for each case; exit code 1 if one is judged otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--at-once", type=int, default=2, help="demos that run at once")
    parser.add_argument(
        "--runs", type=Path, help="keep the runs here, and use those that are there"
    )
    options = parser.parse_args()
    seed = ["--seed", str(options.seed)]
    is_right = True
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-verdict-") as temporary:
        folder = options.runs or Path(temporary)
        wanted = {name: [*seed, *BASE, *slow] for name, (slow, _) in CASES.items()}
        run_demos(folder, wanted, options.at_once)
        for name, (_, blamed) in CASES.items():
            findings = verdict(account(outline_of(read_demo(folder, name)))).findings
            is_right &= all((f.standing == "supported") == (f.key == blamed) for f in findings)
            told = "  ".join(f"{f.key} {f.standing} ({f.measure or 0:.0%})" for f in findings)
            print(f"slowed: {name:<10} {told}")
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
