"""Junk of the kinds that people type and files hold, for `hypothesis`: near misses of what is right rather than noise,
which is refused at the door."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from decoders import specs
from decoders.core import Cache, Decoder, Option, options

ODD = (
    "", " ", "0", "-1", "1", "2", "0.5", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "1_0", "0x10", "1,2",
    "\u0661", "none", "None", "true", "no", "9" * 20, "9" * 5000, "a" * 300, "=", ",", ":", "(", ")", "((",
    "(threshold)", "threshold", "threshold:tau=0.9", "os:system", "builtins:exec", "decoders:Decoder",
    "this.is:Nothing", "../..", "/", "/dev/null", "~nobody", "\t", "a\nb", "é", "日本", "🙂", "\udcff", "\x7f", "%s",
    "{}", "*", "--", "-n", "@", '"', '"a', "[1]", "<|mask|>", "<|eos|>", "null", "exact", "chain", "nano", "{{3}}",
    "\\", "json:", "regex:",
)
"""Texts that are wrong almost everywhere, such as a program can be started with: no null byte, and bytes that are no
UTF-8 as Python has them then."""
PIECES = "(", ")", "[", "{", "}", ",", "=", ":", "+", " ", "0", "9", "-", ".", "\\", '"', "none", "\udcff", "é", "nan"
NUMBERS = "0", "1", "2", "3", "7", "16", "0.3", "0.9", "1.0", "1.5", "1000000000", "none"

odd = st.sampled_from(ODD)
noise = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
junk = st.one_of(odd, odd, odd, noise)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), odd, st.just("\ud800"))
data = st.recursive(
    scalars, lambda x: st.one_of(st.lists(x, max_size=3), st.dictionaries(junk, x, max_size=3)), max_leaves=6
)
"""Anything that JSON can say, and what Python writes as JSON although it is none."""


@st.composite
def bent(draw: st.DrawFn, text: str, cuts: int = 3) -> str:
    """A text with a few pieces put into it, in place of some of its characters."""
    for _ in range(draw(st.integers(0, cuts))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + draw(st.integers(0, 3)) :]
    return text


@st.composite
def value(draw: st.DrawFn, o: Option | None, depth: int) -> str:
    """What stands behind an option: mostly of its type, though perhaps out of its range."""
    if o is None or draw(st.integers(0, 11)) == 0:
        return draw(junk)
    if o.choices or o.part:
        return draw(st.sampled_from([*map(str, o.choices), *(o.part.known() if o.part else ()), "none"]))
    if any(issubclass(t, Decoder | Cache) for t in o.types):
        inner = draw(spec("caches" if any(issubclass(t, Cache) for t in o.types) else "strategies", max(depth - 1, 0)))
        return draw(st.sampled_from((f"({inner})", f"({inner})", inner)))
    if str in o.types or tuple in o.types:
        return draw(st.sampled_from(("a", "1+2", "198", "none", '" a,b"', "0", "<|eos|>", "99999")))
    return draw(st.sampled_from(("true", "false") if bool in o.types else NUMBERS))


@st.composite
def spec(draw: st.DrawFn, kind: str = "strategies", depth: int = 2) -> str:
    """A spec, mostly of a plug that there is, with options that it has and values that it may not have."""
    if draw(st.integers(0, 19)) == 0:
        return draw(junk)
    name = draw(st.sampled_from(sorted(specs.table(kind))))
    known = options(specs.load(kind, name))
    most = 3 if depth else 0
    keys = draw(st.lists(st.sampled_from([*list(known) * 6, "tau"]), max_size=most, unique=True))
    whole = specs.joined(name, {key: draw(value(known.get(key), depth)) for key in keys})
    return draw(bent(whole)) if draw(st.integers(0, 14)) == 0 else whole


@st.composite
def arguments(draw: st.DrawFn, given: dict[str, Any], words: st.SearchStrategy[str] = odd) -> list[str]:
    """A command line: some of the options, None for a flag, and perhaps a word, in any order. A value in twenty is any
    junk."""
    said = []
    for name in draw(st.lists(st.sampled_from(sorted(given)), max_size=5)):
        kind = given[name]
        said.append([name] if kind is None else [name, draw(junk if draw(st.integers(0, 19)) == 0 else kind)])
    said += [[w] for w in draw(st.lists(words, max_size=1))]
    return [part for whole in draw(st.permutations(said)) for part in whole]


@st.composite
def mangled(draw: st.DrawFn, whole: Any) -> Any:
    """JSON with one or two of its values replaced, taken out, or doubled, however deep they stand."""
    for _ in range(draw(st.integers(1, 2))):
        whole = draw(replaced(whole))
    return whole


@st.composite
def replaced(draw: st.DrawFn, whole: Any) -> Any:
    inner = sorted(whole) if isinstance(whole, dict) else range(len(whole)) if isinstance(whole, list) else ()
    if not inner or draw(st.integers(0, 7)) == 0:
        return draw(data)
    key = draw(st.sampled_from(inner))
    copy = whole.copy()
    match draw(st.integers(0, 5)):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[draw(junk)] = copy[key]
        case _:
            copy[key] = draw(replaced(copy[key]))
    return copy


@st.composite
def json_file(draw: st.DrawFn, whole: Any) -> bytes:
    """A file that holds JSON, or almost: mangled, cut off, behind a byte order mark, nested deep, or no text."""
    match draw(st.integers(0, 19)):
        case 0:
            return draw(st.binary(max_size=20))
        case 1:
            text = json.dumps(whole)
            return text[: draw(st.integers(0, len(text)))].encode()
        case 2:
            return draw(bent(json.dumps(whole))).encode("utf-8", "surrogatepass")
        case 3:
            depth = draw(st.sampled_from((10, 1000, 20000)))
            return b"[" * depth + b"]" * depth
    mark = draw(st.sampled_from((b"",) * 9 + (b"\xef\xbb\xbf",)))
    return mark + json.dumps(draw(mangled(whole)), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
