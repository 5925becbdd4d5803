"""What counts as secret, what does not, and rules of one's own."""

from __future__ import annotations

import logging
import re
import string
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator import redaction
from otel_orchestrator._guard import log_once_a_minute
from otel_orchestrator.errors import OrchestratorError
from otel_orchestrator.semconv import Attr

from .planted import KINDS, core_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def built_in_rules() -> Iterator[None]:
    yield
    redaction.use()


around = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.sampled_from(sorted(KINDS)), st.text(string.hexdigits, min_size=1), around, around)
@settings(max_examples=300, deadline=None)
def test_a_secret_goes_wherever_it_stands(kind: str, seed: str, before: str, after: str) -> None:
    core = core_of(kind, seed)
    clean = redaction.text(f"{before} {KINDS[kind](core)} {after}")
    assert core[:16] not in clean.lower()
    assert redaction.MASK in clean
    assert redaction.text(clean) == clean  # what is clean stays as it is
    assert clean.startswith(before)
    if kind not in ("cookie", "bearer token", "basic authorization"):  # to the end of the line
        assert clean.endswith(after)


PLAIN = """
    d505096c53d85f40cca6c66ee8df094cb3fa99e3
    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    550e8400-e29b-41d4-a716-446655440000
    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    20261128-101010-3e4e8c
    ssh://git@github.com/a/b.git
    git@github.com:a/b.git
    https://github.com/a/b/tree/main?tab=readme#install
    http://localhost:4317/v1/traces
    http://host:8080/a@b
    2026-11-28T12:00:00Z
    password: must be at least twelve characters
    The token was spent; tokens: 12345, token_count=5, max_tokens=512
    {"token": 5, "is_secret": true, "password": null}
    ["password", "username"]
    sk-learn-compatible-estimators and task-management-systems, risk-assessment-2024-final-version
    a basic understanding of bearers, a bearer of bad news; Basic authentication
    gen_ai.token.type, tokenizer=cl100k, secretary=yes, keyboard=us, monkey: 12345
    PWD=/home/x
    data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA
    npm_config_cache, hf_home, github_path, sk_init, glpat, AKIA
    def f(password: str, token: str | None = None) -> None: ...
"""


@pytest.mark.parametrize("line", [line.strip() for line in PLAIN.strip().splitlines()])
def test_what_is_harmless_stays(line: str) -> None:
    assert redaction.text(line) is line


@given(st.uuids(), st.binary(min_size=20, max_size=32), st.integers(0, 2**128))
def test_ids_and_hashes_are_not_secret(one: uuid.UUID, digest: bytes, number: int) -> None:
    for text in (str(one), one.hex, digest.hex(), f"{number:032x}", f"node {number}", str(number)):
        assert redaction.text(text) is text


def test_our_own_documentation_is_harmless() -> None:
    changed = [
        line
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for line in page.read_text().splitlines()
        if redaction.text(line) != line
    ]
    # Names of secrets, with what is to be put for their values.
    assert [c for c in changed if not re.search("authorization[:=]|_(KEY|TOKEN)=", c)] == []


def test_no_attribute_of_ours_has_a_secret_name() -> None:
    ours = [v for k, v in vars(Attr).items() if isinstance(v, str) and not k.startswith("_")]
    standard = "session.id user.id url.full enduser.id code.function.name gen_ai.token.type".split()
    assert [name for name in (*ours, *standard) if redaction.is_secret(name)] == []


@pytest.mark.parametrize(
    "name",
    "authorization http.request.header.authorization http.request.header.x-api-key cookie password"
    " http.response.header.set_cookie http.request.header.proxy-authorization db.password userToken"
    " OPENAI_API_KEY aws.secret_access_key clientSecret X-Auth-Token".split(),
)
def test_the_name_of_an_attribute_says_that_it_is_secret(name: str) -> None:
    assert redaction.value(name, "abc") == redaction.MASK
    assert redaction.value(name, ("abc",)) == redaction.MASK
    assert redaction.value(name, 5) == 5  # a count
    assert redaction.value("deep", {"list": [{name: "abc"}]}) == {"list": [{name: redaction.MASK}]}


def test_arguments_are_read_as_a_program_reads_them() -> None:
    assert redaction.value("process.command_args", ("x", "--password", "ab", "--user", "me")) == [
        "x", "--password", redaction.MASK, "--user", "me",
    ]  # fmt: skip
    lines = ("-----BEGIN PRIVATE KEY-----", "MIIE", "AbC=", "-----END PRIVATE KEY-----", "after")
    assert redaction.value("lines", lines)[1:] == [redaction.MASK] * 3 + ["after"]


def test_bytes_are_looked_at_too() -> None:
    assert redaction.value("x", b"password=hunter2") == b"password=[redacted]"
    assert redaction.value("x", b"\xff\x00") == b"\xff\x00"


def test_rules_of_ones_own() -> None:
    redaction.use(
        [r"EMP-\d{6}", lambda text: text.replace("Jane", "[name]")], ["customer.*", "iban"]
    )
    assert redaction.text("EMP-123456 is Jane, password=hunter2") == (
        "[redacted] is [name], password=[redacted]"
    )
    assert redaction.text("Jane") == "[name]"
    assert redaction.value("customer.email", "a@b.example") == redaction.MASK
    assert redaction.value("iban", "DE") == redaction.MASK
    assert redaction.value("ibanx", "DE") == "DE"
    redaction.use()
    assert redaction.text("Jane EMP-123456") == "Jane EMP-123456"


def test_it_can_be_switched_off() -> None:
    redaction.use(False)
    assert redaction.text("password=hunter2") == "password=hunter2"
    assert redaction.value("password", "hunter2") == "hunter2"


@pytest.mark.parametrize("broken", [lambda _: 1 / 0, lambda _: None])
def test_a_function_that_fails_lets_nothing_through(
    broken: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_orchestrator._guard._last_logged", {})
    redaction.use(broken)
    assert redaction.text("a name") == redaction.MASK
    redaction.use()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("redact", "names", "said"),
    [
        ("[a", None, "no regular expression"),
        ("x*", None, "Type +"),
        (3, None, "type a regular expression"),
        ([re.compile("x")], None, "type a regular expression"),
        (None, "customer.email", "type a list"),
        (None, [""], "type a list"),
        (None, [3], "type a list"),
    ],
)
def test_a_mistake_is_said_at_set_up(redact: Any, names: Any, said: str) -> None:
    with pytest.raises(OrchestratorError, match=re.escape(said)):
        redaction.use(redact, names)


def test_log_lines_are_clean(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_orchestrator._guard._last_logged", {})
    word = "".join(["hunt", "er2"])
    try:
        raise ValueError(f"password={word}")
    except ValueError as error:
        log_once_a_minute("k", "it failed with %s", "token=hunter2", exc_info=error)
    (record,) = caplog.records
    assert "hunter2" not in caplog.text
    assert "ValueError" in caplog.text
    assert record.exc_info is None
    assert logging.Formatter().format(record).count(redaction.MASK) == 3  # its source, too


PIECES = (
    "sk- ghp_ eyJ aB3dE6gH9jK2mN5pQ8sT password token authorization cookie pass hunter2 https"
    " bearer curl -u = : :// @ / ? & ; , ( ) { } ' \" \\ -- %3D [redacted]"
).split()
PIECES += [" ", "\n", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
@settings(max_examples=500, deadline=None)
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    clean = redaction.text(text)
    assert redaction.text(clean) == clean
