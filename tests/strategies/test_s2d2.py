"""S2D2 and its exact form: routing, acceptance, exactness, and that the replay of recorded runs can fail."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from decoders import Blocks, Generator, Pred, State, UsageError, decode, first_run, get, get_cache, spec_of
from decoders.cli import main
from decoders.core import Trace
from decoders.errors import OldSpelling
from decoders.models.adapter import TransformersModel
from decoders.strategies.coupled import Coupled
from decoders.strategies.s2d2 import S2D2, EditingS2D2
from decoders.strategies.speculation.acceptance import Lenient, Speculative
from decoders.strategies.speculation.base import Dynamic, Joint, Static
from decoders.strategies.speculation.draft import Draft, residual
from decoders.strategies.speculation.estimators import acceptance, expected_length
from decoders.strategies.speculation.routes import UCB, Bandit, Hysteresis, MinSpan, Never, Route, Score, bucket
from decoders.testing import check
from decoders.testing.oracle import Oracle, distance, floor
from decoders.testing.toy import ToyModel
from decoders_bench.golden import speculation
from decoders_bench.golden.cases import MismatchError, read
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import state
from support.laws import lawsuits
from support.marks import slow, turns

SHARED = Path(os.environ.get("DECODERS_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
ORACLE, TOY = Oracle(), ToyModel(vocab=24, mask_id=23, block_causal=True, sharp=16.0)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [14, 15, 16, 17, 18]]
ROUTES = ["always", "never", "(min_span:span=3)", "(score:cost=0.5)", "(hysteresis:on=0.6,off=0.3,dynamic=true)", "ucb"]
ESTIMATORS = ["soft_entropy", "hard_margin", "hard_entropy", "confidence_power", "clipped_margin", "renyi2"]


# --- laws -----------------------------------------------------------------------------------------------------


OPTIONS = [
    "s2d2:route=ucb,temperature=1.0,top_k=5,keep=3,tau=0.3",
    "s2d2:accept=(lenient:ratio=0.3,temper=0.5,confident=true),base=(dynamic:steps=2),tau=0.3",
]


@pytest.mark.parametrize(("spec", "law"), lawsuits(OPTIONS))
def test_law(spec: str, law: Callable[[Any], None]) -> None:
    law(get(spec))


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        *(f"s2d2:route={route},temperature={t},tau=0.3" for route in ROUTES for t in ("0.0", "0.7")),
        *(f"s2d2:route=(score:estimator={e},cost=0.5),tau=0.3" for e in ESTIMATORS),
        "s2d2:accept=(lenient:resample=false),base=(static:steps=3)",
        *(f"s2d2_editing:route={route},tau=0.3,base=(joint:tau_edit=0.3)" for route in ("always", "hysteresis", "ucb")),
        "coupled:temperature=1.0,top_k=5,top_p=0.9,redraft=1",
        "left_to_right:race=true,temperature=0.7,top_k=4",
    ],
)
def test_every_law_for_every_route_and_estimator(spec: str) -> None:
    check(spec)


# --- exactness against the oracle -------------------------------------------------------------------------------

EXACT = [
    "s2d2:temperature=1.0", "s2d2:temperature=1.0,keep=2", "s2d2:temperature=1.0,keep=1", "coupled:temperature=1.0",
    "coupled:temperature=1.0,redraft=1", "left_to_right:temperature=1.0,race=true",
]


@pytest.mark.parametrize("spec", EXACT)
def test_verified_samples_have_the_autoregressive_distribution(spec: str) -> None:
    mean, deviation = floor(ORACLE, 1500)
    tv, nfe = distance(get(spec), ORACLE, 1500)
    assert tv < mean + 4 * deviation
    assert nfe < ORACLE.length or "left_to_right" in spec


@pytest.mark.slow
@pytest.mark.parametrize("spec", EXACT)
@pytest.mark.parametrize("oracle", [ORACLE, Oracle(letters=2, length=6, seed=3)])
def test_and_so_have_very_many(oracle: Oracle, spec: str) -> None:
    rows = 30_000
    mean, deviation = floor(oracle, rows, repeats=20)
    assert distance(get(spec), oracle, rows)[0] < mean + 4 * deviation < 0.03


MEASURED = dict(re.findall(r"^ +(temperature=\S+) +(0\.\d{3})$", S2D2.__doc__ or "", flags=re.MULTILINE))


FIRST, *OTHERS = MEASURED


@pytest.mark.parametrize("options", [FIRST, *slow(*OTHERS)])
def test_the_distances_in_the_documentation_are_measured(options: str) -> None:
    mean, deviation = floor(ORACLE, 4000)
    tv = distance(get(f"s2d2:{options}"), ORACLE, 4000)[0]
    assert tv == pytest.approx(float(MEASURED[options]), abs=0.002)
    assert (tv < mean + 4 * deviation) == (options == "temperature=1.0")
    assert len(MEASURED) == 9


def test_what_is_exact_says_so() -> None:
    assert Coupled.unbiased
    assert not S2D2.unbiased
    assert not EditingS2D2.unbiased


# --- exact form equals autoregression ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "block_causal", "shifted"),
    turns(["temperature=0.0", "temperature=1.0", "temperature=0.6,top_k=7,top_p=0.9"], [False, True], [False, True]),
)
def test_coupled_drafts_are_the_autoregressive_tokens(net: Any, shifted: bool, block_causal: bool, how: str) -> None:
    model = TransformersModel(net, mask_id=23, block_causal=block_causal, shifted=shifted)
    ar = decode(model, get(f"left_to_right:race=true,{how}"), PROMPTS, length=24, windows=Blocks(8), seed=2)
    for redraft in (1, 2, 99):
        rows = decode(model, get(f"coupled:{how},redraft={redraft}"), PROMPTS, length=24, windows=Blocks(8), seed=2)
        assert [row.tokens for row in rows] == [row.tokens for row in ar]
        if redraft > 1:
            assert all(row.nfe <= 24 + 4 for row in rows)  # a draft for every block that the row touches


def test_coupled_drafts_are_the_autoregressive_tokens_around_holes_and_up_to_a_stop_token() -> None:
    toy, prompts = ToyModel(stop_ids=(9,)), [[1, 10, 2, 3, 10, 4], [5, 10]]
    for seed in range(4):
        ar, rows = (
            [r.tokens for r in decode(toy, get(spec), prompts, length=9, infill=True, seed=seed)]
            for spec in ("left_to_right:race=true,temperature=1.0", "coupled:temperature=1.0")
        )
        assert rows == ar


def test_in_far_fewer_forwards_where_the_model_knows_both_ways() -> None:
    tokens, forwards = {}, {}
    for spec in ("left_to_right", "coupled", "s2d2"):
        made = Generator("nano", spec)(["Sort: d b a c f e"], length=24, ignore_eos=True)[0]
        tokens[spec], forwards[spec] = made.tokens, made.nfe
    assert tokens["coupled"] == tokens["left_to_right"]
    assert forwards["left_to_right"] == 24
    assert max(forwards["coupled"], forwards["s2d2"]) <= 8


# --- caches, batches, phases --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "block_causal", "shifted"),
    turns(
        ["s2d2:temperature=1.0", "s2d2:route=ucb,tau=0.4", "s2d2_editing:base=(joint:tau_edit=0.4),tau=0.4", "coupled"],
        [False, True], [False, True],
    ),
)
def test_the_exact_cache_changes_nothing(net: Any, spec: str, block_causal: bool, shifted: bool) -> None:
    model = TransformersModel(net, mask_id=23, block_causal=block_causal, shifted=shifted)
    exact, none = (
        decode(model, get(spec), PROMPTS, length=12, windows=Blocks(4), cache=get_cache(c), seed=1)
        for c in ("exact", "none")
    )
    assert exact == none


def test_turning_from_draft_to_verification_leaves_finished_blocks_alone() -> None:
    trace = Trace()
    decode(TOY, get("s2d2:temperature=1.0"), [PROMPTS[1]], length=14, windows=Blocks(4), watch=trace)
    assert {int(f.phase) for f in trace.forwards} == {0, 1}
    for f in trace.forwards:
        if not f.entered:
            assert int(f.compute[0].nonzero().min()) >= int(f.at[0, 0])


@pytest.mark.parametrize("route", ["ucb", *slow(*(r for r in ROUTES if r != "ucb"), "always,temperature=1.0")])
def test_rows_in_different_phases_and_windows_do_not_know_of_each_other(route: str) -> None:
    decoder, trace = get(f"s2d2:tau=0.5,route={route}"), Trace()
    together = decode(TOY, decoder, PROMPTS, length=20, windows=Blocks(8), seeds=[5, 6, 7], watch=trace)
    for prompt, row, seed in zip(PROMPTS, together, (5, 6, 7), strict=True):
        assert decode(TOY, decoder, [prompt], length=20, windows=Blocks(8), seed=seed) == [row]
    mixed = [f.causal.any() and not f.causal.all() for f in trace.forwards]
    assert any(mixed) or route.startswith(("always", "never"))
    for f in trace.forwards:
        assert torch.equal(f.phase.bool() & f.want.any(-1), f.causal)


def test_a_trace_tells_drafts_from_verifications_and_how_each_token_came(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    args = ["generate", "-d", "s2d2:route=(min_span:span=3),tau=0.99", "-n", "16", "--ignore-eos", "--trace", str(file)]
    assert CliRunner().invoke(main, [*args, "Sort: d b a c f e"]).exit_code == 0
    rows = [json.loads(line)["rows"][0] for line in file.read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"draft", "verify"}
    for before, row in zip([{}, *rows], rows, strict=False):
        how = {change["outcome"] for change in row["committed"]}
        if row["phase"] == "verify":
            assert before["phase"] == "draft"
            assert before["committed"] == []
            assert how <= {"accepted", "resampled"}
        else:
            assert how <= {"base"}
    assert sum(len(row["committed"]) for row in rows) == 16
    CliRunner().invoke(main, ["generate", "-d", "left_to_right", "-n", "4", "--trace", str(file), "a"])
    row = json.loads(file.read_text().splitlines()[0])["rows"][0]
    assert "phase" not in row
    assert "outcome" not in row["committed"][0]


# --- the parts --------------------------------------------------------------------------------------------------

MASK = 4


def window(tokens: list[int], probs: list[list[float]]) -> tuple[State, Pred]:
    """One row with the mask token 4, and the prediction of four tokens and the mask at every position."""
    s = state(torch.tensor([tokens]), MASK, MASK + 1)
    logits = torch.tensor([probs], dtype=torch.float64).log()
    return s, Pred(logits, torch.arange(len(tokens))[None], len(tokens))


def peaked(*best: tuple[int, float]) -> list[list[float]]:
    """A distribution per position: one token with its probability, and the others evenly."""
    return [[p if v == token else (1 - p) / 3 for v in range(4)] + [0.0] for token, p in best]


def after_draft(decoder: S2D2, tokens: list[int], probs: list[list[float]]) -> tuple[State, Pred]:
    s, p = window(tokens, probs)
    s = decoder.begin(decoder.init(s))
    return decoder.step(s, p), p


class Fixed(S2D2):
    """Its coins fall as told: one number for all positions."""

    u = 0.5

    def coin(self, s: State) -> Tensor:
        return torch.full(s.tokens.shape, self.u, dtype=torch.float64)

    def pick(self, weight: Tensor, u: Tensor) -> Tensor:
        return weight.argmax(-1)


def test_a_round_by_hand() -> None:
    s, _ = after_draft(
        Fixed(tau=0.7), [MASK, MASK, MASK, 0, MASK], peaked((0, 0.8), (1, 0.8), (2, 0.8), (3, 0.8), (3, 0.9))
    )
    assert bool(s.memo.verify)
    assert int(s.open.sum()) == 4
    q = Fixed().query(s)
    assert q.tokens.tolist() == [[0, 1, 2, 0, MASK]]
    assert q.want.tolist() == [[True, True, True, False, False]]
    assert bool(q.causal)
    causal = window([0] * 5, peaked((0, 0.6), (2, 0.8), (2, 0.8), (0, 0.8), (0, 0.8)))[1]

    def verified(base: Any = None, **options: Any) -> tuple[list[int], list[int]]:
        after = Fixed(tau=0.7, base=base or Dynamic(), accept=Lenient(**options) if options else Speculative()).step(
            s, causal
        )
        assert not bool(after.memo.verify)
        return after.tokens[0].tolist(), after.memo.how[0].tolist()

    # ratios .6/.8, .07/.8 and 1: the second fails, and most of q - p is at token 2
    assert verified() == ([0, 2, MASK, 0, MASK], [1, 2, 0, 0, 0])
    assert verified(resample=False) == ([0, 1, MASK, 0, MASK], [1, 1, 0, 0, 0])
    assert verified(ratio=0.9) == ([0, 2, 2, 0, MASK], [1, 2, 3, 0, 0])
    assert verified(temper=0.1) == ([0, 1, 2, 0, MASK], [1, 1, 1, 0, 0])  # (.07/.8)^.1 > .5
    assert verified(confident=True) == ([0, 2, 2, 0, 3], [1, 2, 4, 0, 4])
    # a quota of 5: 2 verified, 2 above tau are fewer than 3
    assert verified(Dynamic(1)) == ([0, 2, 2, 0, 3], [1, 2, 0, 0, 0])
    assert verified(Static(2))[0] == [0, 2, MASK, 0, 3]  # a quota of 3: the best one more


def test_the_base_rule_is_strict_and_has_a_quota() -> None:
    probs = peaked((0, 0.5), (1, 0.75), (2, 0.9), (3, 0.6))
    cases = [
        ({"tau": 0.75}, [2]), ({"tau": 0.7}, [1, 2]), ({"tau": 0.95}, [2]), ({"tau": 0.7, "base": Static()}, [2]),
        ({"tau": 0.95, "base": Dynamic(2)}, [1, 2]), ({"tau": 0.4, "base": Dynamic(4)}, [0, 1, 2, 3]),
    ]
    for options, committed in cases:
        s, _ = after_draft(S2D2(route=Never(), **options), [MASK] * 4, probs)
        assert (~s.open[0]).nonzero().flatten().tolist() == committed


def test_estimators_and_expected_length_by_hand() -> None:
    s, p = window([MASK, MASK, 0, MASK], peaked((0, 0.7), (1, 0.4), (2, 0.5), (3, 0.9)))
    confidence = p.best()[1]
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.1)) / math.log(5)
    expected = {
        "soft_entropy": (2.0, math.exp(-2 * entropy)), "hard_margin": (0.7, 0.0), "hard_entropy": (entropy + 0.01, 1.0),
        "confidence_power": (0.5, 0.7**0.5), "clipped_margin": (3.0, 1.0), "renyi2": (1.0, 0.49 + 3 * 0.01),
    }
    for kind, (parameter, alpha) in expected.items():
        found = acceptance(kind, parameter, s, p, confidence)  # type: ignore[arg-type]
        assert float(found[0, 0]) == pytest.approx(alpha)
    alpha = acceptance("confidence_power", 1.0, s, p, confidence)
    assert float(expected_length(alpha, first_run(s.open))) == pytest.approx(0.7 + 0.7 * 0.4)
    route, draft = (
        Score(estimator="confidence_power", parameter=1.0, cost=0.25),
        Draft.of(s, p, keep=1, greedy=True, tau=0.5),
    )
    assert float(route.score(s, p, draft)) == pytest.approx(0.98 - 0.25)
    assert float(replace(route, dynamic=True).score(s, p, draft)) == pytest.approx(0.98 - 0.5)  # two drafts above tau


def test_hysteresis_remembers_across_windows_and_a_score_does_not() -> None:
    sure, medium, unsure = (peaked((0, c), (1, c)) for c in (0.99, 0.8, 0.3))

    def routes(route: Route) -> list[bool]:
        d = S2D2(route=route)
        s, found = d.begin(d.init(window([MASK] * 2, sure)[0])), []
        for probs in (medium, sure, medium, unsure, medium):
            fresh, p = window([MASK] * 2, probs)
            s = d.step(d.begin(replace(fresh, memo=s.memo)), p)
            found.append(bool(s.memo.verify))
        return found

    scored: dict[str, Any] = {"estimator": "confidence_power", "parameter": 1.0, "cost": 0.0, "on": 1.5}
    assert routes(Hysteresis(off=1.0, **scored)) == [False, True, True, False, False]
    assert routes(Score(**scored)) == [False, True, False, False, False]


def test_the_buckets_of_the_bandit() -> None:
    sharp, flat = peaked(*[(0, 0.97)] * 8), peaked(*[(0, 0.3)] * 8)
    row = [MASK] * 8
    assert int(bucket(*window(row, flat))) == 5
    assert int(bucket(*window(row, sharp))) == 4
    for given, number in ((3, 4), (4, 2), (5, 2)):  # spans of 5, 4 and 3 of 8, with half or more of it decided
        s, p = window(row, sharp)
        s = replace(s, open=torch.arange(8)[None] >= given)
        assert int(bucket(s, p)) == number
    s, p = window([MASK, 0, *row[2:]], flat)
    assert int(bucket(replace(s, opened=torch.tensor([7])), p)) == 1
    # a block of 4 with 2 given and 1 decided: less than half of it
    s, p = window([0, 0, 0, MASK], peaked(*[(0, 0.97)] * 4))
    assert int(bucket(replace(s, opened=torch.tensor([2])), p)) == 0
    s, p = window([0, 0, MASK, MASK], peaked(*[(0, 0.97)] * 4))
    assert int(bucket(replace(s, opened=torch.tensor([4])), p)) == 2


def test_the_bandit_tries_both_arms_and_then_learns_which_pays() -> None:
    for pay, better in (((1, 5), True), ((3, 2), False)):
        bandit, chosen = Bandit.new(1, torch.device("cpu"))._replace(bucket=torch.tensor([5])), []
        for _ in range(60):
            verified = bandit.verifies(1.0)
            chosen.append(bool(verified))
            bandit = bandit.learn(verified, torch.tensor([pay[int(verified)]]))
        assert chosen[:2] == [True, False]
        assert sum(choice == better for choice in chosen[10:]) > 40
        assert int(bandit.pulls.sum()) == 60
        assert bool(bandit._replace(bucket=torch.tensor([0])).verifies(1.0))  # another bucket has seen nothing


def test_the_residual_is_q_where_nothing_is_left() -> None:
    q = torch.tensor([[0.5, 0.3, 0.2]])
    assert torch.equal(residual(q, torch.tensor([[0, 1, 2]]), q), q)
    assert torch.allclose(residual(q, torch.tensor([[0]]), torch.tensor([[1.0]])), torch.tensor([[0.0, 0.3, 0.2]]))


def test_edits_are_made_before_the_verifier_sees_the_block() -> None:
    d = EditingS2D2(base=Joint(tau_edit=0.6))
    s, p = window([MASK, 1, MASK], peaked((0, 0.5), (2, 0.7), (3, 0.5)))
    s = replace(s, editable=torch.ones_like(s.open))
    s = d.step(d.begin(d.init(s)), p)
    assert d.query(s).tokens.tolist() == [[0, 2, MASK]]
    assert not bool(d.done(s))


def test_options_that_make_no_sense_are_one_clear_line() -> None:
    for spec, words in (
        ("s2d2:route=sometimes", "unknown route 'sometimes'; known: always, hysteresis, min_span, never, score, ucb"),
        ("s2d2:route=scores", "unknown route 'scores'; did you mean 'score'"),
        ("s2d2:route=(ucb:cost=1)", "ucb has no option 'cost'; known: beta"),
        ("s2d2:route=dynamic", "unknown route 'dynamic'"),
        ("s2d2:route=builtins:dict", "is not a dataclass, so it cannot be a route"),
        ("s2d2:route=(decoders.strategies.fast_dllm:Threshold)", "route must be always.never"),
        ("s2d2:costs=1", "s2d2 has no option 'costs'"), ("s2d2:keep=0", "keep must be at least 1"),
        ("s2d2:accept=(lenient:ratio=2)", "ratio must be between 0 and 1"),
        ("coupled:redraft=0", "redraft must be at least 1"),
    ):
        with pytest.raises(UsageError, match=words):
            get(spec)


def test_a_spec_is_written_as_it_is_read() -> None:
    for spec, made in {
        "s2d2": S2D2(), "s2d2:route=ucb": S2D2(route=UCB()), "s2d2:route=(min_span:span=3)": S2D2(route=MinSpan(3)),
        "s2d2:base=joint,tau=0.95": S2D2(base=Joint(), tau=0.95),
        "s2d2_editing:base=(static:steps=2)": EditingS2D2(base=Static(2)),
        "s2d2:accept=(lenient:ratio=none)": S2D2(accept=Lenient()),
    }.items():
        assert get(spec) == made
        assert get(spec_of(made)) == made
        assert get(f"frontier:base=({spec})").base == made  # type: ignore[attr-defined]
    assert S2D2(base=Joint()).revises
    assert not S2D2().revises


class Rare(Route):
    """Somebody else's route, with a name that only its module gives it."""

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Any) -> tuple[Tensor, Any]:
        return s.step % 2 == 0, memo


def test_a_route_of_somebody_elses_is_chosen_by_its_module() -> None:
    made = get(f"s2d2:route=({__name__}:Rare)")
    assert made == S2D2(route=Rare())
    assert get(spec_of(made)) == made


OLD = {
    "s2d2:route=min_span,min_span=3": "s2d2:route=(min_span:span=3)",
    "s2d2:route=score,cost=0.5,on=1,estimator=renyi2": "s2d2:route=(score:on=1.0,cost=0.5,estimator=renyi2)",
    "s2d2:route=hysteresis,on=1.0,off=-5.0,dynamic=true": "s2d2:route=(hysteresis:on=1.0,off=-5.0,dynamic=true)",
    "s2d2:route=ucb,beta=2.0,cost=3.0,tau=0.3": "s2d2:route=(ucb:beta=2.0),tau=0.3",  # a bandit has no cost
    "s2d2:cost=3.0": "s2d2", "s2d2:tau=0.85,block_steps=none": "s2d2:base=(dynamic:steps=none)",
    "s2d2:resample=false,base=static,block_steps=3": "s2d2:accept=(lenient:resample=false),base=(static:steps=3)",
    "s2d2:ratio=0.3,temper=0.5,confident=true": "s2d2:accept=(lenient:ratio=0.3,temper=0.5,confident=true)",
    "s2d2_editing:tau_edit=0.4,max_post=2,block_steps=3": "s2d2_editing:base=(joint:tau_edit=0.4,max_post=2,steps=3)",
    "s2d2_editing:base=static,tau_edit=0.4": "s2d2_editing:tau=1.0,base=(joint:tau_edit=0.4)",
}


@pytest.mark.parametrize("old", OLD)
def test_an_older_spelling_is_read_with_one_line_of_warning(old: str) -> None:
    with pytest.warns(OldSpelling) as told:
        made = get(old)
    assert made == get(OLD[old])
    (line,) = (str(w.message) for w in told)
    assert line.startswith(f"{old} is now written ")
    assert get(line.rpartition(" ")[2]) == made


def test_an_older_spelling_is_read_in_python_and_inside_of_a_spec_too() -> None:
    with pytest.warns(
        OldSpelling, match=r"s2d2:block_steps=2,route=ucb is now written s2d2:route=ucb,base=\(dynamic:steps=2\)"
    ):
        assert get("s2d2:route=ucb", block_steps=2) == S2D2(route=UCB(), base=Dynamic(2))
    with pytest.warns(OldSpelling):
        assert get("frontier:base=(s2d2:cost=2.0)").base == S2D2()  # type: ignore[attr-defined]


def test_the_command_line_tells_it_in_one_line_on_stderr() -> None:
    done = CliRunner().invoke(main, ["generate", "-d", "s2d2:route=min_span,min_span=3", "-n", "4", "a"])
    assert done.exit_code == 0
    warning = "Warning: s2d2:route=min_span,min_span=3 is now written s2d2:route=(min_span:span=3)\n"
    assert done.stderr.startswith(warning)
    assert done.stderr.count("is now written") == 1


# --- the replay bites ----------------------------------------------------------------------------------------------


class Lucky(speculation.ToldS2D2):
    def coin(self, s: State) -> Tensor:
        return super().coin(s) * 0.0


class Unsorted(speculation.ToldS2D2):
    def pick(self, weight: Tensor, u: Tensor) -> Tensor:
        return (weight * (torch.arange(weight.shape[-1]) != weight.argmax(-1, keepdim=True))).argmax(-1)


class Overrated(Score):
    def score(self, s: State, p: Pred, draft: Draft) -> Tensor:
        return super().score(s, p, draft) + 1e-3


class Dearer(speculation.ToldS2D2):
    def __post_init__(self) -> None:
        assert isinstance(self.route, Score)
        object.__setattr__(self, "route", Overrated(**vars(self.route)))


class Eager(speculation.ToldS2D2):
    def quota(self, s: State) -> Tensor:
        return super().quota(s) + 1


class Forgetful(speculation.ToldS2D2):
    def begin(self, s: State) -> State:
        return super().begin(self.init(s))


@pytest.mark.parametrize(
    ("wrong", "name", "words"),
    [
        (Lucky, "span1_u11_b16_L16_g32_p0", "decided:|positions"), (Unsorted, "span1_u11_b16_L16_g32_p0", "positions"),
        (Dearer, "score_static_c1_soft_renyi_2_entropy_b4_L8_g24_p0", "the score"),
        (Eager, "span1_steps2_b16_L16_g32_p4", "decided:"), (Forgetful, "ucb_b16_L5_g32_p1", "verified:|positions"),
    ],
)
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"there is no {SHARED}; set DECODERS_GOLDEN to the golden data")
def test_a_wrong_rule_fails_the_replay(monkeypatch: pytest.MonkeyPatch, wrong: type, name: str, words: str) -> None:
    case, models = read(SHARED / "cases" / "s2d2" / f"{name}.json"), Models(SHARED / "models")
    with torch.inference_mode():
        assert speculation.s2d2(case, models) == ""
        monkeypatch.setattr(speculation, "ToldS2D2", wrong)
        with pytest.raises(MismatchError, match=words):
            speculation.s2d2(case, models)
