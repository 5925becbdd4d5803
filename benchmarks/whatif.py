"""What-if estimates against the truth: the reference orchestrator does what was predicted.

For each seed it runs once as it is. What a change would lead to is predicted from that run, then
the change is really made and run. `same_again` makes no change: what differs there is the machine.

    python benchmarks/whatif.py --seeds 20            about 35 minutes
    python benchmarks/whatif.py --runs FOLDER         only run what FOLDER does not hold yet
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from demos import read_demo, run_demos

from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.whatif.estimates import what_if

AS_IT_IS: Final = "as_it_is"
SAME_AGAIN: Final = "same_again"
# What an estimate is called, and what makes it come true.
CHANGES: Final = {
    SAME_AGAIN: [],
    "continuous": ["--dispatch", "continuous"],
    "workers_minus_1": ["--workers", "2"],
    "workers_plus_1": ["--workers", "4"],
    "llm_twice_as_fast": ["--llm-speed", "0.5"],
    "prompts_cached": ["--llm-cache"],
}
WORKERS: Final = ["--workers", "3"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One prediction and what came of it, in seconds."""

    seed: int
    name: str
    was_s: float
    low_s: float
    expected_s: float
    high_s: float
    truth_s: float

    @property
    def error(self) -> float:
        """How far the expected wall is above the true one, as a share of it."""
        return self.expected_s / self.truth_s - 1

    @property
    def is_inside(self) -> bool:
        """Whether the truth lies within the band."""
        return self.low_s <= self.truth_s <= self.high_s


def trials_of(folder: Path, seed: int, changes: Iterable[str]) -> Iterable[Trial]:
    """Predict from the run as it is, and compare with the runs that made the changes."""
    outline = outline_of(read_demo(folder, f"{seed}-{AS_IT_IS}"))
    was_s = outline.wall_ns / 1e9
    estimates = what_if(outline)
    for name in changes:
        truth_s = outline_of(read_demo(folder, f"{seed}-{name}")).wall_ns / 1e9
        if name == SAME_AGAIN:
            yield Trial(seed, name, was_s, was_s * 0.95, was_s, was_s * 1.05, truth_s)
            continue
        estimate = estimates.named(name)
        if estimate.band is None:
            sys.exit(f"seed {seed}: there is no estimate of {name}: {estimate.reason}")
        band = estimate.band
        low_s, expected_s, high_s = (
            ns / 1e9 for ns in (band.low_ns, band.expected_ns, band.high_ns)
        )
        yield Trial(seed, name, was_s, low_s, expected_s, high_s, truth_s)


def main() -> None:
    """Run, predict, compare; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=3, help="demos that run at once")
    parser.add_argument(
        "--runs", type=Path, help="keep the runs here, and use those that are there"
    )
    parser.add_argument("--only", choices=CHANGES, action="append", help="may be repeated")
    parser.add_argument("--every", action="store_true", help="print every trial")
    options = parser.parse_args()
    changes = options.only or list(CHANGES)
    common = ["--speed", str(options.speed), *WORKERS]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-whatif-") as temporary:
        folder = options.runs or Path(temporary)
        wanted = {
            f"{seed}-{name}": [*common, "--seed", str(seed), *CHANGES.get(name, [])]
            for seed in seeds
            for name in (AS_IT_IS, *changes)
        }
        run_demos(folder, wanted, options.at_once)
        trials = [trial for seed in seeds for trial in trials_of(folder, seed, changes)]
    if options.every:
        print_every(trials)
    print_summary(trials, options.speed)


def print_every(trials: Iterable[Trial]) -> None:
    """Print a line for each trial."""
    print(f"{'seed':>4}  {'what if':<20}{'was':>8}{'predicted':>22}{'truth':>8}{'error':>8}")
    for t in trials:
        band = f"{t.low_s:.1f} .. {t.expected_s:.1f} .. {t.high_s:.1f}"
        mark = "" if t.is_inside else "  outside"
        print(
            f"{t.seed:>4}  {t.name:<20}{t.was_s:>8.2f}{band:>22}{t.truth_s:>8.2f}"
            f"{t.error:>+8.1%}{mark}"
        )
    print()


def print_summary(trials: list[Trial], speed: float) -> None:
    """Print a line for each what-if."""
    print(f"Predicted against really run, in seconds of wall clock, at {speed:g} of the delays\n")
    head = ("what if", "n", "was", "truth", "in band", "median |error|", "bias", "worst")
    print("{:<20}{:>4}{:>8}{:>8}{:>10}{:>16}{:>8}{:>8}".format(*head))
    for name in dict.fromkeys(t.name for t in trials):
        of_it = [t for t in trials if t.name == name]
        errors = [t.error for t in of_it]
        inside = sum(t.is_inside for t in of_it) / len(of_it)
        print(
            f"{name:<20}{len(of_it):>4}{median(t.was_s for t in of_it):>8.1f}"
            f"{median(t.truth_s for t in of_it):>8.1f}{inside:>10.0%}"
            f"{median(map(abs, errors)):>16.1%}{median(errors):>+8.1%}"
            f"{max(errors, key=abs):>+8.1%}"
        )
    if any(t.name == SAME_AGAIN for t in trials):
        print(f"\n{SAME_AGAIN} predicts no change, ± 5 %: what is off there, the machine is.")


if __name__ == "__main__":
    main()
