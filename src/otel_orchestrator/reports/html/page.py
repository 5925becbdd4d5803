"""Putting a page together: template, styles, scripts and data in one file that asks for nothing.

Nothing of the data is ever code: it stands in one block of JSON in which no tag can end or begin,
scripts put it on the page as text only, and the page's own policy lets nothing run but the very
scripts that are written here, and nothing be fetched from anywhere.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any


def page(
    title: str, data: Mapping[str, Any], styles: Sequence[str], scripts: Sequence[str], text: str
) -> str:
    """Return a page.

    Args:
        title: of the page.
        data: what the scripts show.
        styles, scripts: their names, in order.
        text: the same for people without scripts, and for screen readers.
    """
    style = "\n".join(_resource(f"css/{name}.css") for name in styles)
    script = "\n".join(_resource(f"js/{name}.js") for name in scripts)
    script = f'(() => {{\n"use strict";\n{script}}})();\n'
    parts = {
        "policy": _policy(style, script),
        "title": escape(title),
        "style": style,
        "data": embedded(data),
        "script": script,
        "text": escape(text),
    }
    pieces = _resource("template.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    # A half of a surrogate pair, from a name that was cut, is no character: no file can hold it.
    return "".join(filled).encode("utf-8", "replace").decode("utf-8")


def embedded(data: Mapping[str, Any]) -> str:
    """Return data as JSON that HTML reads as text, whatever is in it.

    It is ASCII, so that neither U+2028 nor half a surrogate pair is in it; without `<` and `&`
    nothing in it is a tag, a comment or an entity.
    """
    text = json.dumps(data, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def _resource(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")
