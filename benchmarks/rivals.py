"""What tracing costs with this package and with others: the same graph, the same LLM calls.

    python benchmarks/rivals.py [--turns N] [--venv FOLDER]

Makes a virtual environment with the newest of each, in a temporary folder unless told where. Each
runs in a process of its own, and they take turns. All make their spans with the same SDK, batch
processor and exporter to nowhere; LangSmith has its own client, which sends to a local server that
takes everything. None records content, unless it says `as installed`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from overhead import NODES
from turns import BASE, HERE, Way, added, endpoints, measure, spread, table

_PACKAGES: Final = (
    "openinference-instrumentation-langchain",
    "opentelemetry-instrumentation-langchain",
    "opentelemetry-instrumentation-genai-langchain>=1.3b0",
    "langsmith",
)
_VERSIONS: Final = (
    "langgraph",
    "langchain-core",
    "opentelemetry-sdk",
    *(package.partition(">")[0] for package in _PACKAGES),
)
_CALLS: Final = 5
_TOKENS: Final = 200
_NODES: Final = 10  # of the graph with LLM calls


def _ways(address: str) -> dict[str, Way]:
    hidden = {f"OPENINFERENCE_HIDE_{what}": "true" for what in ("INPUTS", "OUTPUTS")}
    langsmith = {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": address,
        "LANGSMITH_API_KEY": "none",
    }
    return {
        BASE: Way("untraced"),
        "this package": Way("ours alone"),
        "OpenInference": Way("openinference", hidden),
        "OpenInference, as installed": Way("openinference"),
        "OpenLLMetry": Way("openllmetry", {"TRACELOOP_TRACE_CONTENT": "false"}),
        "OpenLLMetry, as installed": Way("openllmetry"),
        "OpenTelemetry genai-langchain": Way("genai"),
        "LangSmith": Way(
            "langsmith",
            {**langsmith, "LANGSMITH_HIDE_INPUTS": "true", "LANGSMITH_HIDE_OUTPUTS": "true"},
        ),
        "LangSmith, as installed": Way("langsmith", langsmith),
    }


def environment_in(folder: Path) -> str:
    """Make the virtual environment, unless it is there; return its interpreter."""
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        subprocess.run(["python3", "-m", "venv", str(folder)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        package = f"{HERE.parent}[langgraph]"
        subprocess.run([*install, "--editable", package, *_PACKAGES], check=True)
    return python


def _print_versions(python: str) -> None:
    code = f"from importlib.metadata import version as v; print(*(n + ' ' + v(n) for n in {_VERSIONS!r}), sep=', ')"  # noqa: E501 - one line of Python
    subprocess.run([python, "-c", code], check=True)


def compare(python: str, turns: int) -> None:
    """Print the table."""
    columns = {
        "a node, 1 kB of state": (["graph", "chain", "sync", "1"], NODES),
        "a node, 100 kB": (["graph", "chain", "sync", "100"], NODES),
        "an LLM call and 1/5 node": (["llm", str(_CALLS), "0"], _NODES * _CALLS),
        "a token": (["llm", "1", str(_TOKENS)], _NODES * _TOKENS),
    }
    with endpoints() as at:
        ways = _ways(at["alive"])
        taken = {title: measure(ways, work, turns, python) for title, (work, _) in columns.items()}

    def rows() -> Iterator[Sequence[str]]:
        yield (
            BASE,
            *(
                f"{median(t['process'] for t in taken[title][BASE]) / count:.1f}"
                for title, (_, count) in columns.items()
            ),
            "",
        )
        for name in ways:
            if name == BASE:
                continue
            cells = []
            for title, (_, count) in columns.items():
                of = spread([v / count for v in added(taken[title], name, "process")])
                cells.append(f"+{of.middle:.1f} ({of.low:.1f} … {of.high:.1f})")
            counts = (taken[title][name][0]["spans"] for title in list(columns)[::2])
            made = (
                "its own" if name.startswith("LangSmith") else ", ".join(f"{n:.0f}" for n in counts)
            )
            yield name, *cells, made

    print(f"\nMicroseconds of CPU, all threads, added to each; median of {turns} turns, quartiles.")
    table(("", *columns, "spans: 50 nodes, 10 nodes with 50 calls"), rows())


def main() -> None:
    """Install and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--venv", type=Path, help="keep the virtual environment here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-rivals-") as temporary:
        python = environment_in(options.venv or Path(temporary))
        _print_versions(python)
        compare(python, options.turns)


if __name__ == "__main__":
    main()
