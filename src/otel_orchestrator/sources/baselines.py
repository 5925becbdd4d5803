"""Baseline files: what a comparison keeps of some runs, small enough to commit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ..analysis.clip import Key
from ..analysis.comparing.amounts import Amount, CategoryAmount, Example, PathAmount
from ..analysis.comparing.digest import Digest, Waited
from ..errors import RunFileError
from .otlp import LARGEST
from .printable import printable

FORMAT: Final = 1
"""Goes up when a field changes its meaning or goes away; files of older ones can still be read."""

_KIND: Final = "otel-orchestrator baseline"


def encode(digests: Iterable[Digest]) -> str:
    """Return the text of a baseline file; times in microseconds, the same bytes for the same runs.

    One run, path and category a line, so that a change of it can be read.
    """
    runs = ",\n".join(_encoded(digest) for digest in digests)
    return f'{{"kind": "{_KIND}", "format": {FORMAT}, "runs": [\n{runs}\n]}}\n'


def read_baseline(path: Path) -> tuple[Digest, ...]:
    """Read a baseline file.

    Raises:
        RunFileError: it cannot be read, is none, or is of a later version of this program.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{path} is not a baseline file: it is not JSON") from error
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise RunFileError(
            f"{path} is not a baseline file. Type: otel-orchestrator compare RUNS"
            " --save-baseline FILE"
        )
    version = document.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise RunFileError(
            f"{path} has format {version}, this program knows {FORMAT}: update otel-orchestrator"
        )
    if not isinstance(version, int) or version < 1:
        raise RunFileError(f"{path} is damaged: no version has its format. {_again(path)}")
    try:
        digests = tuple(_digest(run) for run in _checked(document["runs"]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RunFileError(
            f"{path} is damaged: its runs are not as they were written. {_again(path)}"
        ) from error
    if not digests:
        raise RunFileError(f"{path} holds no runs. {_again(path)}")
    return digests


def _again(path: Path) -> str:
    return f"Write it again: otel-orchestrator compare RUNS --save-baseline {path} --force"


def _checked(value: Any) -> Any:
    """Return what is in a file, nothing in it that a terminal obeys or that no run comes to."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_checked(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): _checked(item) for key, item in value.items()}
    if isinstance(value, int | float) and not 0 <= value <= LARGEST:
        raise ValueError("a number that is out of range")
    return value


def _number(value: Any) -> float:
    """Return a number that was written as one: a text may say `nan`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("that is no number")
    return value


def _whole(value: Any) -> int:
    return int(_number(value))


def _encoded(digest: Digest) -> str:
    head = {
        "id": digest.run_id,
        "label": digest.label,
        "service": digest.service,
        "host": digest.host,
        "outcome": digest.outcome,
        "trace_id": digest.trace_id,
        "start_us": digest.start_us,
        "wall_us": digest.wall_us,
        "spans": digest.spans,
        "on_wall": [[*key, us] for key, us in digest.on_wall.items()],
        "waits": dict(digest.waits),
        "waited_on": [[w.category, w.on, w.us] for w in digest.waited_on],
        "warnings": list(digest.warnings),
    }
    categories = ",\n".join(_line([*c.key, _amount(c.amount)]) for c in digest.categories)
    paths = ",\n".join(
        _line([list(p.path), *p.key, _amount(p.amount), _example(p.worst)]) for p in digest.paths
    )
    return f'{_line(head)[:-1]},\n"categories": [\n{categories}\n],\n"paths": [\n{paths}\n]}}'


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _amount(amount: Amount) -> list[float]:
    return [
        amount.count,
        amount.total_us,
        round(amount.median_us, 3),
        round(amount.p95_us, 3),
        amount.covered_us,
        amount.waited_us,
    ]


def _example(example: Example) -> list[Any]:
    return [example.trace_id, example.span_id, example.task_id, example.us]


def _digest(run: Mapping[str, Any]) -> Digest:
    return Digest(
        run_id=str(run["id"]),
        label=_optional(run["label"]),
        service=_optional(run["service"]),
        host=_optional(run["host"]),
        outcome=str(run["outcome"]),
        trace_id=str(run["trace_id"]),
        start_us=_whole(run["start_us"]),
        wall_us=_whole(run["wall_us"]),
        spans=_whole(run["spans"]),
        on_wall={_key(state, category): _whole(us) for state, category, us in run["on_wall"]},
        waits={str(category): _whole(us) for category, us in run["waits"].items()},
        waited_on=tuple(Waited(str(c), str(on), _whole(us)) for c, on, us in run["waited_on"]),
        categories=tuple(
            CategoryAmount(_key(state, category), _read_amount(amount))
            for state, category, amount in run["categories"]
        ),
        paths=tuple(
            PathAmount(
                tuple(map(str, names)),
                _key(state, category),
                _read_amount(amount),
                _read_example(worst),
            )
            for names, state, category, amount, worst in run["paths"]
        ),
        warnings=tuple(map(str, run["warnings"])),
    )


def _read_amount(fields: list[Any]) -> Amount:
    count, total, median, p95, covered, waited = map(_number, fields)
    if count < 1:
        raise ValueError("a path without spans")
    return Amount(int(count), int(total), float(median), float(p95), int(covered), int(waited))


def _read_example(fields: list[Any]) -> Example:
    trace_id, span_id, task_id, us = fields
    return Example(str(trace_id), str(span_id), _optional(task_id), _whole(us))


def _key(state: Any, category: Any) -> Key:
    return str(state), str(category)


def _optional(value: Any) -> str | None:
    return None if value is None else str(value)
