"""Hooks of MkDocs: pages and pictures that are generated when the site is built, and the pages that are outside of
docs/."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mkdocs.structure.files import File

from decoders_bench.site.strategies import Site, built_in

ROOT = Path(__file__).parents[3]
OUTSIDE = {
    "plugins/sglang/README.md": "plugins/sglang.md",
    "plugins/lm-eval/README.md": "plugins/lm-eval.md",
    "decoders/strategies/persistent_drafts.py": "strategies/persistent_drafts.md",
    "decoders/models/nano/README.md": "models/nano.md",
    "decoders/models/nano_latent/README.md": "models/nano-latent.md",
}
"""Pages of the repository outside of docs/ that the site also shows, and their paths on the site."""
NAVIGATION = {
    "Serve": ["plugins/sglang.md", "plugins/lm-eval.md"],
    "Models": ["models/nano.md", "models/nano-latent.md"],
}
LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Add the generated pages to the navigation."""
    added = {**NAVIGATION, "Strategies": [f"strategies/{e.name}.md" for e in built_in()]}
    for part in config["nav"]:
        for title, pages in part.items():
            if title in added:
                pages += added[title]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add every generated page and picture."""
    torch.set_num_threads(1)  # the embedded model is small: several threads would wait for each other
    for where, content in made():
        files.append(File.generated(config, where, content=content))
    return files


def made() -> Iterator[tuple[str, str]]:
    """The paths of the generated files below docs/, and their contents."""
    for source, where in OUTSIDE.items():
        if source.endswith(".md"):
            yield where, (ROOT / source).read_text()
    site = Site()
    for entry in built_in():
        for name, content in site.page(entry):
            yield f"strategies/{name}", content


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links that lead out of docs/ to the corresponding page of the site. Raises `ValueError` if there is
    none."""
    sources = {where: source for source, where in OUTSIDE.items() if source.endswith(".md")}
    here = page.file.src_uri
    source = sources.get(here, f"docs/{here}")
    return LINK.sub(lambda m: link(m, source, here), markdown)


def link(found: re.Match[str], source: str, here: str) -> str:
    """A link of the file `source` in the form for page `here` of the site."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
    if target == "README.md":
        target = "docs/index.md"
    place = OUTSIDE.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    if place is None:
        raise ValueError(f"{source}: the site has no page for {target}")
    return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{found[2] or ''})"
