"""Import rules that `lint-imports` cannot say, and what the package promises to offer."""

from __future__ import annotations

import ast
from pathlib import Path

import otel_orchestrator

SOURCE = Path(otel_orchestrator.__file__).parent
MAY_USE_THE_SDK = {"stack_check.py"}
MAY_USE_THE_SDK |= {
    f"sdk/{name}.py" for name in "__init__ console marking resource run_totals".split()
}
MAY_USE_THE_SDK |= {
    f"delivery/{name}.py"
    for name in (
        "appending clean closing forwarding marks metric_exporter otlp pending queue_points runfile"
        " sender sending stored stored_metrics"
    ).split()
}


def imported(path: Path) -> set[str]:
    """Return every module that a file imports, however deep inside."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def test_only_the_set_up_uses_the_sdk() -> None:
    users = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(name.startswith("opentelemetry.sdk") for name in imported(path))
    }
    assert users == MAY_USE_THE_SDK


# Set-up; a dispatch that is no superstep of LangGraph's; waits for locks that nobody else can see.
TRACED_BY_HAND = {"__main__.py", "dispatch.py", "waiting.py"}


def test_the_demo_uses_public_names_only_and_where_it_says() -> None:
    for path in (SOURCE / "demo").glob("*.py"):
        tree = ast.parse(path.read_text())
        relative = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 2
        }
        assert relative <= {"errors"}, path.name
        uses = "otel_orchestrator" in imported(path)
        assert uses == (path.name in TRACED_BY_HAND), path.name


def test_every_public_name_is_there() -> None:
    for name in otel_orchestrator.__all__:
        assert callable(getattr(otel_orchestrator, name))
    assert set(dir(otel_orchestrator)) == set(otel_orchestrator.__all__)


def test_no_module_is_too_long_to_hold_in_the_head() -> None:
    long = {p.name: n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}
