"""Secrets of every kind for every place, each with a part by which it is found again."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Final

MARKER: Final = "harmless"
"""Stands beside every secret, and is to stay: so a test knows that the place is recorded at all."""


def core_of(kind: str, place: str) -> str:
    """Return what is secret of a secret: 40 characters that are found in nothing else."""
    return hashlib.sha256(f"{kind} in {place}".encode()).hexdigest()[:40]


def _jwt(core: str) -> str:
    return f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI{core}.{core[::-1]}"


def _basic(core: str) -> str:
    return "Authorization: Basic " + urlsafe_b64encode(f"user:{core}".encode()).decode()


# In words without spaces, as a branch or a path may have them.
TOKENS: Final[Mapping[str, Callable[[str], str]]] = {
    "OpenAI key": lambda core: f"sk-proj-{core}",
    "Anthropic key": lambda core: f"sk-ant-api03-{core}",
    "Stripe key": lambda core: f"sk_live_{core}",
    "GitHub token": lambda core: f"ghp_{core[:36]}",
    "GitHub fine-grained token": lambda core: f"github_pat_11{core}_{core}",
    "GitLab token": lambda core: f"glpat-{core[:20]}",
    "AWS key id": lambda core: f"AKIA{core[:16].upper()}",
    "Google key": lambda core: f"AIza{core[:35]}",
    "Slack token": lambda core: f"xoxb-1234567890-{core}",
    "npm token": lambda core: f"npm_{core[:36]}",
    "Hugging Face token": lambda core: f"hf_{core[:34]}",
    "LangSmith key": lambda core: f"lsv2_pt_{core}",
    "JWT": _jwt,
}
# What is secret because of what is around it.
PHRASES: Final[Mapping[str, Callable[[str], str]]] = {
    "private key": lambda core: (
        f"-----BEGIN RSA PRIVATE KEY-----\n{core}\n{core}\n-----END RSA PRIVATE KEY-----"
    ),
    "user and password in a URL": lambda core: f"postgres://user:{core}@db.example/x",
    "token in a URL": lambda core: f"https://{core}@git.example/x.git",
    "bearer token": lambda core: f"Authorization: Bearer {core}",
    "basic authorization": _basic,
    "password in a query": lambda core: f"https://api.example/x?a=1&password={core}",
    "key in a query": lambda core: f"https://maps.example/x?key={core}",
    "connection string": lambda core: f"Server=db;User=sa;Password={core};Encrypt=yes",
    "environment": lambda core: f"AWS_SECRET_ACCESS_KEY={core}",
    "JSON": lambda core: f'{{"user": "x", "api_key": "{core}"}}',
    "header": lambda core: f"x-api-key: {core}",
    "option": lambda core: f"run --token {core}",
    "cookie": lambda core: f"Cookie: theme=dark; session={core}",
}
KINDS: Final = {**TOKENS, **PHRASES}

PLACES: Final = """
    prompt, system instructions, history, answer, error of the model, tool argument, tool result,
    request header, response of a tool that fails, URL user, URL query, git remote, git argument,
    git config, git output, environment, resource, exception, chained exception, span attribute,
    list attribute, nested attribute, event, event attribute, status, link, span name, state,
    thread, task, wait, log line, worktree, branch, metric, scope
"""
PLACES_LIST: Final = tuple(" ".join(place.split()) for place in PLACES.split(","))


def text(place: str) -> str:
    """Return a text with one secret of every kind."""
    return "\n".join(f"{MARKER} {make(core_of(kind, place))}" for kind, make in KINDS.items())


def words(place: str) -> list[str]:
    """Return tokens without spaces, as names may have them."""
    return [make(core_of(kind, place)) for kind, make in TOKENS.items()]


def found_in(data: bytes) -> list[str]:
    """Return which secrets are in some bytes, however they are written."""
    lower = data.lower()
    return [
        f"{kind} in {place}"
        for place in PLACES_LIST
        for kind in KINDS
        if any(form in lower for form in _forms(core_of(kind, place)))
    ]


def _forms(core: str) -> list[bytes]:
    # Half of a secret is one, too; and what an authorization says is in base64.
    return [core[:16].encode(), urlsafe_b64encode(f"user:{core}".encode()).lower()[8:30]]
