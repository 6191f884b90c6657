"""The page at `/`: one file, with its style and its script inside."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

_HERE = Path(__file__).parent / "static"


def hashed(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


_STYLE, _SCRIPT = ((_HERE / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
PAGE = (_HERE / "page.html").read_text("utf-8").replace("/* style */", _STYLE).replace("/* script */", _SCRIPT)
POLICY = (
    f"default-src 'none'; style-src {hashed(_STYLE)}; script-src {hashed(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The browser runs only the page's own script and style, and connects only to this server."""
