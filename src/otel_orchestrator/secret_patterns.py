"""What secrets look like: how tokens begin, and what stands before what is secret.

The formats are those that issuers publish (https://github.com/gitleaks/gitleaks collects them).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

# --- tokens that are known by how they begin ---

_PART: Final = r"[\w-]"
_RUN: Final = rf"{_PART}*+"
_DIGIT: Final = r"(?=[A-Za-z_-]*+\d)"  # words may begin like that, too: "sk-learn-compatible"
KEY_BEGINS, KEY, KEY_ENDS = "-----BEGIN ", "PRIVATE KEY", "-----END "
_OF_GITLAB: Final = "pat dt ptt rt cbt soat ft rtrt imt agent oas ffct".split()
_TOKENS: Final = {
    "sk-": rf"{_DIGIT}{_PART}{{16,}}",  # OpenAI, Anthropic, OpenRouter, Langfuse
    **{f"{kind}_": rf"{_PART}{{10,}}" for kind in ("sk_live", "sk_test", "rk_live", "rk_test")},
    "sk_org_live_": rf"{_PART}{{10,}}",  # Stripe, both
    "whsec_": rf"{_PART}{{16,}}",
    **{f"gh{kind}_": r"[A-Za-z0-9]{16,}" for kind in "pousr"},  # GitHub
    "github_pat_": r"\w{16,}",
    **{f"gl{kind}-": rf"{_PART}{{16,}}(?:\.\w{{2}}\.\w+)?" for kind in _OF_GITLAB},
    **{f"{kind}IA": r"[A-Z0-9]{16}(?![A-Za-z0-9])" for kind in ("AK", "AS", "AB")},  # AWS
    "ABSK": r"(?=[A-Za-z]*+\d)[A-Za-z0-9+/]{40,}=*",
    "AIza": rf"{_PART}{{30,}}",  # Google
    "GOCSPX-": rf"{_PART}{{16,}}",
    "1//0": rf"{_PART}{{20,}}",
    "ya29.": rf"{_PART}{{16,}}",
    "xox": rf"[a-z]-{_DIGIT}{_PART}{{8,}}",  # Slack
    "xapp-": rf"{_DIGIT}{_PART}{{16,}}",
    **{f"hooks.slack.com/{kind}/": r"[\w/]{16,}" for kind in ("services", "workflows")},
    "hf_": r"[A-Za-z0-9]{16,}",  # Hugging Face
    "npm_": r"[A-Za-z0-9]{30,}",
    "pypi-": rf"{_PART}{{32,}}",
    "gsk_": r"[A-Za-z0-9]{16,}",  # Groq
    "xai-": r"[A-Za-z0-9]{32,}",
    "pplx-": r"[A-Za-z0-9]{32,}",  # Perplexity
    "tvly-": rf"{_DIGIT}{_PART}{{16,}}",  # Tavily
    "lsv2_": r"\w{16,}",  # LangSmith
    "r8_": r"[A-Za-z0-9]{30,}",  # Replicate
    "dapi": r"[a-f0-9]{32}",  # Databricks
    "dop_v1_": r"[a-f0-9]{32,}",  # DigitalOcean
    "dckr_pat_": rf"{_PART}{{16,}}",  # Docker
    "hvs.": rf"{_PART}{{16,}}",  # Vault
    "SG.": rf"{_PART}{{16,}}\.{_PART}{{16,}}",  # SendGrid
    "eyJ": rf"{_PART}{{8,}}+\.{_PART}{{8,}}+(?:\.{_RUN})?",  # a JWT
    "nvapi-": rf"{_DIGIT}{_PART}{{20,}}",  # NVIDIA
    "pcsk_": r"\w{16,}",  # Pinecone
    "fw_": r"(?=[A-Za-z]*+\d)[A-Za-z0-9]{20,}",  # Fireworks
    **{f"AT{kind}TT": rf"{_DIGIT}{_PART}{{20,}}+(?:=\w{{1,16}})?" for kind in "AC"},  # Atlassian
    "glsa_": r"\w{20,}",  # Grafana
    "sntrys_": r"[\w+/=]{20,}",  # Sentry
    "lin_api_": r"[A-Za-z0-9]{20,}",  # Linear
    "ntn_": r"[A-Za-z0-9]{30,}",  # Notion
    "PMAK-": r"[a-f0-9]{20,}(?:-[a-f0-9]{20,})?",  # Postman
    "NRAK-": r"[A-Z0-9]{20,}",  # New Relic
    "sbp_": r"[a-f0-9]{40}",  # Supabase
    "hvb.": rf"{_PART}{{16,}}",
    "e2b_": r"[a-f0-9]{32,}",
    "csk-": rf"{_DIGIT}{_PART}{{32,}}",  # Cerebras
    "jina_": r"[A-Za-z0-9]{32,}",
    "tgp_v1_": rf"{_PART}{{32,}}",  # Together
    "sb_secret_": rf"{_PART}{{20,}}",
    "AGE-SECRET-KEY-1": r"[A-Z0-9]{40,}",
    **{f"shp{kind}_": r"[A-Fa-f0-9]{32}" for kind in ("at", "ca", "pa", "ss")},  # Shopify
    KEY_BEGINS: r"[A-Z0-9 ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z0-9 ]*KEY[A-Z ]*-----|\Z)",
}
# No part of a longer word; but the letter before may end an escape, as JSON and repr() write it, or
# a URL, or a colour of a terminal.
_BEFORE: Final = (
    r"\\[nrtbfva0]", r"\\x[0-9A-Fa-f]{2}", r"\\u[0-9A-Fa-f]{4}", "%[0-9A-Fa-f]{2}", r"[\[;0-9][mK]",
)  # fmt: skip


@cache
def token(beginning: str) -> re.Pattern[str]:
    """Return a pattern whose group `is` is there if what it finds is a token.

    The beginning comes first: it is searched for as a whole. A run of characters in which there is
    no token is found as well: each beginning in it would be tried up to its end. Few are ever
    needed, so they are made when they are.
    """
    it, rest = re.escape(beginning), _TOKENS[beginning]
    behind = "|".join([f"(?<![A-Za-z0-9]{it})", *(f"(?<={e}{it})" for e in _BEFORE)])
    passed_over = f"|{_RUN}" if beginning == "eyJ" or _DIGIT in rest else ""
    return re.compile(f"{it}(?:{behind})(?:(?P<is>{rest}){passed_over})", re.ASCII)


def _always(beginning: str) -> str:
    """Return a character that is in every token that begins so: few texts have all of them."""
    has = {"eyJ": ".", "xox": "-"}.get(beginning, beginning)
    return next((character for character in "_.-" if character in has), "")


# By a character that is in each token: what is not in a text at all is found out fast.
KNOWN: Final = tuple(
    (character, tuple(beginning for beginning in _TOKENS if _always(beginning) == character))
    for character in ("_", "-", ".", "")
)

# --- what is secret because of what stands before it: found in lower case ---


def _by_width(names: str) -> list[str]:
    """Return alternatives, each of one width: what looks back has to have one."""
    widths: dict[int, list[str]] = {}
    for name in names.split():
        widths.setdefault(len(name), []).append(name)
    return [f"(?:{'|'.join(same)})" for same in widths.values()]


_NO_TOKEN: Final = "bos eos pad unk stop first"
_TOKEN: Final = "token(?<!unexpected token)" + "".join(
    f"(?<!(?<![a-z]){word}_token)" for word in _NO_TOKEN.split()
)
_NAMES: Final = rf"pass(?:[_-]?words?|wd|phrase)|pwd(?!=/)|secret|{_TOKEN}|credentials?"
# What a key is for, or whose: others are those of tables, caches and keyboards.
_KEYS: Final = (
    "api access account private secret signing auth encryption subscription master license deploy"
    " hmac webhook jwt shared admin app functions openai anthropic azure gemini mistral cohere groq"
    " pinecone langsmith tavily serper stripe twilio sendgrid mailgun datadog supabase algolia"
    " voyage"
)
_BEFORE_KEY: Final = "|".join(
    f"(?<={same}{sign}key)" for same in _by_width(_KEYS) for sign in ("", "[_.-]")
)
_KEY: Final = rf"[a-z]{{2,16}}[_-]?key(?:{_BEFORE_KEY})"
_ENDING: Final = r"(?:_?\d{1,2}|_(?:base|old|new|prod|dev|test|staging|live))?"
# A whole word, and none of what tests, compilers and renderers do.
_DO_PASS: Final = (
    "first second third last final next test tests eval each one two single multi by"
    " compiler llvm optimizer render shader gpu forward backward"
)
_PASS: Final = (
    r"pass(?:(?<![a-z0-9]pass)|(?<=\\[nrt]pass)|(?<=%[0-9a-f]{2}pass))"
    + "".join(rf"(?<!{same}[_.-]pass)" for same in _by_width(_DO_PASS))
    + r"(?:_\d{1,2})?"
)
_HEADERS: Final = "authorization|cookie"
# JSON within JSON has backslashes before its quotes.
_QUOTE: Final = r"\\*[\"']"
_QUOTED: Final = r"b?(?P<quote>\\*(?:\"{3}|[\"']))(?P<text>(?:(?!(?P=quote))(?:\\.|[^\n]))*)"
# To the next of what is assigned in a URL, or in what a database is connected by.
_BARE: Final = (
    r"(?P<bare>[^\s\"'\\&;<>`]+"
    r"(?:[&;](?!(?:amp;)?[\w.%\[\]-]{1,64}(?: [\w.]{1,64}){0,2} ?=)[^\s\"'\\&;<>`]+)*)"
)


def _assigned(names: str) -> re.Pattern[str]:
    return re.compile(
        rf"{names}(?P<closing>{_QUOTE})?(?P<space>[ \t]{{0,16}})(?P<sign>==?|=>|:=?|,|%3d)"
        # A quoted one may be on the next line, or the first of a list.
        rf"(?:\s{{0,16}}[\[(]{{0,2}}{_QUOTED}|[ \t]{{0,16}}{_BARE})"
    )


ASSIGNED: Final = _assigned(rf"(?:{_NAMES}){_ENDING}")
ASSIGNED_KEY: Final = _assigned(rf"key(?:{_BEFORE_KEY}){_ENDING}")
ASSIGNED_PASS: Final = _assigned(_PASS)
# Whatever the key is for, if it looks like one.
_OTHER_KEYS: Final = "cache primary foreign public sort partition row group task thread run"
ANY_KEY: Final = re.compile(
    r"[a-z0-9]_key"
    + "".join(f"(?<!{same}_key)" for same in _by_width(_OTHER_KEYS))
    + rf"{_ENDING}(?:{_QUOTE})?[ \t]{{0,3}}[=:][ \t]{{0,3}}(?:{_QUOTE})?"
    + r"(?P<bare>(?!/)[\w+/=-]{16,512}+)(?![.(])"
)
# In a header, what is quoted may be a part of what it says: theme="dark"
_HEADER: Final = re.compile(
    rf"(?:{_HEADERS})(?:{_QUOTE})?[ \t]{{0,3}}[:=,][ \t]{{0,3}}"
    rf"(?:{_QUOTED}|(?P<bare>[^\r\n\"'\\]+(?:(?<==)\\*\"[^\"\\\r\n]*+\\*\"[^\r\n\"'\\]*+)*))"
)
_OPTION: Final = re.compile(
    r"--(?:(?<![\w-]--)|(?<=\\[nrt]--))(?:[\w-]{0,40}[_-])?"
    rf"(?:{_NAMES}|{_KEY}|{_PASS}(?![ \t]+\d+(?:\s|$)))[ \t]+"
    rf"(?:{_QUOTED}|(?P<bare>[^\s\"'\\-][^\s\"'\\]*))"
)
SCHEME: Final = re.compile(
    r"bearer[ \t]+(?P<bare>(?:(?=[\w.~+/-]{0,200}\d)[\w.~+/-]{8,}|[\w.~+/-]{20,})=*)"
    r"|basic[ \t]+(?P<text>[a-z0-9+/]{6,}=*)"
)
# Behind https:// a lone name may be a token; in ssh://git@host it is not. A password may have what
# ends it elsewhere in a URL, if no port stands there: http://host:8080/a@b
_USERINFO: Final = re.compile(
    r"://(?:(?P<bare>(?!\[)[^/\s:@\"'\\?#]*+:(?!/|(?:\d{1,5}|\$?port|\$?\{[^/\s@]{0,40}\}|<\w{0,40}>|\*)[/?#,])"
    r"[^/\s@\"'\\?#]*+(?:[/?#][^\s@\"'\\<>]{0,128}+)?+(?:@[^/\s@\"'\\?#]*+)*)"
    r"|(?:(?<=https://)|(?<=http://))(?P<text>[^/\s:@\"'\\?#]+))@"
)
_QUERY: Final = re.compile(
    r"[?&](?:(?:sig|auth|jwt|sas|signature|awsaccesskeyid|x-(?:amz|goog)-[a-z-]+)="
    r"(?P<bare>[^&\s\"'\\#]+)|(?:key|code)=(?P<text>[^&\s\"'\\#]{6,}))"
)
_CURL: Final = re.compile(
    r"(?<![\w-])curl\b(?:[^\n\\-]{0,200}+(?:\\\n?|-)){1,40}?(?<=[^\w-]-)(?:u|-(?:proxy-)?user)"
    r"[ \t=,\"'\\]{0,8}?(?P<quote>[\"'])?[^\s:\"'\\]{1,64}:"
    r"(?P<bare>(?(quote)(?:(?!(?P=quote))[^\\\n]){1,200}|[^\s\"'\\]+))(?P<text>)"
)
# In a list of arguments: what says that the next is a login, and one that is one itself.
CURL_USER: Final = re.compile(r"-[A-Za-z#]{0,8}[uU]|--(?:proxy-)?user")
CURL_LOGIN: Final = re.compile(
    r"(?:-[A-Za-z#]{0,8}?[uU]|--(?:proxy-)?user=)[^:]{1,64}:.+", re.DOTALL
)
NETRC: Final = re.compile(
    r"machine(?:\s|\\[nrt]){1,9}[^\s\\]+(?:\s|\\[nrt]){1,9}login(?:\s|\\[nrt]){1,9}[^\s\\]+"
    r"(?:\s|\\[nrt]){1,9}password(?:\s|\\[nrt]){1,9}(?P<bare>[^\s\"'\\]+)"
    r"|(?:^|\\n)[ \t]{0,9}password[ \t]+(?P<text>[^\s\"'\\:=]{6,})[ \t]{0,9}(?=$|\\[nr])",
    re.MULTILINE,
)
# Each with words of which one has to be in a text for it to match: that is found much faster.
CONTEXTS: Final = (
    (("pass", "pwd", "secret", "token", "credential"), ASSIGNED),
    (("key",), ASSIGNED_KEY),
    (("pass",), ASSIGNED_PASS),
    (("authorization", "cookie"), _HEADER),
    (("--",), _OPTION),
    (("bearer", "basic"), SCHEME),
    (("://",), _USERINFO),
    (("?",), _QUERY),
    (("curl",), _CURL),
    (("password",), NETRC),
    (("_key",), ANY_KEY),
)
# Numbers with a unit or parts, what a name stands for, a type, and a call of a plain name are none
# either. A password may look like much of that: so nothing that mixes cases and digits.
NO_SECRET: Final = re.compile(
    r"(?:\d{1,4}|\d{1,3}(?:,\d{3})|\d{1,4}\.\d{1,4}(?:ms|s)?|\d{1,6}(?:ms|s)|true|false|null|none"
    r"|(?:\$|\$\{|\$?\{\{)(?-i:[A-Z_]+|[a-z_.]*)"
    r"|(?:str|bytes|string|int|float|bool|any)"
    r"|(?:list|dict|tuple|set|optional|union|literal|sequence|mapping|iterable)\[[a-z., |\[]*"
    r"|[a-z_]+(?:\.[a-z_]+)*\([a-z_.]*)[,)\]}:;]*",
    re.IGNORECASE,
)
# What may be said of something that passes, in lower case: a number, a mark, a value yet to be put
# there, a sentence. Of some mailers a password is four short words.
NO_PASS: Final = re.compile(
    r"[\d.,/%]*(?:ms|s)?|\W{1,3}|\$?\{[^{}]*\}?|%\(?\w*\)?[sdifr]|<\w*>"
    r"|(?!(?:[a-z]{4} ){3}[a-z]{4}$).*\s.*",
    re.DOTALL,
)
NO_PASS_WORDS: Final = frozenset(
    "yes no ok true false none null y n on off all any some partial partially pass passed passes"
    " fail failed fails failure success done skip skipped error unknown pending never always keep"
    " first second third last warn warning".split()
)
MIXED: Final = re.compile(r"\d|=|[a-z][A-Z]")
RANDOM: Final = re.compile(r"(?=[^\d]*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[\w+/=.~-]{16,}")
# Names of attributes, in lower case. The last word counts, so `gen_ai.token.type` is none.
SECRET_KEY: Final = re.compile(rf"(?:.*[._-])?(?:(?:{_NAMES}|{_KEY}){_ENDING}|{_HEADERS})")
SECRET_PASS: Final = re.compile(rf"(?:.*[._-])?{_PASS}")


def _not_behind(words: str, end: str) -> str:
    """Return what looks back for whole words in camelCase: `padToken`, but not `ipadToken`."""
    return "".join(
        rf"(?<!{word.title()}{end})(?<!(?<![A-Za-z]){word}{end})" for word in words.split()
    )


_NO_TOKENS: Final = "first next page start stop bos eos pad unk cancellation continuation"
_KEYS_IN_CAPITALS: Final = "|".join(f"(?:{key}|{key.title()})Key" for key in _KEYS.split())
SECRET_KEY_IN_CAPITALS: Final = re.compile(
    rf".*[a-z](?:Pass(?:words?|wd)|Secret|Cookie|Token{_not_behind(_NO_TOKENS, 'Token')})"
    rf"|(?:.*[a-z_.-])?(?:{_KEYS_IN_CAPITALS})"
)
ANY_KEY_IN_CAPITALS: Final = re.compile(
    rf".*[a-z0-9]Key{_not_behind(_OTHER_KEYS + ' idempotency object routing', 'Key')}"
)
SECRET_OPTION: Final = re.compile(rf"--?(?:[\w-]*[_-])?(?:{_NAMES}|{_KEY}|{_PASS})")
