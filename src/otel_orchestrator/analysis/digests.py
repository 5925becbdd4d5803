"""What all analyses keep that look at spans one by one: little of many."""

from __future__ import annotations

from msgspec import Struct

from ..model import Run, Span
from .advice.git import GitSeen, git_seen
from .advice.llm import LlmSeen, llm_seen
from .advice.models import ModelCalls, model_calls
from .advice.pieces import Look
from .counted import Counted, counted
from .tree import Forest


class Digests(Struct, frozen=True, gc=False, array_like=True):
    """What is kept of a part of a run, or of all of it.

    Attributes:
        counted: for its numbers.
        models: for what each LLM took.
        llm, git: for what could be done about them.
    """

    counted: Counted
    models: tuple[ModelCalls, ...]
    llm: LlmSeen
    git: GitSeen


def digests_of(run: Run, forest: Forest, root: Span | None) -> Digests:
    """Look at every span of a part of a run.

    Args:
        run: the part.
        forest: its spans, linked, and the run's own.
        root: the run's own; None where there is none.
    """
    look = Look(run, forest)
    tops = forest.roots if root is None else forest.children(root)
    return Digests(
        counted=counted(run, forest, tops, root),
        models=model_calls(look),
        llm=llm_seen(look),
        git=git_seen(look),
    )
