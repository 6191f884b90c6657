"""Reasoners and their specs: a reasoner is another model, which writes the reasoning before a diffusion model's answer.

A reasoner returns only text, so it may have any tokenizer. A decoder requests one by having the attributes of
`Reasoned`; the `Generator` only reads those. To put an autoregressive model's plan frozen into the prompt of a
diffusion model is the plan conditioning of St Sauver 2026, 2603.13243, who also measured that small planners hurt.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, unquote, urlsplit

from decoders.core import Decoder, UsageError, option_named
from decoders.reasoning.base import Reasoner

BUDGET = 256
"""The default limit of the reasoner's tokens."""


@runtime_checkable
class Reasoned(Protocol):
    """A decoder that needs a reasoning for its prompts, such as `after_reasoning`."""

    reasoner: str | None
    boundary: str | tuple[int, ...] | None
    """The text that ends the reasoning and stands between it and the answer, even if the reasoner did not write it;
    token ids are the diffusion model's."""
    budget: int | None


def wants(decoder: Decoder) -> str:
    """The spec of a decoder's reasoner; empty if it has none. Raises `UsageError` if it needs one and names none."""
    if not isinstance(decoder, Reasoned):
        return ""
    if not decoder.reasoner:
        raise UsageError(
            f"{type(decoder).__name__} needs a reasoner: reasoner=hf:DIRECTORY, or reasoner=http://host:port/v1#model"
        )
    return decoder.reasoner


def reasoner_of(spec: str) -> Reasoner:
    """The reasoner that a text names, after the grammar of URLs, with options as its query. Raises `UsageError`.

    `hf:DIRECTORY?temperature=0.7`: a causal language model (`decoders.reasoning.local.Local`).
    `http://host:port/v1?retries=3#model` or https: an OpenAI-compatible endpoint
    (`decoders.reasoning.endpoint.Endpoint`). `module:Class`: any other, made without arguments. Special characters of
    URLs (`?`, `#` and `%` in the name of a directory) are written as %3F and so on.
    """
    from decoders.reasoning.endpoint import Endpoint
    from decoders.reasoning.local import Local

    try:
        where = urlsplit(spec)
        given = dict(parse_qsl(where.query, keep_blank_values=True, strict_parsing=True)) if where.query else {}
        credentials = where.username is not None
        malformed = where.scheme in ("http", "https") and (not where.hostname or where.port == 0)
    except ValueError as e:
        raise UsageError(f"reasoner {spec!r} cannot be read: {e}") from None
    if credentials:
        raise UsageError(
            "a reasoner's name goes into records, so it holds no credentials: put the key into an environment variable"
        )
    if malformed:
        raise UsageError(f"reasoner {spec!r} names no host: write http://host:port/v1")
    if where.scheme == "hf" and (where.fragment or where.netloc or not where.path):
        raise UsageError(f"reasoner {spec!r} cannot be read: write hf:DIRECTORY, or hf:DIRECTORY?temperature=0.7")
    if where.scheme == "hf":
        return Local(path=unquote(where.path), **parsed(Local, given))
    if where.scheme in ("http", "https"):
        url = f"{where.scheme}://{where.netloc}{where.path.rstrip('/')}"
        return Endpoint(url=url, model=unquote(where.fragment), **parsed(Endpoint, given))
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", spec):
        from decoders.specs import load_path

        found: Reasoner = load_path("reasoner", spec)()
        return found
    raise UsageError(f"unknown reasoner {spec!r}: write hf:DIRECTORY, http://host:port/v1#model or module:Class")


def parsed(cls: type, given: dict[str, str]) -> dict[str, Any]:
    """Options from the query of a URL. Raises `UsageError` for an unknown one."""
    known = {f.name for f in fields(cls)} - {"url", "path", "model"}  # those are parts of a URL themselves
    owner = f"the reasoner {cls.__name__}"
    for key in given.keys() - known:
        raise UsageError(f"{owner} has no option {key!r}; known: {', '.join(sorted(known))}")
    return {key: option_named(cls, owner, key).parse(owner, text) for key, text in given.items()}
