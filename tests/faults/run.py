"""Break each function of ours that a group's programs reach, one at a time: what does that change?

    python -m tests.faults.run GROUP [--all]

Of the programs that reach a function, some are run with it broken, or `--all` of them. Prints one
JSON object, see `Told`.
"""

from __future__ import annotations

import faulthandler
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from .injection import install

if TYPE_CHECKING:
    from .groups import Group, Program

faults = install()

_PROGRAMS_AT_MOST: Final = 2
_SECONDS_AT_MOST: Final = 300


@dataclass
class Told:
    """What came of it.

    Attributes:
        broken: how many functions were broken.
        reached_the_app: the functions whose failure a program saw, and what it got then.
        leaked: those after which the current context was another.
        passed_by_none: what is patched and no program passes: it is not tested.
    """

    broken: int = 0
    reached_the_app: dict[str, dict[str, str]] = field(default_factory=dict)
    leaked: list[tuple[str, str]] = field(default_factory=list)
    passed_by_none: list[str] = field(default_factory=list)


def result_of(program: Program) -> str:
    """What the app sees: a value, or an exception."""
    try:
        return repr(program())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(name: str, *, all_programs: bool) -> Told:
    """Break everything in a group."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    from otel_orchestrator import metrics
    from otel_orchestrator.lifecycle import spans

    from ..llm_server import serving
    from .programs import GROUPS

    logging.disable(logging.CRITICAL)
    tracer_provider = TracerProvider()
    meter_provider = MeterProvider(metric_readers=[InMemoryMetricReader()])
    with ExitStack() as stack:
        group = GROUPS[name](stack.enter_context(serving()), stack)
        spans.use_provider(tracer_provider)
        metrics.use_provider(meter_provider)
        own = {n: result_of(p) for n, p in group.programs.items()}
        again = {n: result_of(p) for n, p in group.programs.items()}
        assert own == again, {n: (own[n], again[n]) for n in own if own[n] != again[n]}
        providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
        return break_all(group, own, providers, len(own) if all_programs else _PROGRAMS_AT_MOST)


def break_all(
    group: Group, own: dict[str, str], providers: dict[str, Any], programs_at_most: int
) -> Told:
    """Break every function that the programs reach, and run again those that reach it."""
    from opentelemetry import context

    told = Told()
    with switched_on(group, providers) as instrumentors:
        reached: dict[str, list[str]] = {}
        # What else is on has a group of its own.
        with noting_patches(instrumentors[:1]) as patched:
            for name, program in group.programs.items():
                faults.reached.clear()
                got = run(group, program)
                assert got == own[name], (name, own[name], got)
                for function in faults.reached:
                    if function.partition(":")[0] not in group.besides:
                        reached.setdefault(function, []).append(name)
        told.broken = len(reached)
        told.passed_by_none = sorted(p for p, was_passed in patched.items() if not was_passed)
        before = context.get_current()
        for function, names in sorted(reached.items()):
            for name in names[:: -(-len(names) // programs_at_most)]:
                got = run(group, group.programs[name], broken=function)
                if got != own[name]:
                    told.reached_the_app.setdefault(function, {})[name] = got
                if context.get_current() != before:
                    told.leaked.append((function, name))
                    context.attach(before)
    return told


def run(group: Group, program: Program, broken: str | None = None) -> str:
    """Run a program, with a function broken from after the set-up."""

    def whole() -> Any:
        result = program()
        group.end()
        return result

    group.begin()
    faults.broken = broken
    try:
        return result_of(whole)
    finally:
        faults.broken = None


@contextmanager
def switched_on(group: Group, providers: dict[str, Any]) -> Iterator[list[Any]]:
    """Instrument what the group is about; give the instrumentors."""
    import otel_orchestrator as otel
    from otel_orchestrator import instrumentors

    if group.only:
        otel.instrument(only=group.only, **group.options, **providers)
    yield [instrumentors._load(instrumentors._ENTRIES[name]) for name in group.only]
    otel.uninstrument()


@contextmanager
def noting_patches(instrumentors: list[Any]) -> Iterator[dict[str, bool]]:
    """Note which of the attributes that we replaced are called."""
    patches = [patch for i in instrumentors for patch in getattr(i, "_patches", ())]
    passed: dict[str, bool] = {}

    def noting(point: str, ours: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(ours)
        def noted(*args: Any, **kwargs: Any) -> Any:
            passed[point] = True
            return ours(*args, **kwargs)

        return noted

    for patch in patches:
        point = f"{getattr(patch.owner, '__qualname__', patch.owner.__name__)}.{patch.name}"
        passed[point] = False
        setattr(patch.owner, patch.name, noting(point, patch.ours))
    yield passed
    for patch in patches:
        setattr(patch.owner, patch.name, patch.ours)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(_SECONDS_AT_MOST, exit=True)
    with redirect_stdout(StringIO()):
        found = main(sys.argv[1], all_programs="--all" in sys.argv)
    json.dump(asdict(found), sys.stdout)
