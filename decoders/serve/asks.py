"""What a request asks for, read and checked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decoders.constraints.base import Constraint
from decoders.constraints.grammar import InlineSchema
from decoders.serve.fields import MOST, Fields
from decoders.serve.names import only_registered, split_model
from decoders.serve.refusals import RefusedError
from decoders.serve.tools import read_tools
from decoders.text.encoding import Prompt

IDLE: Mapping[str, Sequence[Any]] = {
    "frequency_penalty": (0, 0.0), "presence_penalty": (0, 0.0), "logit_bias": ({},), "min_p": (0, 0.0),
    "repetition_penalty": (1, 1.0), "best_of": (1,), "echo": (False,), "store": (False,),
    "service_tier": ("auto", "default"), "prediction": (), "modalities": (["text"],), "audio": (), "functions": ([],),
    "function_call": ("none",), "reasoning_effort": ("none",), "verbosity": (), "web_search_options": (),
    "metadata": ({},),
}
"""What others have and we have not, with the values that change nothing."""
LABELS = "user", "safety_identifier", "prompt_cache_key"
"""What says something about the client and nothing about the answer."""
MOST_TEXTS = 128


@dataclass(frozen=True)
class Ask:
    """A request for texts."""

    prompts: tuple[Prompt, ...]
    n: int
    seed: int
    """Of the first sample of each prompt; the others have those after it."""
    how: dict[str, Any]
    """Arguments of `Generator.submit`."""
    suffix: str | None = None
    stream: bool = False
    usage: bool = False
    """A stream ends with what it took."""
    diffusing: bool = False
    """A stream is one of drafts."""
    tools: bool = False
    """The answer is a call of a function."""

    @property
    def count(self) -> int:
        return len(self.prompts) * self.n

    @property
    def infill(self) -> bool:
        return bool(self.how["infill"])


def read(body: Any, served: str, chat: bool) -> Ask:
    """A body of `/v1/chat/completions`, or of `/v1/completions`, to a server of that model. Raises `RefusedError`, or
    `UsageError`."""
    f = Fields(body)
    tools = read_tools(f) if chat else None
    prompts = ([*([tools.message] if tools else []), *conversation(f)],) if chat else texts(f)
    how = decoding(f, served) | {
        "logprobs": logprobs(f, chat), "constraint": constraint(f), "stop": f.texts("stop", 16),
        "length": length(f, chat), "max_steps": f.whole("max_steps", 1), "infill": not chat and f.flag("infill"),
    }
    if tools:
        if how["constraint"]:
            raise RefusedError(400, "the answer is a call or what response_format says; take one", "response_format")
        how["constraint"] = tools.constraint
    suffix = None if chat else f.text("suffix")
    seed = f.whole("seed", -MOST)
    seed = secrets.randbits(48) if seed is None else seed
    n, stream, diffusing = f.whole("n", 1, MOST_TEXTS) or 1, f.flag("stream"), f.flag("diffusing")
    usage = streamed_usage(f, stream)
    for label in LABELS:
        f.text(label)
    f.idle({key: idle for key, idle in IDLE.items() if key not in f.known})
    f.end()
    ask = Ask(prompts, n, seed, how, suffix or None, stream, usage, diffusing, bool(tools))
    check(ask)
    return ask


def check(ask: Ask) -> None:
    """Raises `RefusedError` for what does not go together."""
    if ask.count > MOST_TEXTS:
        raise RefusedError(400, f"{ask.count} texts are more than the {MOST_TEXTS} that one request may ask for", "n")
    if ask.tools and ask.stream:
        raise RefusedError(400, "a call of a function is not streamed; leave out stream", "stream")
    if ask.diffusing and not ask.stream:
        raise RefusedError(400, "diffusing is a way of streaming; say stream as well", "diffusing")
    if ask.infill and ask.suffix:
        raise RefusedError(400, "suffix and infill are two ways of saying where holes are; take one", "suffix")
    if ask.infill and ask.stream and not ask.diffusing:
        raise RefusedError(400, "holes are not filled from left to right; stream drafts (diffusing)", "stream")
    if ask.infill and ask.how["logprobs"]:
        raise RefusedError(400, "logprobs of holes are not told; leave out logprobs or infill", "logprobs")
    if ask.suffix and ask.how["constraint"]:
        raise RefusedError(400, "a constraint is about what follows a prompt; drop response_format or suffix", "suffix")
    if ask.suffix and ask.how["stop"]:
        raise RefusedError(400, "what stands before a suffix fills its place, so stop does not go with suffix", "stop")


def decoding(f: Fields, served: str) -> dict[str, Any]:
    """The decoder, the cache and the options of the decoder."""
    named = split_model(f.text("model") or served, served)
    decoder, cache = f.text("decoder"), f.text("cache")
    if named and decoder:
        raise RefusedError(400, "the decoder stands in the name of the model and beside it; leave one out", "decoder")
    decoder = decoder or named
    if decoder:
        only_registered(decoder)
    if cache:
        only_registered(cache, "caches")
    how = {"decoder": decoder, "cache": cache, "top_k": f.whole("top_k", 1)}
    return how | {"temperature": f.number("temperature", 0, 100), "top_p": f.number("top_p", 0, 1)}


def length(f: Fields, chat: bool) -> int | None:
    """How many positions there are for the text; None: as many as the model has by default."""
    newer = f.whole("max_completion_tokens", 1) if chat else None
    older = f.whole("max_tokens", 1)
    if newer and older and newer != older:
        raise RefusedError(400, "max_tokens and max_completion_tokens differ; leave one out", "max_tokens")
    return newer or older


def logprobs(f: Fields, chat: bool) -> bool:
    """Whether log probabilities are wanted. Of tokens that were not chosen none are kept."""
    if chat:
        f.whole("top_logprobs", 0, 0)
        return f.flag("logprobs")
    return f.whole("logprobs", 0, 0) is not None


def constraint(f: Fields) -> Constraint | None:
    """What the text has to be."""
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
    if isinstance(content, list):
        content = "".join(part(Fields(x, f"{f.at}.content[{i}]")) for i, x in enumerate(content))
    if not isinstance(content, str):
        raise RefusedError(400, f"{f.at}.content must be a text, or a list of parts that are texts", f"{f.at}.content")
    f.idle({"tool_calls": ([],), "refusal": (), "annotations": ([],), "audio": (), "function_call": ()})
    f.end()
    return {"role": role, "content": content}


def part(f: Fields) -> str:
    if f.needed("type") != "text":
        raise RefusedError(400, f"{f.at}.type must be text: this model reads nothing else", f"{f.at}.type")
    text = f.needed("text")
    f.end()
    return text
