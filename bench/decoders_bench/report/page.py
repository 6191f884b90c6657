"""The page: its template filled with the style, the scripts and the data, so that it is a single file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = ("dom", "scatter", "table", "pairs", "templates", "stage", "replay", "duel", "items", "main")
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")  # and unpaired surrogates, which cannot be encoded
STATIC = files(__package__) / "static"


def page(document: Mapping[str, Any], title: str) -> str:
    """One HTML file that loads nothing: its content security policy forbids it, and allows only the page's own
    scripts."""
    scripts = "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{scripts}\n}})();\n'
    parts = {
        "title": html.escape(title),
        "policy": (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest(script)}'; form-action "
            "'none'"
        ),
        "style": (STATIC / "page.css").read_text(encoding="utf-8"),
        "data": embedded(document),
        "script": script,
    }
    out, rest = [], (STATIC / "page.html").read_text(encoding="utf-8")
    while "{{" in rest:  # from left to right, so that nothing in an inserted text is taken for a placeholder
        before, _, after = rest.partition("{{")
        name, _, rest = after.partition("}}")
        out += [before, parts[name]]
    return "".join([*out, rest])


def digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def embedded(document: Mapping[str, Any]) -> str:
    """JSON in which no text of the data can end the script element early: HTML finds no tag, comment or entity in
    it."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
