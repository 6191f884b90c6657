"""The page: a template with its style, its scripts and its data put in, so that one file is all there is to send."""

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
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")  # and half a surrogate pair, which no file can hold
STATIC = files(__package__) / "static"


def page(document: Mapping[str, Any], title: str) -> str:
    """One HTML file that loads nothing: its policy forbids it to, and lets no script run but its own."""
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
    while "{{" in rest:  # from left to right, so that nothing that was put in is read as a place
        before, _, after = rest.partition("{{")
        name, _, rest = after.partition("}}")
        out += [before, parts[name]]
    return "".join([*out, rest])


def digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def embedded(document: Mapping[str, Any]) -> str:
    """JSON that no text of the data can end early: HTML reads no tag, comment or entity in it."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
