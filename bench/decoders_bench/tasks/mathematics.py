"""Answers to mathematical problems: where a text says its own, and when two of them are equal."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

NUMBER = re.compile(
    r"(?:(?<![\w.)}])-)?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?:(?<![\w.)}])-)?\.[0-9]+"
)
"""A number; a minus behind another one takes away."""
LONGEST = 1000
"""Characters of an answer that may be a number: longer ones take long to read."""


def boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{...}`, braces matched."""
    begin = text.rfind("\\boxed{")
    if begin < 0:
        return None
    depth, start = 0, begin + len("\\boxed{")
    for i in range(start - 1, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[start:i]
    return None


def marked(text: str) -> str | None:
    """The answer where the text says that it is one: in a box, behind `####`, or behind `answer is` up to the end of
    the sentence."""
    found = boxed(text)
    if found is not None:
        return found
    said = re.findall(r"(?:####|answer is:?)[ \t]*([^\n]*)", text, re.IGNORECASE)
    return re.split(r"(?<=[^.])\.\s", said[-1])[0].strip() if said else None


def stated(text: str) -> str | None:
    """The number that a text gives as its answer: that which is marked, behind a `=` the result, else the last of
    all."""
    said = plain(marked(text) or "")
    found = NUMBER.findall(said.rpartition("=")[2])[:1] or NUMBER.findall(said)[:1] or NUMBER.findall(plain(text))[-1:]
    return found[0] if found else None


def number(text: str | None) -> Decimal | None:
    """The value of a number as it is written in decimals."""
    text = plain(text or "").replace(",", "").strip().removeprefix("$")
    return Decimal(text) if re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", text) else None


def plain(text: str) -> str:
    """With the minus, the thousands and the dollars of typesetting as they are typed."""
    return re.sub(r"\{,\}|,\\!", ",", text.replace("\N{MINUS SIGN}", "-")).replace("\\$", "$")


SPACE = (
    r"\\(?:left|right|displaystyle|,|!|;|:|quad|qquad)(?![a-zA-Z])|\\[ ()\[\]]|\$|\s"
    r"|\^\{?\\circ\}?|\\degree|\N{DEGREE SIGN}|\\?%"
)
SAME = {
    r"\\[dtc]frac(?![a-zA-Z])": r"\\frac",
    **{rf"\\{word}(?![a-zA-Z])": rf"\\{short}" for word, short in (("leq", "le"), ("geq", "ge"), ("neq", "ne"))},
}
UNIT = r"(?<=.)\\(?:text|mbox|mathrm)\{[^{}]*\}(?:\^\{?[0-9]\}?)?$"


def normal(latex: str) -> str:
    """An answer without what does not change it: spacing, `$`, units in `\\text`, the size of brackets and fractions,
    braces around a letter, a name in front of `=`, stars of Markdown, the full stop at the end; a number, a mixed one
    or a fraction of whole numbers in lowest terms."""
    s = plain(latex).strip().strip("*`").rstrip(".").strip()
    s = re.sub(r"\\text\{\s*(?:and|or)\s*\}", ",", s)
    s = re.sub(SPACE, "", s)
    s = re.sub(UNIT, "", s)
    s = re.sub(r"\\(?:text|mbox|mathrm|textbf|mathbf)\{([^{}]*)\}", r"\1", s)
    for one, other in SAME.items():
        s = re.sub(one, other, s)
    s = re.sub(r"(\\sqrt|[\^_])([a-zA-Z0-9])", r"\1{\2}", s)
    s = re.sub(r"\\frac(\{[^{}]*\}|[0-9])(\{[^{}]*\}|[0-9])", fraction, s)
    s = re.sub(r"^(?:[a-zA-Z](?:=|\\in(?![a-zA-Z])))", "", s)
    s = re.sub(r"^\{([^{}]*)\}$|^\(([A-Z])\)$", r"\1\2", s)
    s = s.replace(",", "") if re.fullmatch(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", s) else s
    return value(s) or s


def fraction(m: re.Match[str]) -> str:
    """With braces around both parts."""
    return r"\frac" + "".join(x if x.startswith("{") else f"{{{x}}}" for x in m.groups())


def value(s: str) -> str | None:
    """A number in lowest terms; none if it is no number."""
    ratio = re.fullmatch(r"([+-]?)([0-9]*)\\frac\{(-?[0-9]+)\}\{([0-9]+)\}|([+-]?)()([0-9]+)/([0-9]+)", s)
    if len(s) > LONGEST:
        return None
    if ratio:
        sign, whole, top, under = (x for x in ratio.groups() if x is not None)
        if not int(under):
            return None
        found = int(whole or 0) + Fraction(int(top), int(under))
        return str(-found if sign == "-" else found)
    if re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,2})?", s, re.IGNORECASE):
        return str(Fraction(s))
    return None
