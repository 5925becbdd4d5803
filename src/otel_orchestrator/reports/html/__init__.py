"""The report as one page: a file that opens without server or network, in any browser of today."""

from __future__ import annotations

from ...analysis.study import Study
from ...urls import JAEGER_URL
from .. import text as text_report
from .data import document
from .page import page

_TEXT_WIDTH = 100


def render(
    study: Study,
    *,
    jaeger_url: str = JAEGER_URL,
    run: str | None = None,
) -> str:
    """Return the page of a run.

    Args:
        study: what to report.
        jaeger_url: where links to traces lead.
        run: how the command line names the run, if not by its id.
    """
    summary = study.summary
    return page(
        title=f"{summary.name} {summary.run_id}",
        data=document(study, jaeger_url),
        styles=("base", "timeline", "print"),
        scripts=_SCRIPTS,
        # Without its spans: of those the page has a table.
        text=text_report.render(
            study,
            width=_TEXT_WIDTH,
            colour=False,
            spans=False,
            jaeger_url=jaeger_url,
            run=run,
        ),
    )


_SCRIPTS = (
    "format", "dom", "theme", "run", "view", "paint", "pointer", "panel", "ruler", "strips",
    "lanes", "waterfall", "search", "details", "verdict", "whatif", "sections", "spantable", "keys",
    "print", "main",
)  # fmt: skip
