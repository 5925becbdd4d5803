"""What a compiled graph says of itself: its name, whether it is an agent, its loop's head."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

_DEFAULT_NAME: Final = "LangGraph"

# The factories of ready-made agents: a node function made in one of these modules marks its graph.
_AGENT_FACTORIES: Final = frozenset(
    {"langgraph.prebuilt.chat_agent_executor", "langchain.agents.factory"}
)
START: Final = "__start__"
_END: Final = "__end__"


@dataclass(frozen=True, slots=True)
class Shape:
    """What spans need to know of a graph.

    Attributes:
        name: the graph's name, as given to `compile(name=...)`.
        is_agent: it is one agent, whose steps are an implementation detail.
        head: the node that opens each loop, if the graph's edges tell.
        known_by: what tells it from others, in other processes, too: its name, or, if it was given
            none, its nodes as well.
    """

    name: str
    is_agent: bool
    head: str | None
    known_by: str


_shapes: WeakKeyDictionary[Any, Shape] = WeakKeyDictionary()


def shape_of(
    graph: Any, agents: Collection[str] = (), loop_head: str | Mapping[str, str] | None = None
) -> Shape:
    """Return the shape of a compiled graph; worked out once for each graph.

    Args:
        graph: a `Pregel`, or None where it is not known.
        agents: names of graphs that the user calls agents.
        loop_head: the user's choice of the node that opens each loop, or choices by graph name.
    """
    if graph is None:
        return Shape(_DEFAULT_NAME, is_agent=False, head=None, known_by=_DEFAULT_NAME)
    known = _shapes.get(graph)
    if known is None:
        name = str(graph.get_name() or _DEFAULT_NAME)
        is_agent = name in agents or any(map(_made_by_agent_factory, graph.nodes.values()))
        known_by = name
        if name == _DEFAULT_NAME:
            name = _better_name(graph, is_agent=is_agent)
            known_by = "\0".join([name, *sorted(map(str, graph.nodes))])
        named = loop_head.get(name) if isinstance(loop_head, Mapping) else loop_head
        # A head named for every graph does not concern graphs without such a node.
        head = named if named in graph.nodes else None
        head = head or cycle_entry(edges_of(getattr(graph, "builder", None)))
        known = _shapes[graph] = Shape(name, is_agent, head, known_by)
    return known


def forget_shapes() -> None:
    """Forget what was worked out, because `agents` or `loop_head` has changed."""
    _shapes.clear()


def _better_name(graph: Any, *, is_agent: bool) -> str:
    if is_agent:
        return "agent"
    # An entrypoint of the functional API is a graph of one node, named like its function.
    return str(next(iter(graph.nodes))) if len(graph.nodes) == 1 else _DEFAULT_NAME


def _made_by_agent_factory(node: Any) -> bool:
    bound = getattr(node, "bound", None)
    functions = (getattr(bound, "func", None), getattr(bound, "afunc", None))
    return any(getattr(f, "__module__", None) in _AGENT_FACTORIES for f in functions)


def edges_of(builder: Any) -> dict[str, list[str]]:
    """Return the edges a `StateGraph` declares: plain, joining, conditional and `Command` ones.

    `Send`s, branches without a map and undeclared `Command`s leave no trace in the builder.
    """
    if builder is None:
        return {}
    pairs: list[tuple[str, str]] = [(str(a), str(b)) for a, b in getattr(builder, "edges", ())]
    for sources, target in getattr(builder, "waiting_edges", ()):
        pairs += [(source, target) for source in sources]
    for source, branches in getattr(builder, "branches", {}).items():
        for branch in branches.values():
            pairs += [(source, target) for target in _ends(getattr(branch, "ends", None))]
    for source, node in getattr(builder, "nodes", {}).items():
        pairs += [(source, target) for target in _ends(getattr(node, "ends", None))]
    edges: dict[str, list[str]] = {}
    for source, target in sorted(set(pairs)):
        if target != _END:
            edges.setdefault(source, []).append(target)
    return edges


def _ends(ends: Any) -> Iterable[str]:
    if isinstance(ends, Mapping):
        return map(str, ends.values())
    return map(str, ends or ())


def cycle_entry(edges: Mapping[str, Collection[str]]) -> str | None:
    """Return the first node on the way from the start that lies on a cycle, if any does."""
    seen = {START}
    queue = deque([START])
    while queue:
        node = queue.popleft()
        if node != START and _reaches(edges, node):
            return node
        for target in edges.get(node, ()):
            if target not in seen:
                seen.add(target)
                queue.append(target)
    return None


def _reaches(edges: Mapping[str, Collection[str]], goal: str) -> bool:
    # Is `goal` reachable from itself?
    seen: set[str] = set()
    stack = list(edges.get(goal, ()))
    while stack:
        node = stack.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            stack.extend(edges.get(node, ()))
    return False
