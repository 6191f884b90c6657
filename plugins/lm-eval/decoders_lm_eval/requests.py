"""Requests of the harness, translated to the library's terms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from lm_eval.api.instance import Instance

from decoders import Decoder, UsageError
from decoders.models.loaded import Loaded
from decoders.text.encoding import Prompt, check_unicode

CONVERSATION = "conversation: "
"""The prefix of a conversation that is passed to the harness as a text; the chat template makes token ids of it, not a
text."""
LENGTH = 256
"""The default number of positions of an answer, as in the harness itself."""


@dataclass(frozen=True)
class Wanted:
    """How the text of a request is to be generated."""

    ends: tuple[str, ...]
    """Strings that end it."""
    length: int
    """Its number of positions."""
    sampling: tuple[tuple[str, float], ...] = ()
    """The sampling options that the task sets."""


def written(messages: Sequence[dict[str, str]]) -> str:
    """A conversation as the text that the harness passes on, logs, and caches between runs."""
    return CONVERSATION + json.dumps(messages)


def read(text: str) -> Prompt:
    """The inverse of `written`: a conversation, or the text itself if it is none."""
    messages: Any = json.loads(text.removeprefix(CONVERSATION)) if text.startswith(CONVERSATION) else text
    return messages


def wanted(r: Instance, length: int | None, most: int | None) -> Wanted:
    """The settings of a request. `length` overrides the task's own; `most`: the number of positions of the model."""
    said = r.args[1]
    until = said.get("until") or ()
    ends = tuple(x for x in ([until] if isinstance(until, str) else until) if x)
    size = length or said.get("max_gen_toks") or said.get("max_tokens") or min(LENGTH, most or LENGTH)
    return Wanted(ends, int(size), sampling(said))


def sampling(said: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    """The sampling options that a task sets; none if it asks for the likeliest tokens. As in transformers, the default
    temperature of sampling is 1, and temperature 0 means no sampling."""
    temperature = said.get("temperature")
    drawn = said.get("do_sample")
    if not (drawn if drawn is not None else (temperature or 0) > 0) or temperature == 0:
        return ()
    set_ = {"temperature": 1.0 if temperature is None else float(temperature)}
    if 0 < (said.get("top_p") or 1) < 1:
        set_["top_p"] = float(said["top_p"])
    if (said.get("top_k") or 0) > 0:
        set_["top_k"] = int(said["top_k"])
    return tuple(set_.items())


def sampled(decoder: Decoder, name: str, asked: Iterable[tuple[str, float]], own: Iterable[str]) -> Decoder:
    """The decoder with the sampling options that the task `asked` for, except the options `own` that the user has set.
    Raises `UsageError` if the decoder lacks such an option."""
    changes = {key: value for key, value in asked if key not in own}
    for key in changes:
        if key not in {f.name for f in fields(decoder)}:
            raise UsageError(f"the task asks for {key}={changes[key]:g}, and {name} has no option {key}")
    return replace(decoder, **changes) if changes else decoder


def seeds(requests: Sequence[Instance], seed: int) -> list[int]:
    """The seed of each request: `seed` for the first of its repeats, and the following numbers for the others."""
    before: Counter[Any] = Counter()
    out = []
    for r in requests:
        key = id(r) if r.doc_id is None else (r.task_name, r.doc_id, r.idx)
        out.append(seed + before[key])
        before[key] += 1
    return out


def fitted(prompt: Prompt, length: int, loaded: Loaded) -> Prompt:
    """The prompt, cut from the left so that it and `length` positions fit into the model; conversations are never cut.
    Raises `UsageError` if there is no room for any prompt, and if a conversation ends with the beginning of an
    answer."""
    if not isinstance(prompt, str) and prompt and prompt[-1]["role"] == "assistant":
        raise UsageError("an answer that is begun cannot be gone on with here; leave out the task's gen_prefix")
    if loaded.positions is None:
        return prompt
    room = loaded.positions - length
    if room < 1:
        has = f"the {loaded.positions} of {loaded.name}"
        raise UsageError(f"{length} positions of an answer leave no room for a prompt in {has}")
    encode, text = loaded.tokenizer.encode, prompt
    if not isinstance(text, str) or not valid(text):
        return prompt
    tokens, kept = encode(text), room
    while kept and len(encode(text)) > room:
        text, kept = loaded.tokenizer.decode(tokens[-kept:]), kept - 1
    return text


def valid(text: str) -> bool:
    """Whether a tokenizer can encode the text."""
    try:
        check_unicode(text)
    except UsageError:
        return False
    return True
