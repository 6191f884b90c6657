"""The page of a run: one HTML file that loads nothing and has no scripts."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from decoders_bench.report.page import STATIC
from decoders_bench.versus import tables
from decoders_bench.versus.charts import Series, chart
from decoders_bench.versus.claims import Claim, Results, claims, same
from decoders_bench.versus.equal import AXES
from decoders_bench.versus.plan import KINDS, TITLES, Plan
from decoders_bench.versus.sizes import size_table

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'"
COLOURS = {"ar": 0, "mdm": 1, "block": 2, "latent": 3}
STYLE = """
.plot > svg { width: 100%; height: auto; }
.legend span { display: inline-flex; gap: 6px; align-items: center; }
section h3 { font: 500 17px/1.3 var(--serif); margin: 34px 0 8px; }
.scroll, .pair, .findings { margin-top: 22px; }
.pair { row-gap: 36px; }
.findings li { padding: 8px 0; }
.findings li:first-child { padding-top: 8px; }
td.text { white-space: normal; }
td.text:last-child, td code { white-space: nowrap; }
@media (max-width: 760px) { .pair { grid-template-columns: minmax(0, 1fr); } .page { padding: 0 16px 64px; } }
"""


def inline(text: str) -> str:
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))


def table(written: str) -> str:
    """A Markdown table as HTML; cells that are not numbers are aligned left."""
    header, _, *rows = ([c.strip() for c in line.strip("|").split("|")] for line in written.splitlines())

    def cell(tag: str, x: str, number: bool) -> str:
        return f"<{tag}>{inline(x)}</{tag}>" if number else f'<{tag} class="text">{verdict(x)}</{tag}>'

    numbers = [all(re.match(r"^[-+x≤<]?[ \d.]*", r[i])[0] != "" or not r[i] for r in rows) for i in range(len(header))]  # type: ignore[index]
    head = "".join(cell("th", x, n) for x, n in zip(header, numbers, strict=True))
    body = "".join(
        f"<tr>{''.join(cell('td', x, n) for x, n in zip(r, numbers, strict=True))}</tr>" for r in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def verdict(x: str) -> str:
    return f'<span class="verdict {x}">{x}</span>' if x in ("better", "worse") else inline(x)


def items(lines: Sequence[str]) -> str:
    return f'<ul class="findings">{"".join(f"<li>{inline(x)}</li>" for x in lines)}</ul>'


def section(name: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(name)}</h2>{''.join(parts)}</section>"


def figure(drawn: str, told: str) -> str:
    return f"<figure>{drawn}<figcaption>{html.escape(told)}</figcaption></figure>"


def learning(found: Results, plan: Plan) -> str:
    series = [
        Series(f"{TITLES[k]}, {regime}", [(x / 1000, y) for x, y in tables.curve_rows(found, plan, regime, k)],
               COLOURS[k], dashed=regime != plan.regimes[0])
        for regime in plan.regimes for k in tables.shown_kinds(plan, regime)
    ]  # fmt: skip
    return chart(series, "thousand examples", "right, %")


def costs(found: Results, plan: Plan) -> str:
    """A chart for each axis, with a line for each kind and cache, and the table of costs."""
    if not found.get("costs"):
        return f"<p>{inline(tables.UNMEASURED)}</p>"
    drawn = []
    for axis, told in AXES.items():
        series = []
        for kind in tables.shown_kinds(plan, plan.regimes[0]):
            rows = tables.speed_rows(found, plan, kind)
            caches = list(dict.fromkeys(x["cache"] for x in rows))
            for cache in caches:
                name = TITLES[kind] + (f", {CACHES[cache]}" if len(caches) > 1 else "")
                points = sorted((x[axis], x["right"]) for x in rows if x["cache"] == cache)
                series.append(Series(name, points, COLOURS[kind], dashed=cache != caches[0]))
        drawn.append(figure(chart(series, told, "right, %", logarithmic=True), f"Right answers against {told}."))
    return f'<div class="pair">{"".join(drawn)}</div>{table(tables.speed_table(found, plan))}'


CACHES = {"exact": "no cache", "dual": "dual cache"}


def memory(found: Results, plan: Plan) -> str:
    series = []
    for regime in plan.regimes:
        for k in tables.shown_kinds(plan, regime):
            told = [(n, right) for n, right, _ in tables.memory_rows(found, plan, regime, k, "all") if n]
            series.append(Series(f"{TITLES[k]}, {regime}", told, COLOURS[k], dashed=regime != plan.regimes[0]))
    if not all(s.points for s in series):
        return ""
    return chart(series, "times shown", "letters, %", logarithmic=True)


def headline(own: Sequence[Claim]) -> str:
    """The summary of the claims on the first kind."""
    first = [c for c in own if c.kind == own[0].kind]
    told = tables.counted(first) if first else "autoregression and masked diffusion, twin by twin"
    return told[0].upper() + told[1:]


def page(found: Results, plan: Plan) -> str:
    every, check = claims(found, plan), same(found, plan)
    parts = []
    for kind in KINDS:
        own = [c for c in every if c.kind == kind]
        if own:
            parts.append(section(
                f"{TITLES[kind].capitalize()} against autoregression", items([tables.sentence(c) for c in own]),
                table(tables.claim_table(own)),
            ))  # fmt: skip
    charts = [figure(drawn, told) for drawn, told in (
        (learning(found, plan), "Right answers to validation items on the way, mean over seeds."),
        (memory(found, plan), "Letters of planted canaries that come back from their beginning, one letter a forward."),
    ) if drawn]  # fmt: skip
    parts += [
        section("On the way", f'<div class="pair">{"".join(charts)}</div>',
                items(tables.crossing_lines(found, plan)), "<h3>Right validation answers, %</h3>",
                table(tables.curve_table(found, plan)), "<h3>Validation loss</h3>",
                f'<p class="note">{inline(LOSSES)}</p>', table(tables.loss_table(found, plan))),
        section("What an answer costs", f'<p class="note">{inline(COSTS)}</p>', costs(found, plan)),
        section("Canaries", f'<p class="note">{inline(CANARIES_TEXT)}</p>', table(tables.memory_table(found, plan))),
        section("Likelihood", f'<p class="note">{inline(LIKELIHOOD)}</p>', table(tables.likelihood_table(found, plan))),
        section("Order", f"<p>{inline(tables.late_line(found, plan))}</p>"),
        section("What the twins are made of", f'<p class="note">{inline(SIZES)}</p>', table(size_table(plan))),
        section("Autoregression against itself", f"<p>{inline(tables.same_line(check))}</p>",
                table(tables.claim_table(check, item_test=True)) if check else ""),
    ]  # fmt: skip
    style = (STATIC / "page.css").read_text(encoding="utf-8") + STYLE
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta name="color-scheme" content="light dark">'
        f"<title>AR or diffusion?</title><style>{style}</style></head><body><div class=\"page\">"
        '<header class="masthead"><div class="kicker"><span>AR or diffusion?</span></div>'
        f'<h1>{inline(headline(every))}</h1><p class="byline">{inline(tables.summary(found, plan))}</p></header>'
        f"<main>{''.join(parts)}</main></div></body></html>\n"
    )


COSTS = (
    "A point is a setting of a decoder, in the mean over seeds. Autoregression has its KV cache, and takes one token a "
    "forward, or several by Jacobi iteration (`coupled`), which changes no token. The dual cache of masked diffusion "
    "takes the keys and values of the prompt as final, which is an approximation. Block diffusion reads finished "
    "blocks from its cache. Latent diffusion reads its prompt causally, so those of its prompt are final. Times are "
    "those of one thread of a processor, the median of turns in which all settings were measured one after the other."
)
CANARIES_TEXT = (
    "The share of letters that come back, and in brackets that of canaries that come back whole; columns say how often "
    "a canary was shown. A letter that was never shown comes back by chance in 1 of 26 cases."
)
LOSSES = "Each loss is that of its own objective, so a column is compared with itself alone."
SIZES = (
    "Parameters by part. The operations are those of the first step of the training, its gradients included; only "
    "products of matrices count."
)
LIKELIHOOD = (
    "Nats of a whole canvas of 8 to 24 positions, its stop tokens included. A number of autoregression is the "
    "likelihood itself; one with ≤ is a bound that lies above what the model would pay, so the two columns are not "
    "compared. Of shuffle, all orders are equally likely, and the best possible is known. Latent diffusion has no "
    "likelihood of a text that could be computed or bounded here."
)
