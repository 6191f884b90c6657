"""The table of what papers claim and what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decoders.registry import entries
from decoders_bench.common.results import weights
from decoders_bench.docs import choosing_section, claims_section, shelf
from decoders_bench.quality import claims
from decoders_bench.quality.claims import CLAIMS, Claim, best, claims_table, held
from decoders_bench.quality.shelf import BASELINE
from decoders_bench.quality.summary import points
from support.plain_rows import row


def rows(decoder, right, nfe):
    return [row(decoder=decoder, curve=decoder, item=i, right=i < right, nfe=nfe) for i in range(40)]


def test_every_claim_is_about_a_strategy_that_the_recorded_run_has():
    known = {e.name for e in entries("strategies")}
    named = {x for c in CLAIMS for x in (*c.strategies, c.rival)}
    assert named <= known
    run = {r.decoder.partition(":")[0] for r in shelf().rows}
    assert named <= run
    assert len([x for c in CLAIMS for x in c.strategies]) == len({x for c in CLAIMS for x in c.strategies})


def test_every_setting_of_the_shelf_has_the_same_items_of_all_rungs_with_the_present_weights():
    asked = [{r.question for r in p.rows} for p in points(shelf().rows)]
    assert all(own == asked[0] for own in asked)
    assert len({question[:2] for question in asked[0]}) == 26
    assert len(asked[0]) >= 400
    assert {run.info["environment"]["nano"] for run in shelf().runs} == {weights()}


def test_a_claim_is_held_against_its_own_rival(monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", (
        Claim(("klass",), "faster and more accurate", "llada"), Claim(("pard",), "more accurate", "threshold"),
    ))  # fmt: skip
    measured = [
        *rows("llada:steps=none", 20, 8), *rows("klass:tau=0.6", 40, 4), *rows("threshold:tau=0.9", 40, 2),
        *rows("pard:tau=0.5", 10, 2), *rows("pard:tau=0.9", 12, 2),
    ]  # fmt: skip
    _, _, klass, pard = claims_table(points(measured)).splitlines()
    assert klass.startswith("| `klass:tau=0.6` | faster and more accurate | `llada:steps=none` | more accurate, fewer ")
    assert klass.endswith("| 0.50 |")
    assert pard.startswith("| `pard:tau=0.9` (abstract only) | more accurate | `threshold:tau=0.9` | less accurate, ab")
    assert pard.endswith("| 1.00 |")


def test_a_claim_of_the_same_tokens_counts_the_equal_texts(monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", (Claim(("coupled",), "the same tokens", "left_to_right", same=True),))
    slow = [row(decoder="left_to_right", item=i, nfe=8) for i in range(5)]
    fast = [row(decoder="coupled", item=i, nfe=4, output="1" if i else "2") for i in range(5)]
    *_, line = claims_table(points([*slow, *fast])).splitlines()
    assert "| `coupled` | the same tokens | `left_to_right` | the same text in 4 of 5, fewer forwards | " in line


@pytest.mark.parametrize(("short", "long", "due"), [((30, 4), (20, 2), 4), ((20, 4), (20, 2), 8)])
def test_the_best_setting_is_the_most_accurate_and_then_the_fastest(short, long, due):
    own = points([*rows("t2m:block_steps=4", *short), *rows("t2m:block_steps=8", *long), *rows("threshold", 40, 1)])
    assert best(own, "t2m").decoder == f"t2m:block_steps={due}"


def test_a_pair_of_two_tables_has_one_verdict():
    own = points(shelf().rows)
    text = {line.split(" | ")[0]: line for line in choosing_section().splitlines() if line.startswith("| `")}
    here = [line.split(" | ") for line in claims_section().splitlines() if line.startswith("| `")]
    both = [(name, said) for name, _, rival, said, *_ in here if rival == f"`{BASELINE}`"]
    assert len(both) >= 8
    assert all(text[name].endswith(f" | {said} |") for name, said in both)
    assert len(held(own)) == len(here)


def test_comparisons_beside_a_table_make_its_verdicts_stricter(monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", (Claim(("klass",), "more accurate", "llada"),))
    own = points([*rows("llada", 20, 8), *rows("klass", 26, 4)])
    [(*_, c)] = held(own)
    assert 0.005 < c.p < 0.05
    assert "more accurate, fewer" in claims_table(own)
    others = [replace(c, gains=(float(i),)) for i in range(10)]
    assert "no difference in accuracy shown, fewer" in claims_table(own, beside=others)
    assert "more accurate, fewer" in claims_table(own, beside=[c] * 10)
