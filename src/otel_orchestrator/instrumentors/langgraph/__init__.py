"""LangGraph: a span for every run, loop, superstep, task and node attempt.

    from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor

    LangGraphInstrumentor().instrument(loop_head="director")

Works for graphs compiled before or after. Supported: LangGraph 1.0 and newer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from ...lifecycle import outcomes, waits
from ...queue.fields import TaskFields
from ...semconv import ABANDONED, INTERRUPTED, OK
from .._patching import Patch, patch_all, unpatch
from .._providers import use_providers
from . import choke_points
from .named_tasks import DEFAULT_KEY, NamedTasks
from .recorder import Settings
from .shape import forget_shapes

__all__ = ("LangGraphInstrumentor",)


class LangGraphInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Instruments LangGraph at the choke points that every way of running a graph passes.

    Options of `instrument()`:
        loop_head: the node whose superstep opens each loop; a name for every graph, or a mapping
            from graph name to node name. Default: found from the graph's edges.
        agents: names of graphs to show as one agent, besides those made by `create_agent` and
            `create_react_agent`.
        agent_steps: show an agent's own loops, supersteps and nodes.
        wait_threshold_s: shorter waits are counted, but have no span of their own.
        runs_in_checkpoints: note the run in its checkpoints' metadata, so that a run resumed on
            another machine links to it and knows how long it waited for a person. (On this
            machine that is known anyway, from beside the run files.)
        tasks_key: the key of the graph's state that holds the application's tasks; None for none.
        task_fields: how to read those tasks.
        tracer_provider, meter_provider: instead of the global ones.
    """

    _patches: tuple[Patch, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what `opentelemetry-instrument` checks before it activates this."""
        return ("langgraph >= 1.0",)

    def _instrument(
        self,
        *,
        loop_head: str | Mapping[str, str] | None = None,
        agents: Collection[str] = (),
        agent_steps: bool = False,
        wait_threshold_s: float = 0.001,
        runs_in_checkpoints: bool = False,
        tasks_key: str | None = DEFAULT_KEY,
        task_fields: TaskFields | None = None,
        **kwargs: Any,
    ) -> None:
        use_providers(kwargs)
        waits.set_threshold(round(wait_threshold_s * 1e9))
        fields = task_fields or TaskFields()
        is_told = tasks_key != DEFAULT_KEY or task_fields is not None
        choke_points.settings = Settings(
            loop_head=loop_head,
            agents=frozenset(agents),
            agent_steps=agent_steps,
            tasks_key=tasks_key,
            task_fields=fields,
            named_tasks=NamedTasks(tasks_key, fields.id) if tasks_key and is_told else None,
            runs_in_checkpoints=runs_in_checkpoints,
        )
        forget_shapes()
        _register_control_flow()
        self._patches = patch_all("langgraph", choke_points.seams())
        if not self._patches:
            from . import fallback

            fallback.start()

    def _uninstrument(self, **kwargs: Any) -> None:
        unpatch(self._patches)
        self._patches = ()
        choke_points.abandon_all()
        waits.set_threshold(waits.DEFAULT_THRESHOLD_NS)
        from . import fallback

        fallback.stop()


def _register_control_flow() -> None:
    from langgraph.errors import GraphBubbleUp, GraphInterrupt

    outcomes.register_control_flow(GraphBubbleUp, OK)  # a Command for the parent graph
    outcomes.register_control_flow(GraphInterrupt, INTERRUPTED)
    try:
        from langgraph.errors import GraphDrained
    except ImportError:  # LangGraph < 1.2
        return
    outcomes.register_control_flow(GraphDrained, ABANDONED)
