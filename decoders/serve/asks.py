"""Requests for texts, read and checked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from decoders.constraints.base import Constraint
from decoders.constraints.grammar import InlineSchema
from decoders.serve.edits import GROWTH, Region, Update
from decoders.serve.fields import MOST, Fields
from decoders.serve.names import only_registered, split_model
from decoders.serve.refusals import RefusedError
from decoders.serve.tools import Tools, read_tools, said
from decoders.text.encoding import Prompt

IDLE: Mapping[str, Sequence[Any]] = {
    "frequency_penalty": (0, 0.0), "presence_penalty": (0, 0.0), "logit_bias": ({},), "min_p": (0, 0.0),
    "repetition_penalty": (1, 1.0), "best_of": (1,), "echo": (False,), "store": (False,),
    "service_tier": ("auto", "default"), "prediction": (), "modalities": (["text"],), "audio": (), "functions": ([],),
    "function_call": ("none",), "reasoning_effort": ("none",), "verbosity": (), "web_search_options": (),
    "metadata": ({},),
}
"""Fields of other servers that this one lacks, with the values that have no effect."""
LABELS = "user", "safety_identifier", "prompt_cache_key"
"""Fields about the client that do not change the answer."""
MOST_TEXTS = 128
MOST_LIKELY = 20
"""The largest number of other tokens whose log probabilities can be requested."""


class Kind(Enum):
    """The kind of request at a path."""

    TEXT = "/v1/completions"
    CHAT = "/v1/chat/completions"
    MIDDLE = "/v1/fim/completions"
    EDIT = "/v1/edit/completions"
    APPLY = "/v1/apply/completions"

    @property
    def edits(self) -> bool:
        return self in (Kind.EDIT, Kind.APPLY)

    @property
    def said(self) -> bool:
        """The answer is a message."""
        return self.edits or self is Kind.CHAT


@dataclass(frozen=True)
class Ask:
    """A request for texts."""

    kind: Kind
    prompts: tuple[Prompt | Region | Update, ...]
    n: int
    seed: int
    """The seed of the first sample of each prompt; further samples have the seeds after it."""
    how: dict[str, Any]
    """Arguments of `Generator.submit`."""
    suffix: str | None = None
    stream: bool = False
    usage: bool = False
    """A stream ends with its usage."""
    diffusing: bool = False
    """A stream is one of drafts."""
    tools: Tools | None = None
    """The answer is a call of one of these functions, or may be."""
    timeout: float | None = None
    """Seconds after which the answer is no longer wanted."""

    @property
    def count(self) -> int:
        return len(self.prompts) * self.n

    @property
    def rows(self) -> int:
        """The largest number of canvases for the texts."""
        return self.count * (len(GROWTH) if self.kind is Kind.EDIT else 1)

    @property
    def infill(self) -> bool:
        return bool(self.how["infill"])


def read(body: Any, served: str, kind: Kind, longest: float | None = None) -> Ask:
    """A body that was sent to a path, of a server of that model where an answer may take so many seconds. Raises
    `RefusedError`, or `UsageError`."""
    f = Fields(body)
    tools = read_tools(f) if kind is Kind.CHAT else None
    prompts = asked(f, kind, tools)
    how = decoding(f, served) | {
        "stop": f.texts("stop", 16), "length": length(f, kind.said), "max_steps": f.whole("max_steps", 1),
        "infill": kind is Kind.TEXT and f.flag("infill"), "constraint": None,
    }
    if not kind.edits:
        how |= logprobs(f, kind.said) | {"constraint": constraint(f)}
    if tools:
        if how["constraint"]:
            raise RefusedError(400, "the answer is a call or what response_format says; take one", "response_format")
        how["constraint"] = tools.constraint
    suffix = f.text("suffix") if kind in (Kind.TEXT, Kind.MIDDLE) else None
    if kind is Kind.MIDDLE and suffix is None:
        raise RefusedError(400, "suffix is missing", "suffix")
    seed = f.whole("seed", -MOST)
    seed = secrets.randbits(48) if seed is None else seed
    n, stream, timeout = f.whole("n", 1, MOST_TEXTS) or 1, f.flag("stream"), seconds(f, longest)
    usage, diffusing = streamed_usage(f, stream), not kind.edits and f.flag("diffusing")
    for label in LABELS:
        f.text(label)
    f.idle({key: idle for key, idle in IDLE.items() if key not in f.known})
    f.end()
    ask = Ask(kind, prompts, n, seed, how, suffix or None, stream, usage, diffusing, tools, timeout)
    check(ask)
    return ask


def asked(f: Fields, kind: Kind, tools: Tools | None) -> tuple[Prompt | Region | Update, ...]:
    """The prompts that the texts follow, or in which they fill holes."""
    if not kind.said:
        return texts(f)
    messages = conversation(f)
    if not kind.edits:
        return ([*([tools.message] if tools else []), *messages],)
    if [m["role"] for m in messages] != ["user"]:
        raise RefusedError(400, "messages must be one message of the role user", "messages")
    content = messages[0]["content"]
    return (Region.read(content) if kind is Kind.EDIT else Update.read(content),)


def check(ask: Ask) -> None:
    """Raises `RefusedError` for options that cannot be combined."""
    if ask.count > MOST_TEXTS:
        raise RefusedError(400, f"{ask.count} texts are more than the {MOST_TEXTS} that one request may ask for", "n")
    if ask.tools and ask.diffusing:
        raise RefusedError(400, "an answer that may be a call has no drafts; leave out diffusing", "diffusing")
    if ask.diffusing and not ask.stream:
        raise RefusedError(400, "diffusing is a way of streaming; set stream as well", "diffusing")
    if ask.infill and ask.suffix:
        raise RefusedError(400, "suffix and infill both say where holes are; use one", "suffix")
    if ask.infill and ask.stream and not ask.diffusing:
        raise RefusedError(400, "holes are not filled from left to right; stream drafts (diffusing)", "stream")
    if ask.infill and ask.how["logprobs"]:
        raise RefusedError(400, "there are no logprobs of holes; leave out logprobs or infill", "logprobs")
    if ask.suffix and ask.how["constraint"]:
        raise RefusedError(400, "a constraint is about text after a prompt; drop response_format or suffix", "suffix")


def decoding(f: Fields, served: str) -> dict[str, Any]:
    """The decoder, the cache and the options of the decoder."""
    named = split_model(f.text("model") or served, served)
    decoder, cache = f.text("decoder"), f.text("cache")
    if named and decoder:
        raise RefusedError(400, "the decoder is in the name of the model and in a field; leave one out", "decoder")
    decoder = decoder or named
    if decoder:
        only_registered(decoder)
    if cache:
        only_registered(cache, "caches")
    how = {"decoder": decoder, "cache": cache, "top_k": f.whole("top_k", 1)}
    return how | {"temperature": f.number("temperature", 0, 100), "top_p": f.number("top_p", 0, 1)}


def length(f: Fields, chat: bool) -> int | None:
    """The number of positions for the text; None: the model's default."""
    newer = f.whole("max_completion_tokens", 1) if chat else None
    older = f.whole("max_tokens", 1)
    if newer and older and newer != older:
        raise RefusedError(400, "max_tokens and max_completion_tokens differ; leave one out", "max_tokens")
    return newer or older


def seconds(f: Fields, longest: float | None) -> float | None:
    """How long the answer may take."""
    given = f.number("timeout", 0, 1e6)
    if given is not None and longest is not None and given > longest:
        raise RefusedError(400, f"timeout is {given:g}, and this server answers within {longest:g} s", "timeout")
    return longest if given is None else given


def logprobs(f: Fields, chat: bool) -> dict[str, Any]:
    """Whether log probabilities are wanted, and for how many of the likeliest tokens."""
    if not chat:
        top = f.whole("logprobs", 0, MOST_LIKELY)
        return {"logprobs": top is not None, "top_logprobs": top or 0}
    top, wanted = f.whole("top_logprobs", 0, MOST_LIKELY), f.flag("logprobs")
    if top and not wanted:
        raise RefusedError(400, "top_logprobs needs logprobs", "top_logprobs")
    return {"logprobs": wanted, "top_logprobs": top or 0}


def constraint(f: Fields) -> Constraint | None:
    """The constraint on the text."""
    given = f.inner("response_format")
    if given is None:
        return None
    kind = given.needed("type")
    found: Constraint | None = None
    if kind == "json_object":
        found = InlineSchema('{"type": "object"}')
    elif kind == "json_schema":
        inner = given.inner("json_schema") or Fields({}, given.name("json_schema"))
        inner.text("name"), inner.text("description"), inner.flag("strict")
        schema = inner.any("schema")
        if not isinstance(schema, dict):
            raise RefusedError(400, f"{inner.name('schema')} must be a JSON schema", inner.name("schema"))
        inner.end()
        found = InlineSchema(json.dumps(schema))
    elif kind != "text":
        raise RefusedError(400, "response_format.type must be text, json_object or json_schema", "response_format.type")
    given.end()
    return found


def streamed_usage(f: Fields, stream: bool) -> bool:
    options = f.inner("stream_options")
    if options is None:
        return False
    if not stream:
        raise RefusedError(400, "stream_options needs stream", "stream_options")
    wanted = options.flag("include_usage")
    options.idle({"include_obfuscation": (False,)})
    options.end()
    return wanted


def texts(f: Fields) -> tuple[str, ...]:
    """The prompts of a completion."""
    found = f.any("prompt")
    if found is None:
        raise RefusedError(400, "prompt is missing", "prompt")
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(x, str) for x in listed) or not listed:
        raise RefusedError(400, "prompt must be a text or a list of texts; token ids are not supported", "prompt")
    return tuple(listed)


def conversation(f: Fields) -> list[dict[str, str]]:
    """The messages of a chat."""
    found = f.items("messages")
    if not found:
        raise RefusedError(400, "messages is missing or empty", "messages")
    return [message(Fields(x, f"messages[{i}]")) for i, x in enumerate(found)]


def message(f: Fields) -> dict[str, str]:
    role, content = f.needed("role"), f.any("content")
    calls = [said(Fields(x, f"{f.at}.tool_calls[{i}]")) for i, x in enumerate(f.items("tool_calls"))]
    f.text("tool_call_id"), f.text("name")
    if isinstance(content, list):
        content = "".join(part(Fields(x, f"{f.at}.content[{i}]")) for i, x in enumerate(content))
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise RefusedError(400, f"{f.at}.content must be a text, or a list of parts that are texts", f"{f.at}.content")
    f.idle({"refusal": (), "annotations": ([],), "audio": (), "function_call": ()})
    f.end()
    return {"role": role, "content": "\n".join([*([content] if content else []), *calls]) if calls else content}


def part(f: Fields) -> str:
    if f.needed("type") != "text":
        raise RefusedError(400, f"{f.at}.type must be text: this model reads nothing else", f"{f.at}.type")
    text = f.needed("text")
    f.end()
    return text
