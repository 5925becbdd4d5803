"""What is secret is taken out of every text before it leaves the process.

    text("could not connect with sk-proj-abcdefgh12345678")   # could not connect with [redacted]
    value("http.request.header.authorization", "Basic dTpw")  # [redacted]

These are the rules alone. Every way out goes through them: run files, OTLP, metrics and live lines
(`delivery.clean`), log lines (the filter below), this package's own spans (`lifecycle.spans`),
recorded prompts (`llm.content`). Of what matches only the secret goes; what stands around it stays
readable.

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
from .secret_patterns import (
    ANY_KEY,
    ANY_KEY_IN_CAPITALS,
    ASSIGNED,
    ASSIGNED_KEY,
    ASSIGNED_PASS,
    CONTEXTS,
    CURL_LOGIN,
    CURL_USER,
    KEY,
    KEY_BEGINS,
    KEY_ENDS,
    KNOWN,
    MIXED,
    NETRC,
    NO_PASS,
    NO_PASS_WORDS,
    NO_SECRET,
    RANDOM,
    SCHEME,
    SECRET_KEY,
    SECRET_KEY_IN_CAPITALS,
    SECRET_OPTION,
    SECRET_PASS,
    token,
)

MASK: Final = "[redacted]"
_DONE: Final = ("", MASK, MASK[:-1])

Rule = str | Callable[[str], str]
"""A regular expression, every match of which is secret, or a function from a text to a text."""

_SHORTEST: Final = 8
_CACHED_LENGTH: Final = 256
_CACHED_AT_MOST: Final = 4_096
_DEEPEST: Final = 16

# --- rules of the user's own ---

_is_on = True
_patterns: tuple[re.Pattern[str], ...] = ()
_functions: tuple[Callable[[str], str], ...] = ()
_names: re.Pattern[str] | None = None


def use(
    redact: Rule | Iterable[Rule] | bool | None = None,
    names: Iterable[str] | None = None,
    *,
    adds: bool = False,
) -> None:
    """Say what is secret besides what everybody knows to be; this replaces what was said before.

    Args:
        redact: rules; False switches all redaction off, also what is built in.
        names: names of attributes whose values are secret, with `*` for anything.
        adds: what was said before holds as well.

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
    wanted = [""] if isinstance(names, str | int | float) else [*(names or ())]
    if not all(isinstance(name, str) and name for name in wanted):
        raise OrchestratorError(
            "configure(redact_names=...): type a list of attribute names, such as"
            " ['customer.email', 'billing.*']"
        )
    is_on, expressions = redact is not False, list(map(translate, wanted))
    if adds:
        is_on = _is_on if redact is None else is_on
        patterns, functions = _patterns + patterns, _functions + functions
        expressions += [] if _names is None else [_names.pattern]
    compiled = re.compile("|".join(expressions)) if expressions else None
    _is_on, _patterns, _functions, _names = is_on, patterns, functions, compiled
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
    if _is_hidden(name, given):
        return MASK
    return given if kind is Clean else _value(given, 0)


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
            name: MASK if _is_hidden(name, item) else _value(item, depth + 1)
            for name, item in given.items()
        }
    if isinstance(given, Sequence) and not isinstance(given, str):
        return _values(given, depth)
    # Of a member of an enumeration str() is its name.
    return (
        text(str.__str__(given)) if isinstance(given, str) and type(given) is not Clean else given
    )


def _is_hidden(name: Any, item: Any) -> bool:
    if not isinstance(name, str):
        return False
    if is_secret(name):
        return item is not None
    return isinstance(item, str) and (_is_pass_named(name, item) or _is_key_named(name, item))


def _values(given: Sequence[Any], depth: int) -> Sequence[Any]:
    # A program's arguments: `--password` may be one, and the password the next. Or the lines of a
    # private key.
    done: list[Any] = []
    goes_on = ""
    is_curl = bool(given) and isinstance(given[0], str) and given[0].endswith("curl")
    for item in given:
        done.append(MASK if goes_on and isinstance(item, str) else _value(item, depth + 1))
        if _is_on and type(item) is str:
            if is_curl and CURL_LOGIN.fullmatch(item):
                done[-1] = MASK
            if SECRET_OPTION.fullmatch(item.lower()) or (is_curl and CURL_USER.fullmatch(item)):
                goes_on = "option"
            elif goes_on == "option" or KEY_ENDS in item:
                goes_on = ""
            elif KEY_BEGINS in item and KEY in item:
                goes_on = "key"
    return given if all(map(is_, done, given)) else done


@lru_cache(maxsize=_CACHED_AT_MOST)
def _is_secret(name: str) -> bool:
    return bool(
        SECRET_KEY.fullmatch(name.lower())
        or SECRET_KEY_IN_CAPITALS.fullmatch(name)
        or (_names is not None and _names.fullmatch(name))
    )


@lru_cache(maxsize=_CACHED_AT_MOST)
def _remembered_value(name: str, given: str) -> str:
    return MASK if _is_hidden(name, given) else text(given)


def _is_pass_named(name: str, given: str) -> bool:
    return _says_pass(name) and _is_on and not _only_passes(given)


def _is_key_named(name: str, given: str) -> bool:
    """Whether it is some key, and looks like one: what it is for is not known."""
    return _is_on and bool(ANY_KEY_IN_CAPITALS.fullmatch(name) and RANDOM.fullmatch(given))


@lru_cache(maxsize=_CACHED_AT_MOST)
def _says_pass(name: str) -> bool:
    return SECRET_PASS.fullmatch(name.lower()) is not None


@lru_cache(maxsize=_CACHED_AT_MOST)
def _remembered(given: str) -> str:
    return _redacted(given)


def _redacted(given: str) -> str:
    if not _is_on:
        return given
    clean = given
    for character, beginnings in KNOWN:
        if character in clean:
            for beginning in beginnings:
                if beginning in clean:
                    clean = token(beginning).sub(_token_masked, clean)
    lower = _lower(clean)
    for words, pattern in CONTEXTS:
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


def _token_masked(match: re.Match[str]) -> str:
    return MASK if match["is"] is not None else match[0]


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
    if pattern is ASSIGNED or pattern is ASSIGNED_KEY:
        return _is_assigned(found, secret)
    if pattern is ASSIGNED_PASS:
        return _is_pass(found, secret)
    if pattern is ANY_KEY:
        return bool(RANDOM.fullmatch(secret))
    # "basic dXNlcjpwYXNz", "password a1b2c3", but not "basic understanding", "password reset"
    told = pattern is not SCHEME and pattern is not NETRC
    return told or found["bare"] is not None or bool(MIXED.search(secret))


def _is_assigned(found: Mapping[str, str | None], secret: str) -> bool:
    """Return whether a text says that a name has a value, rather than something about the name."""
    sign, is_closed = found["sign"], found["closing"] is not None
    if sign == ",":  # ("x-api-key", "…"), as requests' headers are often shown; not lists of names
        is_name = secret.isidentifier() and not RANDOM.fullmatch(secret)
        return is_closed and len(secret) >= 8 and not is_name
    if found["bare"] is None:
        return True
    if NO_SECRET.fullmatch(secret):
        return False
    # "password: hunter2", but not "password: must be long"
    return sign != ":" or is_closed or (len(secret) >= 5 and not secret.rstrip(".!?").isalpha())


def _is_pass(found: Mapping[str, str | None], secret: str) -> bool:
    """Return whether `pass` stands for a password, rather than for what passes."""
    sign, is_closed = found["sign"], found["closing"] is not None
    if sign not in ("=", ":", "%3d") or _only_passes(secret):
        return False
    if found["bare"] is None:
        return True
    # PASS=hunter2, but not "pass: the second half", and in a program not db_pass = ask(2)
    is_code = found["space"] and ("(" in secret or not MIXED.search(secret))
    return sign != ":" and not is_closed and not is_code


def _only_passes(given: str) -> bool:
    lower = given.lower()
    return lower in NO_PASS_WORDS or NO_PASS.fullmatch(lower) is not None


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
