"""What a decoder may say about who sees whom, and Planned Diffusion, which says it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, Qwen3Config, Qwen3ForCausalLM

from decoders import Blocks, Decoder, Pred, State, UsageError, decode, get, get_cache
from decoders.core import (
    Exact,
    Plan,
    Query,
    SessionSpec,
    Shape,
    Sight,
    Whole,
    apply,
    check,
    either,
    layout,
    leftmost,
    must_recompute,
    prepare,
    sees_any,
    session_spec,
)
from decoders.models.adapter import TransformersModel
from decoders.models.encoder import EncoderModel
from decoders.models.guidance import Guided
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.planned import Planned
from decoders.strategies.spans import promised
from decoders.testing.toy import ToyModel, ToySession
from support.laws import lawsuits
from support.marks import slow

LITTLE = "planned:promise=1+2,span=3+4,sync=5,digits=6+7+8,scale=1.5,spans=2"
SPECS = [LITTLE, f"{LITTLE},temperature=1.0,answer=(llada:steps=6)", f"{LITTLE},answer=(frontier:w=2)"]


@pytest.mark.parametrize(("spec", "law"), lawsuits(SPECS))
def test_law(spec, law):
    law(get(spec))


# --- the rule of attention --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_the_exact_rule_recomputes_what_sees_a_change(seed):
    g = torch.Generator().manual_seed(seed)
    c = layout(Shape(10, 11), get("threshold"), [[1, 2], [3]], length=6, keys=[1, 2], windows=Blocks(8))
    B, L = c.tokens.shape
    until = torch.randint(1, L + 1, (B, L), generator=g)
    unseen = torch.minimum(torch.randint(0, L, (B, L, 2), generator=g).sort(-1).values, until[..., None])
    kept = torch.rand(3, B, L, generator=g) < 0.85
    store = replace(
        c.store, tokens=torch.randint(0, 2, (B, L), generator=g), until=torch.where(kept[0], until, 0),
        unseen=torch.where(kept[1][..., None], unseen, 0),
    )
    c = replace(c, store=store)
    shown, reach = torch.where(kept[2], c.store.tokens, 1), torch.randint(0, L + 1, (B,), generator=g)
    found = must_recompute(c, shown, until, reach, unseen)
    for b in range(B):
        n = int(reach[b])
        said = [(shown[b, i], until[b, i], *unseen[b, i]) for i in range(n)]
        kept_ = [x == (store.tokens[b, i], store.until[b, i], *store.unseen[b, i]) for i, x in enumerate(said)]
        sees = [[j < until[b, i] and not unseen[b, i, 0] <= j < unseen[b, i, 1] for j in range(n)] for i in range(L)]
        assert found[b].tolist() == [
            i < n and any(s and not k for s, k in zip(sees[i], kept_, strict=True)) for i in range(L)
        ]
    nothing = torch.zeros_like(unseen)
    assert torch.equal(sees_any(kept[0], until, nothing), sees_any(kept[0], until))


@dataclass(frozen=True)
class TwoSpans(Decoder):
    """Three tokens from left to right, spans of 4 and 5 that are blind to each other, then from left to right again."""

    def windows(self, asked, block_causal):
        return Whole()

    def sight(self, s: State) -> Sight:
        place = torch.arange(s.tokens.shape[1], device=s.tokens.device).expand_as(s.tokens)
        left = s.position[:, :1]
        one, two = (place >= 3) & (place < 7), (place >= 7) & (place < 12)
        until = torch.where(one, left + 7, torch.where(two, left + 12, s.position + 1))
        return Sight(until, torch.where(two[..., None], torch.stack([left + 3, left + 7], -1), 0))

    def spanning(self, s: State):
        return (s.open.long().argmax(-1) >= 3) & (s.open.long().argmax(-1) < 12) & s.open.any(-1)

    def query(self, s: State) -> Query:
        alone = torch.arange(s.tokens.shape[1], device=s.tokens.device) < 12
        one_by_one = Query(s.tokens, leftmost(s.open), torch.ones_like(s.key, dtype=torch.bool))
        return replace(either(self.spanning(s), Query(s.tokens, s.open & alone), one_by_one), sight=self.sight(s))

    def step(self, s: State, p: Pred) -> State:
        alone = s.open & (torch.arange(s.tokens.shape[1], device=s.tokens.device) < 12)
        tokens, sure = p.best()
        best = alone & (sure >= torch.where(alone, sure, -1).amax(-1, keepdim=True))
        return s.commit(torch.where(self.spanning(s)[:, None], best, leftmost(s.open)), tokens, sure)


MASK = 23
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, initializer_range=0.5,
    )
    return Qwen3ForCausalLM(config).double().eval()


@torch.no_grad()
def plainly(net, tokens, sees):
    """(n, V) the logits of one uncached forward under a mask written out."""
    bias = torch.zeros(sees.shape, dtype=torch.double).masked_fill(~sees, torch.finfo(torch.double).min)
    return net(
        input_ids=tokens[None], attention_mask=bias[None, None], position_ids=torch.arange(len(tokens))[None]
    ).logits[0]


def two_spans(n, prompt):
    """(n, n) bool: what sees what in a row that `TwoSpans` decodes."""
    sees = torch.ones(n, n, dtype=torch.bool).tril()
    for first, last in ((prompt + 3, prompt + 7), (prompt + 7, prompt + 12)):
        sees[first:last, first:last] = True
        sees[first:last, prompt + 3 : first] = False
    return sees


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("cache", ["exact", "none", "dkv"])
def test_every_prediction_is_that_of_a_plain_forward_under_the_mask(net, shifted, cache):
    model, kinds = TransformersModel(net, mask_id=MASK, shifted=shifted), set()

    def watch(f, p, c):
        for b, prompt in enumerate(ROWS):
            n = len(prompt) + 16
            for row, place in enumerate(p.at[b].tolist()):
                if place == f.at.shape[1]:
                    continue
                i, causal = int(f.at[b, place]), bool(f.causal[b])
                kinds.add(causal)
                tokens, sees = f.tokens[b, :n].clone(), two_spans(n, len(prompt))
                if causal and not shifted:
                    tokens[i], sees[i] = MASK, torch.arange(n) <= i  # a probe
                plain = plainly(net, tokens, sees)[i - int(shifted)]
                if cache != "dkv":
                    torch.testing.assert_close(p.logits[b, row], plain, rtol=0, atol=1e-10)

    rows = decode(model, TwoSpans(), ROWS, length=16, cache=get_cache(cache), watch=watch)
    assert kinds == {False, True}
    assert [row.finish_reason for row in rows] == ["length"] * 3


@pytest.mark.parametrize("shifted", [False, True])
def test_the_exact_cache_changes_nothing_and_a_batch_changes_nothing(net, shifted):
    model = TransformersModel(net, mask_id=MASK, shifted=shifted)
    exact, none = (decode(model, TwoSpans(), ROWS, length=16, cache=get_cache(cache)) for cache in ("exact", "none"))
    assert exact == none == [decode(model, TwoSpans(), [row], length=16)[0] for row in ROWS]
    assert sum(row.positions_computed for row in exact) < sum(row.positions_computed for row in none) / 2


def test_guidance_hides_as_much_in_both_of_its_halves(net):
    model = Guided(TransformersModel(net, mask_id=MASK), 0.5)
    exact, none = (decode(model, TwoSpans(), ROWS, length=16, cache=get_cache(cache)) for cache in ("exact", "none"))
    assert exact == none


def test_the_cost_counts_the_pairs_that_see_each_other(net):
    model, pairs = TransformersModel(net, mask_id=MASK, shifted=True), []

    def watch(f, p, c):
        work, ran = model.work, f.compute[0].clone()
        ran.scatter_(0, torch.where(f.want[0], f.at[0] - 1, len(ran) - 1), True)
        ran = ran[:-1]
        seen = int(two_spans(len(ran), 3)[ran].sum())
        pairs.append(seen)
        assert float(p.cost[1]) == work.column * int(ran.sum()) + work.pair * seen + work.row * int(f.want.sum())

    decode(model, TwoSpans(), ROWS[:1], length=16, watch=watch)
    assert len(pairs) == 16


# --- who is refused
# -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoSight(ToyModel):
    capabilities = frozenset({"causal", "store"})


@dataclass(frozen=True)
class Looks(TwoSpans):
    """The same under a name of its own."""


def test_a_model_that_cannot_hide_anything_is_refused(net):
    bert = BertForMaskedLM(
        BertConfig(vocab_size=24, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    )
    remote = TransformersModel(net, mask_id=MASK, native=False)
    encoder = EncoderModel(bert, mask_id=23)
    assert not {"causal", "sight"} & encoder.capabilities
    for model in (NoSight(), Guided(NoSight(), 1.0), encoder, remote):
        says = (
            "makes causal forward passes" if model is encoder else "hides parts of the text from each other"
        )
        with pytest.raises(UsageError, match=f"Looks {says}, and this model cannot "):
            check(model, Looks(), Exact())
    check(Guided(ToyModel(), 1.0), Looks(), Exact())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"answer": get("left_to_right")}, "LeftToRight cannot write spans, since it sets its own attention mask"),
        ({"answer": Planned()}, "Planned cannot write spans"),
        ({"promise": (1,)}, "promise must be 2 tokens, and promise=1 is 1"),
        ({"sync": (1, 2)}, "sync must be 1 token, and sync=1\\+2 is 2"),
        ({"digits": tuple(range(11))}, "digits must be 10 tokens"),
        ({"digits": ()}, "digits must be 10 tokens"),
        ({"span": (1, -2)}, "span must be a text or token ids, not 1\\+-2"),
        ({"spans": 0}, "spans must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        Planned(**options)


def test_texts_become_tokens_and_need_a_tokenizer():
    texts = {"promise": "<>", "span": "[]", "sync": ";", "digits": "0123456789"}
    decoder = Planned(**texts).tokenized(lambda text: list(text.encode()))
    assert (decoder.promise, decoder.span, decoder.sync, decoder.digits) == (
        (60, 62),
        (91, 93),
        (59,),
        tuple(range(48, 58)),
    )
    with pytest.raises(UsageError, match="promise is the text '<>', and this host has no tokenizer; give token ids"):
        decode(ToyModel(), Planned(promise="<>"), [[1]], length=4)
    with pytest.raises(UsageError, match=r"sync must be 1 token, and .* is 6"):
        Planned(sync="<sync>").tokenized(lambda text: list(text.encode()))


# --- plans
# ------------------------------------------------------------------------------------------------------------------

OPEN, CLOSE, BEGIN, END, SYNC, STOP, BLANK = 20, 21, 22, 23, 24, 25, 29
DIGIT = 10  # the token of 0
PLANNED = Planned(
    promise=(OPEN, CLOSE), span=(BEGIN, END), sync=(SYNC,), digits=tuple(range(DIGIT, DIGIT + 10)), scale=1.0,
    answer=Threshold(tau=0.3),
)


def promises(tokens, scale):
    """Position of the closing token to size, read one token after the other."""
    found, opened, number = {}, False, None
    for i, token in enumerate(tokens):
        digit = DIGIT <= token < DIGIT + 10
        if token == OPEN:
            opened = True
        elif digit and opened and number is None:
            more = i + 1 < len(tokens) and DIGIT <= tokens[i + 1] < DIGIT + 10
            number = 10 * (token - DIGIT) + tokens[i + 1] - DIGIT if more else token - DIGIT
        elif token == CLOSE:
            if number is not None:
                found[i] = int(number * scale)
            opened, number = False, None
    return found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([OPEN, OPEN, CLOSE, CLOSE, DIGIT, DIGIT + 1, DIGIT + 7, 3]), min_size=12, max_size=12),
    st.integers(0, 4), st.integers(5, 12), st.sampled_from([0.5, 1.0, 10.0]),
)
def test_promises_are_read_as_one_reads_them(tokens, since, to, scale):
    where = (torch.arange(12) >= since) & (torch.arange(12) < to)
    found = promised(torch.tensor([tokens]), where[None], PLANNED.ids("promise"), PLANNED.ids("digits"), scale)[
        0
    ].tolist()
    expected = {since + i: min(n, 12) + 2 for i, n in promises(tokens[since:to], scale).items()}
    assert {i: n for i, n in enumerate(found) if n} == expected


@dataclass(frozen=True)
class Scripted(ToyModel):
    """In causal rows, writes at each column what the script says that the row's first token names; elsewhere as the toy
    does."""

    vocab: int = 30
    mask_id: int | None = BLANK
    stop_ids: tuple[int, ...] = (STOP,)
    scripts: tuple[tuple[int, ...], ...] = ()

    def session(self, need: SessionSpec) -> ToySession:
        return ScriptedSession(self, need.rows, need.columns)


class ScriptedSession(ToySession):
    def __call__(self, f):
        p = super().__call__(f)
        scripts = torch.full((30, f.tokens.shape[1]), -1)
        for number, script in enumerate(self.model.scripts):
            scripts[number, : len(script)] = torch.tensor(script)[: scripts.shape[1]]
        said = scripts[f.tokens[:, 0]].gather(1, f.at)
        hit = (torch.arange(30) == said[..., None]) & f.causal[:, None, None]
        # a toy that only says plain words, in all else
        logits = p.logits.index_fill(-1, torch.arange(10, 30), -50.0)
        return replace(p, logits=torch.where(hit, 100.0, logits))


def number(n):
    return [DIGIT + int(d) for d in str(n)]


def promise(n, *topic):
    return [OPEN, *topic, *number(n), CLOSE]


X = -1  # anything
TWO = [X, X, *promise(2, 5), *promise(13, 6, 7), SYNC]
SCRIPTS = {
    "two spans, then text": [*TWO, *[X] * 19, 3, 4, 1, STOP],
    "two plans": [X, X, *promise(3), SYNC, *[X] * 5, *promise(1), *promise(2), *promise(4), STOP],
    "no promise": [X, X, 3, SYNC, 4, *promise(2), SYNC],
    "cut": [X, X, *promise(4), *promise(30), *promise(5), SYNC],
    "nothing fits": [*[X] * 36, *promise(4), SYNC],
    "no number": [X, X, OPEN, 3, CLOSE, *promise(2), CLOSE, SYNC],
    "nothing": [X, X],
}
MODEL = Scripted(scripts=tuple(map(tuple, SCRIPTS.values())))
PROMPTS = [[i, 9] for i in range(len(SCRIPTS))]


def shape(row):
    """The row, with anything that is a plain word as `.`."""
    return ["." if t < 10 else t for t in row.canvas]


def span(n):
    return [BEGIN, *["."] * n, END]


def test_what_is_promised_is_laid_out_and_what_does_not_fit_is_cut():
    rows = dict(zip(SCRIPTS, decode(MODEL, PLANNED, PROMPTS, length=40), strict=True))
    plan = [".", ".", OPEN, ".", DIGIT + 2, CLOSE, OPEN, ".", ".", DIGIT + 1, DIGIT + 3, CLOSE]
    assert shape(rows["two spans, then text"])[:35] == [*plan, *span(2), *span(13), SYNC, ".", ".", "."]
    assert rows["two spans, then text"].finish_reason == "stop"
    assert rows["two spans, then text"].tokens[-4:] == (SYNC, 3, 4, 1)
    second = [*promise(1), *promise(2), *promise(4), *span(1), *span(2), *span(4), STOP]
    assert shape(rows["two plans"])[: 2 + 3 + 5 + 1 + 9 + 13 + 1] == [".", ".", *promise(3), *span(3), SYNC, *second]
    assert rows["two plans"].finish_reason == "stop"
    assert shape(rows["no promise"])[:14] == [".", ".", ".", SYNC, ".", *promise(2), *span(2), SYNC, "."]
    cut = [".", ".", *promise(4), *promise(30), *promise(5), *span(4), BEGIN, *["."] * 23]
    assert shape(rows["cut"]) == cut[:42]
    assert shape(rows["nothing fits"])[36:] == [*promise(4), BEGIN, ".", "."]
    assert shape(rows["no number"])[:13] == [".", ".", OPEN, ".", CLOSE, *promise(2), CLOSE, *span(2)]
    assert {row.finish_reason for name, row in rows.items() if name not in ("two spans, then text", "two plans")} == {
        "length"
    }


def phases(model, decoder, prompts, **more):
    seen = []
    rows = decode(model, decoder, prompts, length=40, watch=lambda f, p, c: seen.append(f), **more)
    return rows, seen


def test_every_span_gets_a_token_in_every_forward():
    """With a threshold that nothing reaches: as many forwards as the longest span has positions."""
    (_,), seen = phases(MODEL, replace(PLANNED, answer=Threshold(tau=1.0)), PROMPTS[:1])
    spanning = [f for f in seen if int(f.phase) == 1]
    assert [int(f.want.sum()) for f in spanning] == [15, 13, *range(11, 0, -1)]
    assert len(seen) == len(spanning) + 11 + 4  # the plan with its sync token; what follows
    (_,), seen = phases(MODEL, replace(PLANNED, answer=Threshold(tau=1.0), spans=1), PROMPTS[:1])
    assert [int(f.want.sum()) for f in seen if int(f.phase) == 1] == list(range(15, 0, -1))


def test_a_quota_is_that_of_each_span():
    (_,), seen = phases(MODEL, replace(PLANNED, answer=get("llada", steps=4)), PROMPTS[:1])
    spanning = [f for f in seen if int(f.phase) == 1]
    assert [int(f.want.sum()) for f in spanning] == [15, 15 - 4 - 1, 15 - 4 - 1 - 3 - 1, 3]


def moments(script, decoder=PLANNED, cache="exact"):
    """Every forward of a row with the canvas before it."""
    plan = Plan(decoder, Whole(), get_cache(cache))
    prompt = PROMPTS[list(SCRIPTS).index(script)]
    c = layout(Shape.of(MODEL), decoder, [prompt], length=40, keys=[3], windows=Whole())
    session = MODEL.session(session_spec(plan, c))
    while bool(c.live.any()):
        f = prepare(plan, c)
        yield c, f
        c = apply(plan, c, f, session(f))


def test_spans_are_blind_to_each_other_and_what_follows_is_not():
    """In a fresh session: what changes with a token of the first span."""
    checked = set()
    for c, f in moments("two spans, then text"):
        def run(token, c=c, f=f):
            session = MODEL.session(SessionSpec(1, c.tokens.shape[1], c.width))
            p = session(
                replace(f, compute=torch.ones_like(f.compute), tokens=f.tokens.index_fill(1, torch.tensor([13]), token))
            )
            return p.logits[0], torch.stack(session.layers)[:, 0]

        (logits, layers), (others, changed) = run(7), run(8)
        end = int(f.until[0].max()) if int(f.phase) == 1 else int(f.at[f.want])
        moved = (layers != changed).any(0)
        if int(f.phase) == 1:
            assert not moved[:12].any()
            assert moved[12:16].all()
            assert not moved[16:31].any()
            assert torch.equal(logits[14:29], others[14:29])  # window positions: two less than columns
            assert not torch.equal(logits[10:14], others[10:14])
            checked.add("spans")
        elif end > 31:
            assert moved[31:end].all()
            assert not moved[16:31].any()
            checked.add("after")
    assert checked == {"spans", "after"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_the_cache_trusts_is_what_a_fresh_model_computes(script):
    plan = Plan(PLANNED, Whole(), Exact())
    prompt = PROMPTS[list(SCRIPTS).index(script)]
    c = layout(Shape.of(MODEL), PLANNED, [prompt], length=40, keys=[3], windows=Whole())
    session = MODEL.session(session_spec(plan, c))
    while bool(c.live.any()):
        f = prepare(plan, c)
        p, fresh = session(f), MODEL.session(session_spec(plan, c))
        assert torch.equal(p.logits[f.want], fresh(replace(f, compute=torch.ones_like(f.compute))).logits[f.want])
        c = apply(plan, c, f, p)
        kept = (c.store.tokens == f.tokens) & (c.store.until == f.until) & (c.store.unseen == f.unseen).all(-1)
        assert torch.equal(torch.stack(session.layers)[:, kept], torch.stack(fresh.layers)[:, kept])


def test_a_finished_span_is_not_computed_again():
    """Its last token is stored by the next forward; after that it is left alone, and the plan from the first one on."""
    last = None
    for c, f in moments("two spans, then text", replace(PLANNED, answer=Threshold(tau=1.0))):
        if int(f.phase) == 1:
            done = not bool(c.open[0, 12:16].any())
            assert bool(f.compute[0, 12:16].any()) == (not done or last is False)
            assert not f.compute[0, :11].any()
            assert not f.compute[0, 31:].any()
            last = done


@pytest.mark.parametrize("cache", ["none", *slow("dual", "dkv", "entropycache")])
def test_rows_in_different_phases_share_forwards_and_change_nothing(cache):
    rows, seen = phases(MODEL, PLANNED, PROMPTS, cache=get_cache(cache))
    assert any(set(f.phase[f.want.any(-1)].tolist()) == {0, 1} for f in seen)
    assert rows == [decode(MODEL, PLANNED, [p], length=40, cache=get_cache(cache))[0] for p in PROMPTS]
    assert rows == decode(MODEL, PLANNED, PROMPTS, length=40, windows=Blocks(4), cache=get_cache(cache))
    if cache == "none":
        exact = decode(MODEL, PLANNED, PROMPTS, length=40)
        assert exact == rows
        assert sum(r.positions_computed for r in exact) < sum(r.positions_computed for r in rows) / 3


def test_a_block_causal_model_is_told_the_same():
    blocks = decode(replace(MODEL, block_causal=True), PLANNED, PROMPTS, length=40, windows=Blocks(4))
    assert blocks == decode(MODEL, PLANNED, PROMPTS, length=40)


def test_a_stop_token_cannot_stand_in_a_span():
    """Here the toy says it everywhere."""

    @dataclass(frozen=True)
    class Stops(Scripted):
        def session(self, need):
            inner = super().session(need)

            def forward(f):
                p = inner(f)
                return replace(
                    p,
                    logits=torch.where(f.causal[:, None, None], p.logits, p.logits + 60.0 * (torch.arange(30) == STOP)),
                )

            return forward

    stops = Stops(scripts=MODEL.scripts)
    (row,) = decode(stops, PLANNED, PROMPTS[:1], length=40)
    assert STOP not in row.tokens
    assert row.tokens[-4:] == (SYNC, 3, 4, 1)


def test_without_a_plan_it_is_autoregression():
    model = replace(MODEL, scripts=())
    for temperature in (0.0, 1.0):
        planned = decode(model, replace(PLANNED, temperature=temperature), PROMPTS, length=12, seed=4)
        assert planned == decode(model, get("left_to_right", temperature=temperature), PROMPTS, length=12, seed=4)


def test_what_is_given_in_a_row_stays():
    row = [0, 9, *[BLANK] * 12, 8, 8, *[BLANK] * 20]
    (made,) = decode(MODEL, PLANNED, [row], length=0, infill=True)
    assert [t for t, was in zip(made.canvas, row, strict=True) if was != BLANK] == [0, 9, 8, 8]
    assert BLANK not in made.canvas


# --- on a transformer, against one uncached forward after the other
# -----------------------------------------------------------


class ScriptedNet(TransformersModel):
    """In causal rows of which the first token is in `SAYS`, writes what that says; elsewhere what the network does."""

    def session(self, need):
        inner = super().session(need)

        def forward(f):
            p = inner(f)
            column = f.at.gather(1, p.at.clamp(max=f.at.shape[1] - 1))
            said = written(f.tokens.shape[1])[f.tokens[:, 0]].gather(1, column)
            hit = (torch.arange(24) == said[..., None]) & f.causal[:, None, None]
            return replace(p, logits=torch.where(hit, 100.0, p.logits))

        return forward


SMALL = Planned(
    promise=(18, 19), span=(20, 21), sync=(22,), digits=tuple(range(10, 18)), scale=1.0, answer=Threshold(tau=0.2)
)
SAYS = {
    1: [X, X, X, 18, 5, 13, 19, 18, 15, 19, 22, *[X] * 12, X, 18, 12, 19, 22],
    4: [X, X, 18, 14, 19, 18, 11, 19, 18, 12, 19, 22],
}


def written(columns):
    table = torch.full((24, columns), X)
    for first, says in SAYS.items():
        table[first, : len(says)] = torch.tensor(says)[:columns]
    return table


def one_by_one(net, prompt, length, shifted):
    """The text of a row by the words of the paper, with nothing stored and every mask written out."""
    says, limit = SAYS.get(prompt[0], []), len(prompt) + length
    tokens, sees, begun = list(prompt), torch.ones(limit, limit, dtype=torch.bool).tril(), len(prompt)
    while len(tokens) < limit:
        n = len(tokens)
        if n < len(says) and says[n] != X:
            token = says[n]
        else:
            shown = tokens if shifted else [*tokens, MASK]
            token = int(plainly(net, torch.tensor(shown), sees[: len(shown), : len(shown)])[-1].argmax())
        numbers = []
        if token == 22:
            text = tokens[begun:]
            numbers = [next(t - 10 for t in text[i + 1 :] if 10 <= t < 18) for i, t in enumerate(text) if t == 18]
            begun = n + 1
        spans = []
        for number in numbers:
            first, last = len(tokens), len(tokens) + number + 2
            tokens += [20, *[MASK] * number, 21]
            sees[first:last, first:last] = True
            sees[first:last, n:first] = False
            spans.append(range(first + 1, min(last - 1, limit)))
        sees[:, limit:] = False
        tokens = [*tokens, token][:limit]
        open_ = {i for span in spans for i in span}
        end = len(tokens)
        while open_:
            logits = plainly(net, torch.tensor(tokens[:end]), sees[:end, :end])
            sure, best = (logits.roll(1, 0) if shifted else logits).softmax(-1).max(-1)
            for span in spans:
                left = [i for i in span if i in open_]
                for i in left:
                    if sure[i] >= 0.2 or i == max(left, key=lambda j: float(sure[j])):
                        tokens[i] = int(best[i])
                        open_.remove(i)
        begun = len(tokens) if numbers else begun
    return tuple(tokens)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_row_is_what_plain_forwards_make_of_it(net, shifted):
    model = ScriptedNet(net, mask_id=MASK, shifted=shifted)
    prompts = [[1, 7, 6], [4, 2], [5, 6, 7]]
    for length in (34, 14):
        rows = decode(model, SMALL, prompts, length=length)
        assert [row.canvas for row in rows] == [one_by_one(net, prompt, length, shifted) for prompt in prompts]
        assert [rows[0].canvas[i] for i in (10, 14, 15)] == [20, 21, 20]
