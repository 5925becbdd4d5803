"""How each number of the report is made."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...analysis.accounting import views as accounting
from ...analysis.advice import models as llm_models
from ...analysis.advice import pieces as advice
from ...analysis.study import Study
from ...analysis.verdict import judging as verdict
from ...analysis.whatif import estimates as whatif
from .style import DIM


def explanations(study: Study) -> RenderableType:
    """Say of each view, finding and estimate how it is made, and what it assumes."""
    parts: list[RenderableType] = []
    for title, texts in (
        ("The views", accounting.EXPLANATIONS),
        ("The verdict", verdict.EXPLANATIONS),
    ):
        parts.append(Text(f"  {title}", "underline"))
        parts += [_entry(name, text) for name, text in texts.items()]
    parts += [Text("  What if", "underline"), _entry("all", whatif.EXPLANATION)]
    for estimate in study.estimates.estimates:
        if estimate.band is not None:
            parts.append(_entry(estimate.title, "; ".join(estimate.assumptions) + "."))
    parts.append(Text("  What to do", "underline"))
    parts += [_entry(kind.replace("_", " "), text) for kind, text in advice.EXPLANATIONS.items()]
    if study.models:
        parts += [Text("  LLM calls by model", "underline"), _entry("all", llm_models.EXPLANATION)]
    return Group(*parts)


def _entry(name: str, text: str) -> RenderableType:
    return Padding(Text.assemble((f"{name}: ", "bold"), (text, DIM)), (0, 0, 0, 4))
