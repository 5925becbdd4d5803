"""Secrets as they stand in what programs really write, and what only looks like them."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from otel_orchestrator import redaction, secret_patterns

CORE: Final = "Zx9Qw7Rt5Lm3Kp1V"
LONG: Final = "aB3dE6gH9jK2mN5pQ8sT"
HEX: Final = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def built_in_rules() -> Iterator[None]:
    redaction.use()
    yield
    redaction.use()


# --- tokens behind an escape ---

TOKENS: Final[Mapping[str, str]] = {
    "GitHub": f"ghp_{LONG}",
    "OpenAI": f"sk-proj-{LONG}",
    "AWS": "AKIA0123456789ABCDEF",
    "JWT": f"eyJ{LONG}.eyJ{LONG}.{LONG}",
    "private key": f"-----BEGIN PRIVATE KEY-----{LONG}-----END PRIVATE KEY-----",
    "NVIDIA": f"nvapi-{LONG}{LONG}",
    "Pinecone": f"pcsk_{LONG}_{LONG}",
    "Fireworks": f"fw_{LONG}",
    "Atlassian": f"ATATT3xFfGF0{LONG}_{LONG}=1",
    "Grafana": f"glsa_{LONG}_a1b2c3d4",
    "Shopify": f"shpat_{HEX}",
    "GitLab's job": f"glcbt-64_{LONG}",
    "GitLab, routable": f"glpat-{LONG}.01.1a0b2c3d4",
    "Bedrock": f"ABSK{LONG}{LONG}Zz==",
    "Google's refresh": f"1//0{LONG}_{LONG}",
    "Stripe's test": f"rk_test_{LONG}",
    "Sentry": f"sntrys_{LONG}{LONG}",
    "Linear": f"lin_api_{LONG}{LONG}",
    "Supabase": f"sb_secret_{LONG}{LONG}",
    "E2B": f"e2b_{HEX}",
}
BEFORE: Final[Mapping[str, str]] = {
    "nothing": "",
    "JSON": r"key:\n",
    "JSON within JSON": r"key:\\n",
    "JSON thrice": r"\\\\t",
    "return": r"\r",
    "character of Unicode": r"caf\u00e9",
    "capital digits": r"\u00E9",
    "byte": r"\xff",
    "URL": "https%3A%2F%2Fx.example%2Fcb%3Ft%3D",
    "URL in small letters": "t%3d",
    "colour": "\x1b[33m",
    "no colour": "\x1b[m",
    "colours": "\x1b[1;38;5;208m",
    "colour in repr": r"\x1b[33m",
    "colour in JSON": r"\u001b[0m",
    "rest of the line": "\x1b[K",
    "word": "token-",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=list(BEFORE))
@pytest.mark.parametrize("token", TOKENS.values(), ids=list(TOKENS))
def test_a_token_goes_whatever_is_written_before_it(token: str, before: str) -> None:
    assert redaction.text(f"{before}{token} after") == f"{before}{redaction.MASK} after"


@pytest.mark.parametrize("token", [t for kind, t in TOKENS.items() if kind != "JWT"])
def test_what_is_a_part_of_a_word_is_no_token(token: str) -> None:
    text = f"ada{token.replace(' PRIVATE', '')} after"
    assert redaction.text(text) is text


# --- what a name says to be secret ---

SECRET: Final = f"""
    DB_PASS={CORE}
    DB_PASS=hunter2
    export SMTP_PASS='{CORE}'
    smtp_pass = {CORE}
    SMTP_PASS=correcthorse
    SMTP_PASS=$e(r3t{CORE}
    {{"pass": "!(a[{CORE}"}}
    {{"user": "u", "pass": "{CORE}"}}
    {{"user":"u","pass":"hunter"}}
    {{"pass": "abcd efgh ijkl mnop"}}
    "{{\\"pass\\": \\"{CORE}\\"}}"
    {{'pass': '{CORE}'}}
    {{user: 'u', pass: '{CORE}'}}
    x\\nPASS={CORE}
    https://h.example/x?user=a&pass={CORE}
    https://h.example/x?pass={CORE}&user=a
    https://h.example/x?next=%2Fcb%3Fpass%3D{CORE}
    https://h.example/x?next=%2Fcb%3Ftoken%3D{CORE}
    run --pass {CORE}
    run --smtp-pass {CORE} -v
    AZURE_OPENAI_KEY={HEX}
    OPENAI_KEY={CORE}
    AZURE_KEY: {HEX}
    {{"gemini_key": "{CORE}"}}
    MONDAY_KEY={CORE}
    {{"monday_key": "{CORE}"}}
    SECRET_KEY_BASE={HEX}
    API_KEY_1={CORE}
    api_key_2: {CORE}
    MY_TOKEN_2={CORE}
    DB_PASSWORD_1={CORE}
    http://{CORE}@gitea.example:3000/r.git
    https://{CORE}@gitea.example/r.git
    postgres://u:pa/{CORE}@h.example/db
    postgres://u:pa#{CORE}@h.example/db
    postgres://u:pa?{CORE}@h.example/db
    postgres://u:#{CORE}@h.example/db
    postgres://u:p/a@{CORE}@h.example:5432/db
    postgres://u:$e/{CORE}@h.example/db
    DB_PASSWORD=ab&{CORE}
    DB_PASSWORD=ab;{CORE}
    DB_PASSWORD=ab;cd&ef;{CORE}
    DB_PASSWORD='ab;{CORE}'
    token=\"\"\"{CORE}\"\"\"
    Cookie: theme="dark"; sessionid={CORE}
    Cookie: theme=\\"dark\\"; sessionid={CORE}
    {{"cookie": "theme=\\"dark\\"; sessionid={CORE}"}}
    Set-Cookie: sessionid="{CORE}"; Path=/
    Authorization: Digest username="u", realm="r", response="{CORE}"
    -H 'Authorization: Digest username="u", response="{CORE}"' https://h.example
    curl -u user:{CORE} https://h.example
    curl -sS -X POST -u 'user:a b {CORE}' https://h.example
    curl -uuser:{CORE} https://h.example
    curl --user "user:{CORE}" https://h.example
    curl --proxy-user=user:{CORE} https://h.example
    ["curl", "-s", "-u", "user:{CORE}"]
    machine github.com login me password {CORE}
    machine github.com login me password correcthorse
    machine github.com\\n  login me\\n  password {CORE}\\n
    password {CORE}
    ("x-api-key", "{CORE}")
    run --token '{CORE}' --api-key "{CORE}"
    {{'X-Api-Key': ['{CORE}'], "password": ["{CORE}"]}}
    password      = {CORE}
    password=$up3r{CORE}
    DB_PASSWORD={CORE}(abc)
    password={{{{{CORE}
    password={CORE}[word
    token: 12345678.87654321{CORE}
    PASSWORD_PROD={CORE} API_KEY_STAGING={CORE} password2={CORE}
    api.key={CORE} x-functions-key: {CORE} passwords={CORE}
""".strip()


@pytest.mark.parametrize("line", [line.strip() for line in SECRET.splitlines()])
def test_what_a_name_says_to_be_secret_goes(line: str) -> None:
    clean = redaction.text(line)
    secrets = [s for s in (CORE, HEX, "hunter", "horse", "ijkl", "pa/", "ab;", "a b") if s in line]
    assert [s for s in secrets if s in clean] == []
    assert redaction.MASK in clean
    assert redaction.text(clean) == clean
    for stays in ("h.example", "user=a", "gitea.example", "theme="):
        if stays in line and "ookie" not in line:
            assert stays in clean


def test_a_value_on_the_next_line() -> None:
    assert redaction.text(f'"api_key":\n  "{CORE}"') == f'"api_key":\n  "{redaction.MASK}"'


def test_the_lines_of_a_netrc() -> None:
    netrc = f"machine github.com\n  login me\n  password {CORE}\nmachine b.example\n"
    assert redaction.text(netrc) == netrc.replace(CORE, redaction.MASK)


def test_a_command_over_several_lines() -> None:
    command = f"curl -sS \\\n  -X POST \\\n  -u me:{CORE} \\\n  https://h.example"
    assert redaction.text(command) == command.replace(CORE, redaction.MASK)
    docker = "curl https://h.example\ndocker run -u me:mygroup image"
    assert redaction.text(docker) is docker


def test_what_follows_in_a_url_or_a_connection_string_stays() -> None:
    for text in (
        "https://h.example/x?password={}&user=a&b=1",
        "https://h.example/x?password={}&amp;user=a",
        "https://h.example/x?token={}&filter[a]=b",
        "Server=db;Password={};Encrypt=yes",
        "Server=db;Password={};Initial Catalog=db;MultipleActiveResultSets=True",
        "AccountKey={};EndpointSuffix=core.windows.net",
        "TOKEN={} run; echo done",
        "TOKEN={}; echo done",
        "TOKEN={}&& run",
    ):
        assert redaction.text(text.format(CORE)) == text.format(redaction.MASK)


@pytest.mark.parametrize("name", "pass db.pass DB_PASS smtp-pass openai_key api_key_1".split())
def test_the_name_of_an_attribute(name: str) -> None:
    assert redaction.value(name, "hunter2") == redaction.MASK
    assert redaction.value("deep", {name: "hunter2"}) == {name: redaction.MASK}


def test_what_passes_is_no_password() -> None:
    passed = {"pass": True, "db.pass": 3, "bypass": "all", "first_pass": "a b1", "compass": "n1"}
    assert redaction.value("deep", passed) == passed
    for said in ("yes", "true", "12", "12/15", "95%", "all of the 12 tests"):
        assert redaction.value("pass", said) == said
    assert redaction.value("test.pass", "abc1") == "abc1"
    assert redaction.value("deep", {5: "abc1", None: "x"}) == {5: "abc1", None: "x"}


@pytest.mark.parametrize(
    "name",
    "cacheKey primaryKey partitionKey s3ObjectKey idempotencyKey issueKey nextPageToken eosToken"
    " compiler.pass twoPass".split(),
)
def test_names_in_capitals_of_what_is_not_secret(name: str) -> None:
    assert redaction.value(name, "a1b2") == "a1b2"


@pytest.mark.parametrize("seed", range(40))
def test_passwords_of_all_characters_go(seed: int) -> None:
    chosen = random.Random(seed)
    characters = string.ascii_letters + string.digits + "$(){}[].,!%*+-_"
    for _ in range(50):
        password = "P4" + "".join(chosen.choices(characters, k=14))
        assert password not in redaction.text(f"DB_PASSWORD={password}")
        assert password[2:] not in redaction.text(f"DB_PASSWORD=${password[2:]}x4Z")


@pytest.mark.parametrize("name", "clientKey sessionKey serviceRoleKey sshKey hfKey".split())
def test_a_key_of_whatever_goes_if_it_looks_like_one(name: str) -> None:
    assert redaction.value(name, f"{LONG}{LONG}") == redaction.MASK
    assert redaction.value(name, "user-17") == "user-17"
    assert redaction.value("cacheKey", f"{LONG}{LONG}") == f"{LONG}{LONG}"


@pytest.mark.parametrize(
    "name",
    "apiKey db.accessKey openaiKey clientSecret userToken uploadToken frontendToken linkToken"
    " ipad_token".split(),
)
def test_names_in_capitals_of_what_is(name: str) -> None:
    assert redaction.value(name, "a1b2") == redaction.MASK


@pytest.mark.parametrize(
    "login",
    [["-sSu", "me:hunter2"], ["-ume:hunter2"], ["--proxy-user", "me:hunter2"],
     ["--user=me:hunter2"], ["-U", "me:hunter2"]],
)  # fmt: skip
def test_curls_arguments_however_they_are_written(login: list[str]) -> None:
    shown = redaction.value("args", ["curl", *login, "https://h"])
    assert "hunter2" not in " ".join(shown)
    assert (shown[0], shown[-1]) == ("curl", "https://h")
    assert redaction.value("args", ["sort", *login]) == ["sort", *login]


@pytest.mark.parametrize("make", [str, redaction.Clean])
@pytest.mark.parametrize("times", [1, 400])
def test_an_attribute_called_pass_is_hidden_however_long_it_is(make: type[str], times: int) -> None:
    assert redaction.value("smtp.pass", make("Hunter2" * times)) == redaction.MASK


def test_what_curl_is_given() -> None:
    assert redaction.value("args", ["/usr/bin/curl", "-u", "me:hunter2", "https://h"]) == [
        "/usr/bin/curl", "-u", redaction.MASK, "https://h",
    ]  # fmt: skip
    docker = ["docker", "run", "-u", "1000:1000", "image"]
    assert redaction.value("args", docker) is docker


# --- what only looks like it ---

HARMLESS: Final = r"""
    bypass=yes, compass: north, trespass=none, encompass="all", underpass: closed1
    pass rate: 95%, pass=3 fail=0, passed=3, passes: 2, pass: 12/15, pass=95%, pass=12ms
    {"pass": true, "fail": 0} {"pass": 3} {"pass": "yes"} {"pass": null} {"pass": "all"}
    {"pass": "12 of 15 tests", "first_pass": "a1b2c3", "test_pass": "a1b2c3"}
    PASS: TestParallel2 (0.00s)
    --- PASS: test_a1_b2 and PASS tests/test_a.py::test_b1
    pass: the second half; second pass: re-read chapter2; pass: optimised2
    first_pass=quick1, last_pass = b2, render pass
    next_pass = compile_it(graph), db_pass = ask(2), DB_PASS=${PASS}
    pass=%s pass={passed} "pass": "<n>" pass: "-" "pass": passed1, pass="✓"
    if x.pass == "abc1": pass
    ffmpeg -pass 1 and run --pass 2 -i x
    keyboard=us1, monkey: 12345, keyword=a1, hockey=b2, key: abc123, key = "abc123", "key": "abc123"
    sorted(tasks, key=lambda t1: t1.id), tasks_key="plan2", dict(key="x1")
    primary_key=user_id1, PRIMARY KEY (id1), foreign_key: "users.id1", "sort_key": "a1b2c3d4"
    cache_key=RunV2OfGraphNumber12, "partition_key": "Users20261128Sorted"
    public_key=AbCdEfGhIjKl12345
    idempotency_key=550e8400-e29b-41d4-a716-446655440000, thread_key=20261128-101010-3e4e8c
    group_key: d505096c53d85f40cca6c66ee8df094cb3fa99e3
    ssl_key=/etc/ssl/Private2/server.key, OTEL_CLIENT_KEY=tls/Client2OfTheRun.key
    row_key=value_key=other_key=some_key
    tokens=17, total_tokens: 12345, token_count=5, max_tokens_1=512
    http://host:8080/a@b, http://host:8080?to=a@b.example, http://localhost:4317#a@b
    http://registry:{port}/@scope/x http://h:${PORT}/a@b http://h:PORT/a@b http://h:*/a@b
    kafka://h1:9092,h2:9092/x@y
    http://[::1]:8080/a@b and file:///home/a/b@c
    ssh://git@github.com/a/b.git, git@github.com:a/b@v1, pip install x@git+https://h.example/a/b@v1
    https://h.example/@user/a:b@c, https://medium.example/@me
    docker run -u 1000:1000 x, docker run --user root:root x, git push -u origin main:main
    curl -fsSL https://h.example/x | sort -u, curl -X PUT http://h.example:8080/a
    login with password authentication, password reset, the password hunter
    a machine can login with a password
    nvapi-docs, fw_version_20261128, fw_abcdefghijklmnopqrstuvwxyz, glsa_short, shpat_abc
    C:\new\task-runner\npm-cache, 100%sk-learn-compatible-estimators
    \nsk-learn-compatible-estimators
    theme="dark"; Digest username="u"
    eyJustAWord.eyJ and eyJabcdefgh.txt
    compiler.pass=inline, llvm_pass=licm, gpu-pass=shadow1
    time to first token: 0.345s, time per token: 12.5ms, output_token: 1,234, one token: 0.0125
    unexpected token: identifier_name, Unexpected token: '}', eos_token=</s>
    token = next(tokens), token = self._tokens.pop(), password = getpass.getpass()
    password: Optional[str], token: str, secret: bytes
    password=${DB_PASSWORD}, token: ${{ secrets.GITHUB_TOKEN }}, TOKEN=$GITHUB_TOKEN
    https://h.example/x?code=404, https://h.example/x?key=Enter&page=2
"""


@pytest.mark.parametrize("line", [line.strip() for line in HARMLESS.strip().splitlines()])
def test_what_only_looks_like_a_secret_stays(line: str) -> None:
    assert redaction.text(line) == line


# --- how long it takes ---

NAMES: Final = (
    "password secret token key api_key pass _key x_key= pass= pass:'1 authorization: cookie= bearer"
    " basic curl curl-u -u --token -- ://a: ://: ://a:b@ a://b:/c ?key= &x-amz- machine login"
    ' password= token=a; token=a& cookie:a=" token=\' pass:" \\ \\n =@ @ ; % \x1b[m'
    ' a - = " :// --x-'
).split()
BEGINNINGS: Final = [b for _, beginnings in secret_patterns.KNOWN for b in beginnings]
PIECES: Final = [
    form.format(it)
    for it in (*BEGINNINGS, *NAMES, "-----BEGIN PRIVATE KEY")
    for form in ("{}", "-{}", "-{}abcdefgh", "{}abcdefgh.", "{} ")
]


def seconds(text: str) -> float:
    """Return the time of this thread's processor: others that are busy do not count."""
    started = time.thread_time()
    redaction.text(text)
    return time.thread_time() - started


@pytest.mark.timeout(120)
def test_time_grows_as_the_length_does() -> None:
    assert len(BEGINNINGS) >= 49
    slow = []
    for piece in PIECES:
        short, long = ((piece * (kib * 1024 // len(piece) + 1)) for kib in (8, 64))
        seconds(short)  # what is made at its first use
        for _ in range(5):  # eight times as long; a pattern that looks ahead again and again: 64
            growth = seconds(long) / max(min(seconds(short) for _ in range(3)), 1e-5)
            if growth < 8 * 3:
                break
        else:
            slow.append((piece, growth))
    assert slow == []
