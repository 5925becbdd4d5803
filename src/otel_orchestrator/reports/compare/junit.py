"""The comparison as JUnit XML: a test case for each metric that is judged."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ...analysis.comparing.causes import causes_of
from ...analysis.comparing.comparison import Comparison
from ...analysis.comparing.gate import NO_REGRESSION, NOT_MEASURED, REGRESSION, Gate
from .words import answer, because, both, sureness, verdict, why

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(comparison: Comparison, *, strict: bool) -> str:
    """Return the comparison as JUnit XML; what is undecided is skipped, or fails if `strict`.

    What no run has is always skipped: the others decide.
    """
    suite = ElementTree.Element("testsuite", name="otel-orchestrator compare")
    failed = skipped = 0
    for gate in comparison.gates:
        case = ElementTree.SubElement(
            suite, "testcase", classname="otel-orchestrator.compare", name=_text(gate.rule.metric)
        )
        outcome = _outcome(gate, comparison, strict=strict)
        if outcome is None:
            continue
        failed += outcome == "failure"
        skipped += outcome == "skipped"
        said = ElementTree.SubElement(case, outcome, message=_text(_message(gate)))
        if outcome == "failure":
            said.text = _text("\n".join(_details(comparison)))
    suite.set("tests", str(len(comparison.gates)))
    suite.set("failures", str(failed))
    suite.set("errors", "0")
    suite.set("skipped", str(skipped))
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(suite, encoding="unicode")
        + "\n"
    )


def _outcome(gate: Gate, comparison: Comparison, *, strict: bool) -> str | None:
    is_advice = bool(comparison.doubts.advisory)
    if gate.standing == NOT_MEASURED:
        return "skipped"
    if gate.standing == NO_REGRESSION and not is_advice:
        return None
    if strict or (gate.standing == REGRESSION and not is_advice):
        return "failure"
    return "skipped"


def _message(gate: Gate) -> str:
    return f"{gate.measure.title} {both(gate.values)}: {verdict(gate)}"


def _details(comparison: Comparison) -> list[str]:
    reasons = [because(cause) for cause in causes_of(comparison)]
    if reasons:
        reasons.insert(0, f"{why(comparison)}:")
    return [answer(comparison), *reasons, *sureness(comparison)]


def _text(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
