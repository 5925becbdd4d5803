"""Addresses that people type."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

JAEGER_URL: Final = "http://localhost:16686"
"""Where the shipped stack has Jaeger's pages."""


def is_http_url(text: str) -> bool:
    """Whether a text is an `http` or `https` URL with a host, and with a port that can be one."""
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:  # of its port, or of what is in square brackets
        return False
    is_http = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_http and has_port and not re.search(r"[\s\x00-\x1f]", text)
