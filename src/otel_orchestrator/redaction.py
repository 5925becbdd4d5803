"""What is secret is taken out of every text before it leaves the process.

    text("could not connect with sk-proj-abcdefgh12345678")   # could not connect with [redacted]
    value("http.request.header.authorization", "Basic dTpw")  # [redacted]

These are the rules alone. Every way out goes through them: run files, OTLP, metrics and live lines
(`delivery.clean`), log lines (`_guard`), this package's own spans (`spans`), recorded prompts
(`content`). Of what matches only the secret goes; what stands around it stays readable.

Known are the formats of tokens that their issuers publish (https://github.com/gitleaks/gitleaks
collects them), credentials in URLs and headers, and what is assigned to a name such as `password`.
A secret that looks like a word, where nothing says what it is, nobody can know: for those are rules
and names of one's own, see `use`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from operator import is_
from typing import Any, Final

from ._guard import log_once_a_minute, logger
from .errors import OrchestratorError

MASK: Final = "[redacted]"

Rule = str | Callable[[str], str]
"""A regular expression, every match of which is secret, or a function from a text to a text."""

_SHORTEST: Final = 8
_CACHED_LENGTH: Final = 256
_CACHED_AT_MOST: Final = 4_096
_DEEPEST: Final = 16

# --- tokens that are known by how they begin ---

_PART: Final = r"[\w-]"
_WITH_DIGIT: Final = r"(?=[\w-]{0,200}\d)"  # words may begin like that, too: "sk-learn-compatible"
_KEY_BEGINS, _KEY, _KEY_ENDS = "-----BEGIN ", "PRIVATE KEY", "-----END "
_TOKENS: Final = {
    "sk-": rf"{_WITH_DIGIT}{_PART}{{16,}}",  # OpenAI, Anthropic, OpenRouter, Langfuse
    **{f"{kind}_": rf"{_PART}{{10,}}" for kind in ("sk_live", "sk_test", "rk_live")},  # Stripe
    "whsec_": rf"{_PART}{{16,}}",
    **{f"gh{kind}_": r"[A-Za-z0-9]{16,}" for kind in "pousr"},  # GitHub
    "github_pat_": r"\w{16,}",
    **{f"gl{kind}-": rf"{_PART}{{16,}}" for kind in ("pat", "dt", "ptt", "rt")},  # GitLab
    **{f"{kind}IA": r"[A-Z0-9]{16}(?![A-Za-z0-9])" for kind in ("AK", "AS")},  # AWS
    "AIza": rf"{_PART}{{30,}}",  # Google
    "GOCSPX-": rf"{_PART}{{16,}}",
    "ya29.": rf"{_PART}{{16,}}",
    "xox": rf"[a-z]-{_WITH_DIGIT}{_PART}{{8,}}",  # Slack
    "xapp-": rf"{_WITH_DIGIT}{_PART}{{16,}}",
    "hooks.slack.com/services/": r"[\w/]{16,}",
    "hf_": r"[A-Za-z0-9]{16,}",  # Hugging Face
    "npm_": r"[A-Za-z0-9]{30,}",
    "pypi-": rf"{_PART}{{32,}}",
    "gsk_": r"[A-Za-z0-9]{16,}",  # Groq
    "xai-": r"[A-Za-z0-9]{32,}",
    "pplx-": r"[A-Za-z0-9]{32,}",  # Perplexity
    "tvly-": rf"{_WITH_DIGIT}{_PART}{{16,}}",  # Tavily
    "lsv2_": r"\w{16,}",  # LangSmith
    "r8_": r"[A-Za-z0-9]{30,}",  # Replicate
    "dapi": r"[a-f0-9]{32}",  # Databricks
    "dop_v1_": r"[a-f0-9]{32,}",  # DigitalOcean
    "dckr_pat_": rf"{_PART}{{16,}}",  # Docker
    "hvs.": rf"{_PART}{{16,}}",  # Vault
    "SG.": rf"{_PART}{{16,}}\.{_PART}{{16,}}",  # SendGrid
    "eyJ": rf"{_PART}{{8,}}\.{_PART}{{8,}}(?:\.{_PART}*)?",  # a JWT
    _KEY_BEGINS: r"[A-Z0-9 ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z0-9 ]*KEY[A-Z ]*-----|\Z)",
}
# No part of a longer word. The beginning comes first: it is searched for as a whole.
_KNOWN: Final = tuple(
    (
        beginning,
        re.compile(
            rf"{re.escape(beginning)}(?<![A-Za-z0-9]{re.escape(beginning)}){rest}", re.ASCII
        ),
    )
    for beginning, rest in _TOKENS.items()
)

# --- what is secret because of what stands before it: found in lower case ---

_NAMES: Final = (
    r"pass(?:[_-]?word|wd|phrase)|pwd(?!=/)|secret|token|credentials?"
    r"|(?:api|access|account|private|secret|signing|auth|encryption|subscription)[_-]?key"
)
_HEADERS: Final = "authorization|cookie"
# JSON within JSON has backslashes before its quotes.
_QUOTE: Final = r"\\*[\"']"
_QUOTED: Final = rf"b?(?P<quote>{_QUOTE})(?P<text>(?:(?!(?P=quote))(?:\\.|[^\n]))*)"
_ASSIGNED: Final = re.compile(
    rf"(?:{_NAMES})(?P<closing>{_QUOTE})?[ \t]{{0,3}}(?P<sign>==?|=>|:=?|,)[ \t]{{0,3}}"
    rf"(?:{_QUOTED}|(?P<bare>[^\s\"'\\&;<>`]+))"
)
_HEADER: Final = re.compile(
    rf"(?:{_HEADERS})(?:{_QUOTE})?[ \t]{{0,3}}[:=,][ \t]{{0,3}}"
    rf"(?:{_QUOTED}|(?P<bare>[^\r\n\"'\\]+))"
)
_OPTION: Final = re.compile(
    rf"--(?:[\w-]{{0,40}}[_-])?(?:{_NAMES})[ \t]+(?P<bare>[^\s\"'\\-][^\s\"'\\]*)"
)
_SCHEME: Final = re.compile(
    r"bearer[ \t]+(?P<bare>(?:(?=[\w.~+/-]{0,200}\d)[\w.~+/-]{8,}|[\w.~+/-]{20,})=*)"
    r"|basic[ \t]+(?P<text>[a-z0-9+/]{6,}=*)"
)
# Behind https:// a lone name may be a token; in ssh://git@host it is not.
_USERINFO: Final = re.compile(
    r"://(?:(?P<bare>[^/\s:@\"'\\?#]*:[^/\s\"'\\?#]*)|(?<=https://)(?P<text>[^/\s:@\"'\\?#]+))@"
)
_QUERY: Final = re.compile(
    r"[?&](?:key|sig|code|auth|jwt|sas|signature|awsaccesskeyid|x-(?:amz|goog)-[a-z-]+)="
    r"(?P<bare>[^&\s\"'\\#]+)"
)
# Each with words of which one has to be in a text for it to match: that is found much faster.
_CONTEXTS: Final = (
    (("pass", "pwd", "secret", "token", "credential", "key"), _ASSIGNED),
    (("authorization", "cookie"), _HEADER),
    (("--",), _OPTION),
    (("bearer", "basic"), _SCHEME),
    (("://",), _USERINFO),
    (("?",), _QUERY),
)
_DONE: Final = ("", MASK, MASK[:-1])
_NO_SECRET: Final = re.compile(r"(?:\d{1,4}|true|false|null|none)[,)\]}]*", re.IGNORECASE)
_MIXED: Final = re.compile(r"\d|=|[a-z][A-Z]")
# Names of attributes. The last word counts, so `gen_ai.token.type` is none.
_SECRET_KEY: Final = re.compile(rf"(?:.*[._-])?(?:{_NAMES}|{_HEADERS})", re.IGNORECASE)
_SECRET_KEY_IN_CAPITALS: Final = re.compile(r".*[a-z](?:Password|Passwd|Secret|Token|Key|Cookie)")
_SECRET_OPTION: Final = re.compile(rf"--?(?:[\w-]*[_-])?(?:{_NAMES})", re.IGNORECASE)

# --- rules of the user's own ---

_is_on = True
_patterns: tuple[re.Pattern[str], ...] = ()
_functions: tuple[Callable[[str], str], ...] = ()
_names: re.Pattern[str] | None = None


def use(
    redact: Rule | Iterable[Rule] | bool | None = None, names: Iterable[str] | None = None
) -> None:
    """Say what is secret besides what everybody knows to be; this replaces what was said before.

    Args:
        redact: rules; False switches all redaction off, also what is built in.
        names: names of attributes whose values are secret, with `*` for anything.

    Raises:
        OrchestratorError: a rule or a name is none; the message says what to type.
    """
    global _is_on, _patterns, _functions, _names
    rules = [] if redact is None or isinstance(redact, bool) else _listed(redact)
    patterns = tuple(_pattern(rule) for rule in rules if isinstance(rule, str))
    functions = tuple(rule for rule in rules if not isinstance(rule, str))
    for function in functions:
        if not callable(function):
            raise OrchestratorError(
                f"configure(redact={function!r}): type a regular expression, a function from a"
                " text to a text, or a list of these"
            )
    wanted = [] if names is None or isinstance(names, str) else [*names]
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in wanted):
        raise OrchestratorError(
            "configure(redact_names=...): type a list of attribute names, such as"
            " ['customer.email', 'billing.*']"
        )
    compiled = re.compile("|".join(map(translate, wanted))) if wanted else None
    _is_on, _patterns, _functions, _names = redact is not False, patterns, functions, compiled
    for cache in (_remembered, _remembered_value, _is_secret):
        cache.cache_clear()


def _listed(redact: Rule | Iterable[Rule]) -> list[Any]:
    return [redact] if isinstance(redact, str) or not isinstance(redact, Iterable) else [*redact]


def _pattern(rule: str) -> re.Pattern[str]:
    try:
        found = re.compile(rule)
    except re.error as error:
        raise OrchestratorError(
            f"configure(redact={rule!r}): that is no regular expression ({error}). Put \\ before"
            " what is meant as it stands, or use re.escape()"
        ) from None
    if found.search("") is not None:
        raise OrchestratorError(
            f"configure(redact={rule!r}): it matches nothing at all, and so would be found"
            " everywhere. Type + for *, so that there is at least one character"
        )
    return found


# --- what is asked ---


class Clean(str):
    """A text out of which everything secret has been taken: nobody needs to look again."""

    __slots__ = ()


def text(given: str) -> str:
    """Return a text without what is secret in it; the very same one if nothing is."""
    if len(given) < _SHORTEST and not (_patterns or _functions):
        return given
    clean = _remembered(given) if len(given) <= _CACHED_LENGTH else _redacted(given)
    return given if clean == given else clean


def value(name: str, given: Any) -> Any:
    """Return the value of an attribute without what is secret in it.

    Args:
        name: the attribute's; of some, whatever they say is secret.
        given: a text, bytes, or sequences and mappings of them; anything else stays as it is.
    """
    kind = type(given)
    if kind is str and len(given) <= _CACHED_LENGTH:
        clean = _remembered_value(name, given)
        return given if clean == given else clean
    if kind is bool or kind is int or kind is float or given is None:
        return given
    return MASK if is_secret(name) else _value(given, 0)


def is_secret(name: str) -> bool:
    """Return whether whatever an attribute of this name says is secret."""
    return _is_on and _is_secret(name)


def pairs(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return attributes without what is secret in them; the very same ones if nothing is."""
    for name, item in given.items():
        if value(name, item) is not item:
            return {name: value(name, item) for name, item in given.items()}
    return given


def _value(given: Any, depth: int) -> Any:
    kind = type(given)
    if kind is str:
        return text(given)
    if kind is bool or kind is int or kind is float or given is None:
        return given
    return _compound(given, depth)


def _compound(given: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return MASK
    if isinstance(given, bytes):
        shown = given.decode("latin-1")
        clean = text(shown)
        return given if clean is shown else clean.encode("latin-1", "replace")
    if isinstance(given, Mapping):
        return {
            name: MASK if is_secret(name) and item is not None else _value(item, depth + 1)
            for name, item in given.items()
        }
    if isinstance(given, Sequence) and not isinstance(given, str):
        return _values(given, depth)
    return text(str(given)) if isinstance(given, str) and type(given) is not Clean else given


def _values(given: Sequence[Any], depth: int) -> Sequence[Any]:
    # A program's arguments: `--password` may be one, and the password the next. Or the lines of a
    # private key.
    done: list[Any] = []
    goes_on = ""
    for item in given:
        done.append(MASK if goes_on and isinstance(item, str) else _value(item, depth + 1))
        if _is_on and type(item) is str:
            if _SECRET_OPTION.fullmatch(item):
                goes_on = "option"
            elif goes_on == "option" or _KEY_ENDS in item:
                goes_on = ""
            elif _KEY_BEGINS in item and _KEY in item:
                goes_on = "key"
    return given if all(map(is_, done, given)) else done


@lru_cache(maxsize=_CACHED_AT_MOST)
def _is_secret(name: str) -> bool:
    return any(
        names is not None and names.fullmatch(name)
        for names in (_SECRET_KEY, _SECRET_KEY_IN_CAPITALS, _names)
    )


@lru_cache(maxsize=_CACHED_AT_MOST)
def _remembered_value(name: str, given: str) -> str:
    return MASK if is_secret(name) else text(given)


@lru_cache(maxsize=_CACHED_AT_MOST)
def _remembered(given: str) -> str:
    return _redacted(given)


def _redacted(given: str) -> str:
    if not _is_on:
        return given
    clean = given
    for beginning, pattern in _KNOWN:
        if beginning in clean:
            clean = pattern.sub(MASK, clean)
    lower = _lower(clean)
    for words, pattern in _CONTEXTS:
        for word in words:
            if word in lower:
                clean = _masked(pattern, clean, lower)
                lower = _lower(clean)
                break
    for pattern in _patterns:
        clean = pattern.sub(MASK, clean)
    for function in _functions:
        clean = _by(function, clean)
    return clean


def _lower(given: str) -> str:
    """Return a text in lower case, each character where it was."""
    lower = given.lower()
    if len(lower) == len(given):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in given)


def _masked(pattern: re.Pattern[str], given: str, lower: str) -> str:
    """Return a text with the mask in place of each secret that a pattern finds."""
    done, at = [], 0
    for match in pattern.finditer(lower):
        found = match.groupdict()
        start, end = match.span("bare" if found["bare"] is not None else "text")
        secret = given[start:end]
        if found["bare"] is not None:
            secret = secret.rstrip(",)]}")
        if secret not in _DONE and _holds(pattern, found, secret):
            done += [given[at:start], MASK]
            at = start + len(secret)
    return "".join([*done, given[at:]]) if done else given


def _holds(pattern: re.Pattern[str], found: Mapping[str, str | None], secret: str) -> bool:
    if pattern is _ASSIGNED:
        return _is_assigned(found, secret)
    # "basic dXNlcjpwYXNz", but not "basic understanding"
    return pattern is not _SCHEME or found["bare"] is not None or bool(_MIXED.search(secret))


def _is_assigned(found: Mapping[str, str | None], secret: str) -> bool:
    """Return whether a text says that a name has a value, rather than something about the name."""
    sign, is_closed = found["sign"], found["closing"] is not None
    if sign == ",":  # ("x-api-key", "…"), as requests' headers are often shown; not lists of names
        return is_closed and len(secret) >= 8 and not secret.isidentifier()
    if found["bare"] is None:
        return True
    if _NO_SECRET.fullmatch(secret):
        return False
    # "password: hunter2", but not "password: must be long"
    return sign != ":" or is_closed or (len(secret) >= 5 and not secret.rstrip(".!?").isalpha())


def _by(function: Callable[[str], str], given: str) -> str:
    try:
        clean: Any = function(given)
    except Exception as error:
        # Not its message, which may quote what it was to hide.
        _complain(f"raised {type(error).__name__}")
        return MASK
    if not isinstance(clean, str):
        _complain(f"returned no text but {type(clean).__name__}")
        return MASK
    return str(clean)


def _complain(what: str) -> None:
    log_once_a_minute(
        what, "redact() %s: what it was to look at is not recorded. The program goes on", what
    )


class _LogFilter(logging.Filter):
    """Takes what is secret out of this package's log lines, and of the errors they show."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = text(record.getMessage()), None
        if record.exc_info:
            shown = record.exc_text or logging.Formatter().formatException(record.exc_info)
            # The error itself would tell other handlers what its text no longer says.
            record.exc_text, record.exc_info = text(shown), None
        return True


logger.addFilter(_LogFilter())
