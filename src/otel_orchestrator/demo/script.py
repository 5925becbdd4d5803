"""What the local LLM says: the Director's plan, the workers' tool calls, the Strategist's words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from . import plan

Message = dict[str, Any]


def answer_to(messages: list[Message], tasks: Mapping[str, Any]) -> Message:
    """Return the next message of a conversation, as a pure function of what was said so far."""
    system = _text(messages[0]) if messages else ""
    if "Director" in system:
        return _director(messages)
    if "Strategist" in system:
        return _say("Everything that passed its tests can be merged. What failed is tried again.")
    if system.startswith("You brief"):
        return _say("Each subject has a module in shop/ and a test in tests/. Edits stay small.")
    named = re.search(r"Task (\S+):", " ".join(_text(m) for m in messages if m["role"] == "user"))
    task = tasks.get(named.group(1)) if named else None
    if task is None:
        return _say("This is a local stand-in for an LLM: it only knows the shipped tasks.")
    return _coder(messages, task)


def _director(messages: list[Message]) -> Message:
    if "Objective:" in _text(messages[-1]):
        return _say("Here is the plan: " + plan.as_json(plan.shipped_tasks()))
    return _say("Good. The tasks whose dependencies are merged can start now, the others wait.")


def _coder(messages: list[Message], task: Mapping[str, Any]) -> Message:
    """Read, edit, test, tell; a slow task looks around and thinks first."""
    turn = sum(1 for m in messages if m["role"] == "assistant")
    edit = {"path": task["module"], "old": task["edit"]["old"], "new": task["edit"]["new"]}
    test = ("run_the_tests", {"name": task["test"]})
    steps: list[tuple[str, dict[str, str]]] = [
        ("read_file", {"path": task["module"]}),
        ("edit_file", edit),
        test,
    ]
    thought = ""
    if task.get("slow"):
        test_file = task["test"].replace(".", "/") + ".py"
        looking = [("list_files", {}), ("read_file", {"path": test_file}), test]
        steps = [
            *looking,
            *(("read_file", {"path": f"shop/{m}.py"}) for m in ("calendar", "money")),
        ]
        steps += [("read_file", {"path": task["module"]}), ("edit_file", edit), test]
        thought = "Let me think about what this depends on before I touch anything. " * 3
    if turn < len(steps):
        name, arguments = steps[turn]
        return _call(task["id"], turn, name, arguments, thought)
    return _say(f"{task['title']}: changed {task['module']}, and its tests pass now.")


def _say(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _call(task_id: str, turn: int, name: str, arguments: dict[str, str], thought: str) -> Message:
    call_id = "call_" + hashlib.sha256(f"{task_id}:{turn}".encode()).hexdigest()[:16]
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": thought.strip() or None, "tool_calls": [call]}


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
