"""Prompts and answers on spans: off unless asked for, redacted, and cut to a size.

Nothing is encoded beyond the cap: texts are cut first, the latest messages are kept. But what is
secret is taken out before that, for half of a token does not look like one any more.
The format is that of the GenAI conventions: a list of messages, each a role and parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from .. import redaction
from .._guard import guarded
from ..semconv import Attr
from .parts import get

VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
DEFAULT_MAX_BYTES: Final = 16_384

TEXT: Final = "text"
REASONING: Final = "reasoning"

_SPARE: Final = 4096
_ON: Final = frozenset({"true", "1", "span_only", "span_and_event"})

Redact = Callable[[str], str]
Message = Mapping[str, Any]

_captured = False
_is_chosen = False
_max_bytes = DEFAULT_MAX_BYTES
_redact: Redact | None = None


def use(
    capture: bool | None = None, *, max_bytes: int | None = None, redact: Redact | None = None
) -> None:
    """Say whether prompts and answers are recorded; None leaves that to the environment."""
    global _captured, _is_chosen, _max_bytes, _redact  # noqa: PLW0603 - one for the process
    asked = os.environ.get(VARIABLE, "").strip().lower() in _ON
    _is_chosen = any(given is not None for given in (capture, max_bytes, redact))
    _captured = asked if capture is None else bool(capture)
    _max_bytes = DEFAULT_MAX_BYTES if max_bytes is None else max(0, int(max_bytes))
    _redact = redact


def use_environment() -> None:
    """Leave it to the environment, unless it was said in code."""
    if not _is_chosen:
        use()


def is_captured() -> bool:
    """Return whether prompts and answers are recorded."""
    return _captured


class Prompt:
    """What is sent: messages, and instructions that stand apart from them."""

    __slots__ = ("_instructions", "_messages")

    def __init__(self, messages: Any, instructions: Any = None) -> None:
        self._messages = messages
        self._instructions = instructions

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the attributes for the span."""
        values: dict[str, AttributeValue] = {}
        messages = [{"role": _role(m), "parts": _parts(m)} for m in _listed(self._messages)]
        text, is_cut = _encode(messages)
        if messages:
            values[Attr.INPUT_MESSAGES] = text
        if self._instructions is not None:
            told, is_cut_too = _encode(_parts({"content": self._instructions}))
            values[Attr.SYSTEM_INSTRUCTIONS] = told
            is_cut = is_cut or is_cut_too
        if is_cut:
            values[Attr.CONTENT_TRUNCATED] = True
        return values


class Answer:
    """What comes back, gathered piece by piece, never more of it than is going to be recorded."""

    __slots__ = ("_is_cut", "_latest", "_messages", "_room", "_streamed")

    def __init__(self) -> None:
        self._streamed: dict[Any, tuple[Message, list[str]]] = {}
        self._latest: Any = None
        self._messages: list[Message] = []
        self._room = _max_bytes + _SPARE  # so that `redact` sees what a cut would go through
        self._is_cut = False

    def piece(self, text: Any, kind: str = TEXT) -> None:
        """Add a piece of a streamed text, or of the model's reasoning."""
        if isinstance(text, str) and text:
            self._add(kind, {"type": kind}, text)

    def piece_of_call(self, index: Any, call_id: Any, name: Any, arguments: Any) -> None:
        """Add a piece of a streamed tool call, which only the first names."""
        if index is None:  # whole calls, or more of the latest
            index = self._latest if call_id is None else call_id
        self._latest = index
        part = {"type": "tool_call", "id": call_id, "name": name}
        self._add(("tool_call", index), part, arguments if isinstance(arguments, str) else "")

    def _add(self, key: Any, part: Message, text: str) -> None:
        if self._room <= 0:
            self._is_cut = True
            return
        pieces = self._streamed.setdefault(key, (part, []))[1]
        pieces.append(text)
        self._room -= len(text)

    def message(self, message: Any, reason: Any = None) -> None:
        """Add a whole message, and why the model stopped after it."""
        self._messages.append(_answered(_parts(message), reason))

    def attributes(self, reasons: Any = None) -> dict[str, AttributeValue]:
        """Return the attributes for the span.

        Args:
            reasons: why the model stopped, as a streamed answer said at its end.
        """
        values: dict[str, AttributeValue] = {}
        with guarded("recording an answer"):
            messages = list(self._messages)
            if self._streamed and not messages:
                parts = [_joined(part, pieces) for part, pieces in self._streamed.values()]
                messages = [_answered(parts, reasons[-1] if reasons else None)]
            if messages:
                text, is_cut = _encode(messages)
                values[Attr.OUTPUT_MESSAGES] = text
                if is_cut or self._is_cut:
                    values[Attr.CONTENT_TRUNCATED] = True
        return values


def _joined(part: Message, pieces: list[str]) -> Message:
    name = "arguments" if part["type"] == "tool_call" else "content"
    return {**part, name: "".join(pieces)}


def _answered(parts: list[Any], reason: Any) -> Message:
    message: Message = {"role": "assistant", "parts": parts}
    return {**message, "finish_reason": reason} if isinstance(reason, str) else message


def _listed(messages: Any) -> Iterable[Any]:
    if hasattr(messages, "to_messages"):
        messages = messages.to_messages()
    if isinstance(messages, str) or not isinstance(messages, list | tuple):
        return [{"role": "user", "content": messages}] if messages is not None else []
    flat: list[Any] = []
    for item in messages:
        flat.extend(item if isinstance(item, list | tuple) else [item])
    return flat


# What OpenAI's Responses have besides messages.
_ITEM_ROLES: Final = {
    "function_call": "assistant",
    "reasoning": "assistant",
    "function_call_output": "tool",
}
_ROLES: Final = {"human": "user", "ai": "assistant", **_ITEM_ROLES}


def _role(message: Any) -> str:
    role = get(message, "role") or get(message, "type") or "user"
    return _ROLES.get(str(role), str(role))


def _parts(message: Any) -> list[dict[str, Any]]:
    if isinstance(message, str):
        return [{"type": TEXT, "content": message}]
    told = get(message, "content")
    if "tool" in (get(message, "role"), get(message, "type")):
        return [_returned(get(message, "tool_call_id"), told)]
    parts: list[dict[str, Any]] = []
    if told is None and get(message, "type") in _ITEM_ROLES:
        return [_part(message)]
    for block in told if isinstance(told, list | tuple) else [told]:
        if isinstance(block, str):
            parts.append({"type": TEXT, "content": block})
        elif get(block, "type") == "message":
            parts.extend(_parts(block))
        elif block is not None:
            parts.append(_part(block))
    for call in get(message, "tool_calls") or ():
        function = get(call, "function") or call
        arguments = get(function, "arguments") or get(function, "args")
        parts.append(_called(get(call, "id"), get(function, "name"), arguments))
    return parts


def _part(block: Any) -> dict[str, Any]:
    kind = str(get(block, "type") or TEXT)
    if kind == "function_call":
        return _called(get(block, "call_id"), get(block, "name"), get(block, "arguments"))
    if kind == "function_call_output":
        return _returned(get(block, "call_id"), get(block, "output"))
    if kind == "tool_use":
        return _called(get(block, "id"), get(block, "name"), get(block, "input"))
    if kind == "tool_result":
        return _returned(get(block, "tool_use_id"), get(block, "content"))
    for name in ("text", "thinking", "reasoning", "refusal"):
        if isinstance(text := get(block, name), str):
            return {"type": TEXT if name == "text" else REASONING, "content": text}
    return {"type": kind}  # images, audio and files are named and never recorded


def _called(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": _dumped(arguments)}


def _returned(call_id: Any, response: Any) -> dict[str, Any]:
    if isinstance(response, list | tuple):
        response = [block if isinstance(block, str) else _part(block) for block in response]
    return {"type": "tool_call_response", "id": call_id, "response": _dumped(response)}


def _dumped(value: Any) -> str:
    return (
        value if isinstance(value, str) else json.dumps(value, default=lambda o: type(o).__name__)
    )


def _encode(items: list[Any]) -> tuple[str, bool]:
    """Return items as JSON within the cap, the last ones first, and whether that cut something."""
    room, is_cut = _max_bytes, False
    kept: list[Any] = []
    for item in reversed(items):
        if room <= 0:
            is_cut = True
            break
        fitted, room, cut_here = _fitted(item, room)
        is_cut = is_cut or cut_here
        kept.append(fitted)
    kept.reverse()
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    while len(text.encode()) > _max_bytes and kept:  # what JSON itself takes: names, quotes
        is_cut = True
        del kept[0]
        text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    return redaction.Clean(text), is_cut


# What a part takes besides its text: names, quotes, commas.
_OVERHEAD: Final = 28


def _redacted(text: str, room: int) -> tuple[str, bool]:
    """Return what is to be recorded of a text, with some to spare, and whether that is not all."""
    if _redact is not None:
        text = _by(_redact, text)
    longest = max(0, room) + _SPARE
    return redaction.text(text[:longest]), len(text) > longest


def _by(redact: Redact, text: str) -> str:
    try:
        clean = redact(text)
    except Exception as error:
        # Its message may quote what it was to hide, and our log line would then quote it.
        raise ValueError(f"redact() raised {type(error).__name__}") from None
    if not isinstance(clean, str):
        raise TypeError("redact() has to return a string")
    return clean


def _fitted(value: Any, room: int) -> tuple[Any, int, bool]:
    if isinstance(value, str):
        clean, is_more = _redacted(value, room)
        # Enough of it for every escape that JSON could need to be within the cap by far.
        cut = clean[: max(0, room)]
        while len(json.dumps(cut, ensure_ascii=False).encode()) - 2 > room and cut:
            cut = cut[: len(cut) * 3 // 4]
        return cut, room - len(cut.encode()), is_more or len(cut) < len(clean)
    if isinstance(value, Mapping):
        room, is_cut, fitted = room - _OVERHEAD, False, {}
        for key, item in value.items():
            if key in ("content", "arguments", "response", "parts"):
                fitted[key], room, cut_here = _fitted(item, room)
                is_cut = is_cut or cut_here
            elif item is not None:
                fitted[key] = redaction.text(str(item)[:_SPARE])
        return fitted, room, is_cut
    if isinstance(value, list):
        items, is_cut = [], False
        for item in value:
            fitted_item, room, cut_here = _fitted(item, room)
            items.append(fitted_item)
            is_cut = is_cut or cut_here
        return items, room, is_cut
    return value, room, False
