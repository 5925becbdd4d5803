"""What secrets look like: how tokens begin, and what stands before what is secret.

The formats are those that issuers publish (https://github.com/gitleaks/gitleaks collects them).
"""

from __future__ import annotations

import re
from typing import Final

# --- tokens that are known by how they begin ---

_PART: Final = r"[\w-]"
_WITH_DIGIT: Final = r"(?=[\w-]{0,200}\d)"  # words may begin like that, too: "sk-learn-compatible"
KEY_BEGINS, KEY, KEY_ENDS = "-----BEGIN ", "PRIVATE KEY", "-----END "
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
    KEY_BEGINS: r"[A-Z0-9 ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z0-9 ]*KEY[A-Z ]*-----|\Z)",
}
# No part of a longer word. The beginning comes first: it is searched for as a whole.
KNOWN: Final = tuple(
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
ASSIGNED: Final = re.compile(
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
SCHEME: Final = re.compile(
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
CONTEXTS: Final = (
    (("pass", "pwd", "secret", "token", "credential", "key"), ASSIGNED),
    (("authorization", "cookie"), _HEADER),
    (("--",), _OPTION),
    (("bearer", "basic"), SCHEME),
    (("://",), _USERINFO),
    (("?",), _QUERY),
)
NO_SECRET: Final = re.compile(r"(?:\d{1,4}|true|false|null|none)[,)\]}]*", re.IGNORECASE)
MIXED: Final = re.compile(r"\d|=|[a-z][A-Z]")
# Names of attributes. The last word counts, so `gen_ai.token.type` is none.
SECRET_KEY: Final = re.compile(rf"(?:.*[._-])?(?:{_NAMES}|{_HEADERS})", re.IGNORECASE)
SECRET_KEY_IN_CAPITALS: Final = re.compile(r".*[a-z](?:Password|Passwd|Secret|Token|Key|Cookie)")
SECRET_OPTION: Final = re.compile(rf"--?(?:[\w-]*[_-])?(?:{_NAMES})", re.IGNORECASE)
