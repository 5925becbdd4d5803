"""The orchestrator as a LangGraph graph: Director → Workers → Strategist → Director …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from . import agent, plan
from .dispatch import dispatch
from .plan import Task
from .repository import GitError, Repository, run_tests
from .slow import DIRECTOR, Slow

_ATTEMPTS: Final = 2


class State(TypedDict, total=False):
    """The graph's state."""

    objective: str
    turn: int
    tasks: Annotated[list[Task], plan.merge]


@dataclass(frozen=True, slots=True)
class Work:
    """What the nodes work with.

    Attributes:
        repository: where to.
        model: whom to ask.
        tasks: the plan to fall back on, where a Director's answer cannot be read.
        say: shows what a task is doing, on the terminal.
        slow: what is to take longer than it would.
        slots: workers at a time, where the dispatch is our own.
    """

    repository: Repository
    model: ChatOpenAI
    tasks: list[Task]
    say: Callable[[str, str], None]
    slow: Slow
    slots: int


def build(work: Work, *, is_continuous: bool) -> Any:
    """Compile the graph.

    Args:
        work: what its nodes work with.
        is_continuous: a single node starts each worker as soon as it can; else LangGraph starts
            all that are ready, and the next ones when the last of those has ended.
    """

    async def director_node(state: State) -> State:
        turn = state.get("turn", 0) + 1
        tasks = state.get("tasks") or []
        if not tasks:
            tasks = await _make_plan(work, state["objective"])
        else:
            work.say("director", "looks at what is done")
            await agent.ask(work.model, agent.DIRECTOR, f"Turn {turn}.\n{agent.describe(tasks)}")
        await work.slow.pause(DIRECTOR)
        return {"turn": turn, "tasks": tasks if is_continuous else _start(tasks)}

    def route_after_director(state: State) -> Any:
        if is_continuous:
            return "dispatch" if plan.ready(state["tasks"]) else END
        active = [t for t in state["tasks"] if t["status"] == plan.ACTIVE]
        return [Send("worker", task) for task in active] or END

    async def worker_node(state: Any) -> State:
        task: Task = state  # a `Send` hands each worker its task, not the graph's state
        return {"tasks": [await _do(work, task, after=())]}

    async def dispatch_node(state: State) -> State:
        merged = {t["id"] for t in state["tasks"] if t["merged"]}

        async def do(task: Task) -> Task:
            return await _do(work, task, after=[d for d in task["depends_on"] if d not in merged])

        return {"tasks": await dispatch(state["tasks"], work.slots, do)}

    async def strategist_node(state: State) -> State:
        work.say("strategist", "judges and merges")
        await agent.ask(work.model, agent.STRATEGIST, agent.describe(state["tasks"]))
        changed = [await _settle(work, task) for task in state["tasks"] if not task["merged"]]
        return {"tasks": [task for task in changed if task is not None]}

    graph = StateGraph(State)
    graph.add_node("director", director_node)
    workers = "dispatch" if is_continuous else "worker"
    graph.add_node(workers, dispatch_node if is_continuous else worker_node)
    graph.add_node("strategist", strategist_node)
    graph.add_edge(START, "director")
    graph.add_conditional_edges("director", route_after_director, [workers, END])
    graph.add_edge(workers, "strategist")
    graph.add_edge("strategist", "director")
    return graph.compile(name="orchestrator")


def _start(tasks: list[Task]) -> list[Task]:
    return plan.merge(tasks, [plan.started(t) for t in plan.ready(tasks)])


async def _do(work: Work, task: Task, after: Sequence[str]) -> Task:
    """Do a task in a worktree of its own; return how it ended."""

    def say(what: str) -> None:
        work.say(task["id"], what)

    say("begins")
    try:
        worktree = await work.repository.create_worktree(task["id"], after)
    except GitError as error:
        if not after:
            raise
        say("failed")  # what it builds on does not fit together
        return Task(id=task["id"], status=plan.FAILED, summary=str(error))
    await work.slow.pause(task["id"])
    briefing = await agent.brief(work.model, work.repository)
    summary = await agent.execute_react_loop(work.model, task, briefing, worktree, say)
    say("commits")
    committed = await work.repository.commit_changes(worktree, f"{task['id']}: {task['title']}")
    passed = True
    if task["test"]:
        passed, _ = await run_tests(worktree, task["test"])
    status = plan.DONE if committed and passed else plan.FAILED
    say("done" if status == plan.DONE else "failed")
    return Task(id=task["id"], status=status, summary=summary)


async def _make_plan(work: Work, objective: str) -> list[Task]:
    work.say("director", "makes the plan")
    request = (
        f"Objective: {objective}\nFiles:\n{agent.files_of(work.repository)}\n"
        "Answer with a JSON list of small independent tasks, each with id (a short word), title"
        " and depends_on (a list of ids)."
    )
    answer = await agent.ask(work.model, agent.DIRECTOR, request)
    try:
        proposed = plan.from_json(answer)
    except (ValueError, KeyError, TypeError):
        return work.tasks
    known = {t["id"]: t for t in work.tasks}
    # Of a shipped task we know more than the Director says: where it is, and how it is tested.
    return [Task(**{**known.get(t["id"], t), "depends_on": t["depends_on"]}) for t in proposed]


async def _settle(work: Work, task: Task) -> Task | None:
    """Merge what is done; plan again what failed, if it may be tried once more."""
    if task["status"] == plan.DONE:
        try:
            await work.repository.merge_task(task["id"])
        except GitError:
            await work.repository.abort_merge(task["id"])
        else:
            return Task(id=task["id"], merged=True)
    elif task["status"] != plan.FAILED:
        return None
    attempts = task["attempts"] + 1
    again = plan.PLANNED if attempts < _ATTEMPTS else plan.FAILED
    return Task(id=task["id"], status=again, attempts=attempts, merged=again == plan.FAILED)
