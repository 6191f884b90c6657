"""What papers claim for their strategies, beside what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown
from decoders_bench.quality.settings import known
from decoders_bench.quality.shelf import forwards, verdict
from decoders_bench.quality.summary import Comparison, Point, adjusted, compare
from decoders_bench.quality.tables import in_points


@dataclass(frozen=True)
class Claim:
    """What the papers on some strategies claim, and the strategy that they are better than."""

    strategies: tuple[str, ...]
    claimed: str
    rival: str
    same: bool = False
    """Whether they claim to write the rival's tokens."""


CLAIMS = (
    Claim(("credit", "factor", "frechet", "local_leap", "hierarchy", "entropy_bound"), "faster, as accurate",
          "threshold"),
    Claim(("dawn",), "faster, because attention tells which tokens depend on each other", "threshold"),
    Claim(("persistent_drafts",), "ours: fewer forwards, as accurate", "threshold"),
    Claim(("frontier", "pard"), "more accurate, because the text is written from left to right", "threshold"),
    Claim(("wedlm",), "faster with an ordinary KV cache, as accurate (its own model)", "left_to_right"),
    Claim(("coupled", "introspective", "nemotron_linear"), "the same tokens, in fewer forwards", "left_to_right",
          same=True),
    Claim(("s2d2",), "faster, as accurate", "sdar"),
    Claim(("freedave",), "the same tokens, in fewer forwards", "llada", same=True),
    Claim(("klass", "saber"), "faster and more accurate", "llada"),
    Claim(("wino",), "faster and more accurate, because tokens can be revised", "llada"),
    Claim(("slow_fast", "prophet"), "faster, as accurate", "llada"),
    Claim(("pc_sampler", "certainty_prior"), "more accurate, by a better order", "llada"),
    Claim(("role_order",), "more accurate, because premises come first", "llada"),
    Claim(("remdm", "p2"), "more accurate, because tokens can be revised", "ancestral"),
    Claim(("t2m",), "more accurate, because suspect tokens are masked, not overwritten", "llada2"),
)  # fmt: skip


def held(own: Sequence[Point]) -> list[tuple[Claim, Point, Point, Comparison]]:
    """Each claim about a strategy with the most accurate settings of it and of the rival, compared on the same
    items."""
    pairs = [(claim, best(own, name), best(own, claim.rival)) for claim in CLAIMS for name in claim.strategies]
    return [(claim, mine, rival, compare(rival.rows, mine.rows)) for claim, mine, rival in pairs]


def claims_table(own: Sequence[Point], beside: Sequence[Comparison] = ()) -> str:
    """A row for each claimed strategy: its claim, and how it compares with the rival. The rows share Holm's correction
    with the comparisons `beside` them."""
    found = held(own)
    p_values = adjusted([c for *_, c in found], beside)
    body = []
    for (claim, mine, rival, c), p_value in zip(found, p_values, strict=True):
        here = f"{equal(mine, rival)}, {forwards(mine, rival)}" if claim.same else verdict(mine, rival, c, p_value)
        ratio = f"{mine.summary.nfe / rival.summary.nfe:.2f}"
        body.append([marked(mine.decoder, "`"), claim.claimed, f"`{rival.decoder}`", here, in_points(c), ratio])
    return markdown(["decoder", "claim", "compared with", "here", "points", "forwards, relative"], body)


def equal(mine: Point, rival: Point) -> str:
    """How many texts are the same, of the items that both have."""
    other = {r.question: r.output for r in rival.rows}
    same = [other[r.question] == r.output for r in mine.rows if r.question in other]
    return f"the same text in {sum(same)} of {len(same)}"


def best(own: Sequence[Point], name: str) -> Point:
    """The most accurate setting of a strategy; of equal ones that with the fewest forwards."""
    mine = [p for p in own if known(p.decoder).name == name]
    return min(mine, key=lambda p: (-p.summary.accuracy, p.summary.nfe))
