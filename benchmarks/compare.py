"""Is a comparison right? False alarms, what it finds, what it blames, and how long it takes.

    python benchmarks/compare.py                      all; about 25 minutes
    python benchmarks/compare.py --only alarms power  what is simulated; about 4 minutes
    python benchmarks/compare.py --runs FOLDER        only run what FOLDER does not hold yet

*alarms*: runs that differ by nothing but noise are compared 1 000 times. A true 5 % gives at most
67 regressions in 99 of 100 trials. *power*: LLM calls 20 % slower, five runs against five, whose
mean call differs by 6 % from run to run. *splits*: runs of the reference orchestrator, whose noise
nobody chose, are split at random. *causes*: one thing is slowed in it; do the words name that
first? *size*: 100 runs of 10 000 spans.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from compare_runs import NOISES, BigRuns, simulated
from demos import read_demo, run_demos

from otel_orchestrator.analysis.comparing.causes import causes_of
from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.digest import Digest, digest_of
from otel_orchestrator.analysis.comparing.gate import REGRESSION
from otel_orchestrator.analysis.comparing.measures import LLM_MEAN
from otel_orchestrator.analysis.comparing.rules import DECLARED
from otel_orchestrator.reports.compare.words import answer, because

TRIALS: Final = 1_000
AT_MOST: Final = 67
FOUND_AT_LEAST: Final = 0.90
SECONDS_AT_MOST: Final = 15
GIGABYTES_AT_MOST: Final = 2
SIZES: Final = (4, 5, 10)

QUICK: Final = ("--speed", "0.2", "--llm-speed", "0.1")
SEEDS: Final = range(1, 61)
SLOWED_SEEDS: Final = range(1, 6)
# What is slowed, and the beginning of what the words are to say first.
CASES: Final = {
    "llm": ("llm=1", "Slower LLM calls"),
    "git": ("git=1", "Slower git commands"),
    "straggler": ("stock=20", "More waiting at barriers"),
}


def told(base: Sequence[Digest], candidate: Sequence[Digest]) -> Comparison:
    """Compare as the command does; simulated runs are of one machine and session."""
    return compare(base, candidate, DECLARED, trusted=True)


def alarms(folder: Path) -> Iterator[bool]:
    """Compare simulated runs between which nothing differs."""
    print(f"False alarms of {TRIALS} comparisons; {AT_MOST} at most")
    for noise in NOISES:
        for runs in SIZES:
            random_ = random.Random(f"{noise}-{runs}")
            wrong = 0
            for _ in range(TRIALS):
                groups = [[simulated(random_, noise) for _ in range(runs)] for _ in range(2)]
                wrong += told(*groups).standing == REGRESSION
            yield _line(f"{noise}, {runs} against {runs}", f"{wrong}", wrong <= AT_MOST)


def power(folder: Path) -> Iterator[bool]:
    """Make LLM calls 20 % slower, with 6 % of noise from run to run."""
    print(f"LLM calls 20 % slower is found; {FOUND_AT_LEAST:.0%} at least with 5 against 5")
    for runs in SIZES:
        random_ = random.Random(f"power-{runs}")
        found = 0
        for _ in range(TRIALS):
            base = [simulated(random_, "steady") for _ in range(runs)]
            candidate = [simulated(random_, "steady", llm=1.2) for _ in range(runs)]
            found += told(base, candidate).gate(LLM_MEAN).standing == REGRESSION
        is_right = runs < 5 or found >= FOUND_AT_LEAST * TRIALS
        yield _line(f"{runs} against {runs}", f"{found / TRIALS:.1%}", is_right)


def splits(folder: Path) -> Iterator[bool]:
    """Split real runs at random."""
    digests = [_read(folder, f"{seed}") for seed in SEEDS]
    walls = sorted(d.wall_us / 1e6 for d in digests)
    print(f"False alarms of {TRIALS} random splits of {len(digests)} real runs, whose walls are")
    print(f"{walls[0]:.1f} to {walls[-1]:.1f} s; {AT_MOST} at most")
    for runs in SIZES:
        random_ = random.Random(f"splits-{runs}")
        wrong = 0
        for _ in range(TRIALS):
            drawn = random_.sample(digests, 2 * runs)
            wrong += told(drawn[:runs], drawn[runs:]).standing == REGRESSION
        yield _line(f"{runs} against {runs}", f"{wrong}", wrong <= AT_MOST)


def causes(folder: Path) -> Iterator[bool]:
    """Slow one thing, and read what the words say first."""
    print("What was slowed, and what the words say")
    base = [_read(folder, f"{seed}") for seed in SLOWED_SEEDS]
    for name, (_, expected) in CASES.items():
        slowed = [_read(folder, f"{seed}-{name}") for seed in SLOWED_SEEDS]
        comparison = told(base, slowed)
        first = next(map(because, causes_of(comparison)), "nothing")
        is_right = comparison.standing == REGRESSION and first.startswith(expected)
        yield _line(name, answer(comparison), is_right)
        print(f"    {first}")


def size(folder: Path) -> Iterator[bool]:
    """Compare many large runs."""
    print(f"100 runs of 10 000 spans; {SECONDS_AT_MOST} s and {GIGABYTES_AT_MOST} GB at most")
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-compare-") as temporary:
        big = BigRuns(Path(temporary), folder / "1")
        taken = big.compare()
    yield _line(
        f"{big.spans} spans each",
        f"{taken.seconds:.1f} s, of processors {taken.processor:.1f} s",
        taken.seconds <= SECONDS_AT_MOST,
    )
    yield _line("memory, all processes", f"{taken.gigabytes:.2f} GB",
                taken.gigabytes <= GIGABYTES_AT_MOST)  # fmt: skip


PARTS: Final[dict[str, Callable[[Path], Iterator[bool]]]] = {
    "alarms": alarms,
    "power": power,
    "splits": splits,
    "causes": causes,
    "size": size,
}


def _run(folder: Path, at_once: int) -> None:
    """Run what is missing, the slowed runs in turns with the others of their seed."""
    wanted: dict[str, list[str]] = {}
    for seed in SEEDS:
        wanted[f"{seed}"] = ["--seed", str(seed), *QUICK]
        if seed in SLOWED_SEEDS:
            for name, (slow, _) in CASES.items():
                wanted[f"{seed}-{name}"] = [*wanted[f"{seed}"], "--slow", slow]
    run_demos(folder, wanted, at_once)


def _read(folder: Path, name: str) -> Digest:
    return digest_of(read_demo(folder, name))


def _line(what: str, result: str, is_right: bool) -> bool:
    print(f"  {what:<28} {result:<12} {'' if is_right else 'NOT AS IT SHOULD BE'}".rstrip())
    return is_right


def main() -> None:
    """Try every part; exit code 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--at-once", type=int, default=2, help="demos that run at once")
    parser.add_argument(
        "--runs", type=Path, help="keep the runs here, and use those that are there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-compare-") as temporary:
        folder = options.runs or Path(temporary)
        if set(options.only) - {"alarms", "power"}:
            _run(folder, options.at_once)
        results = [ok for name in options.only for ok in PARTS[name](folder)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
