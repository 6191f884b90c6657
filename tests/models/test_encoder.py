"""Masked language models of transformers against their own forward, on tiny random models."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from decoders import Blocks, UsageError, decode, get
from decoders.caches.fast_dllm import Dual
from decoders.caches.none import NoCache
from decoders.models.columns import widths
from decoders.models.encoder import EncoderModel

V, MASK, END = 40, 5, 7
SIZES = {
    "vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 48, "initializer_range": 0.5, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1,
}
OWN = {
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "ModernBert": {"local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 2, "sep_token_id": 3},
    "EuroBert": {"num_key_value_heads": 2, "head_dim": 8, "mask_token_id": MASK},
    "Electra": {"embedding_size": 8}, "Esm": {"mask_token_id": MASK}, "Longformer": {"sep_token_id": 3},
}
KINDS = [
    "Bert", "DistilBert", "Roberta", "ModernBert", "Electra", "Albert", "DebertaV2", "MPNet", "EuroBert", "XLMRoberta",
    "NomicBert",
]
COUNT_FROM_PADDING = {"Roberta", "MPNet", "XLMRoberta"}
PROMPTS = [[2, 9, 11, 30, 31, 32, 33, 34, 12, 13, 14, 15], [2, 8], [2, 20, 21, 22, 23]]


def tiny(kind):
    """In double precision, and far from what initial weights would give."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**SIZES, **OWN.get(kind, {}))
        return getattr(transformers, f"{kind}ForMaskedLM")(config).double().eval()


def plain(model, row):
    return model(input_ids=torch.tensor([row])).logits[0]


@pytest.mark.parametrize("kind", KINDS)
def test_ragged_rows_are_plain_forwards(kind):
    model, rows = tiny(kind), 0

    def watch(f, p, c):
        nonlocal rows
        for b in range(len(PROMPTS)):
            wanted = f.want[b].nonzero()[:, 0].tolist()
            assert [at for at in p.at[b].tolist() if at < p.width] == wanted
            if not wanted:
                continue
            logits = plain(model, f.tokens[b, : int(c.limit[b])].tolist())
            for row, at in zip(p.logits[b], wanted, strict=False):
                torch.testing.assert_close(row, logits[f.at[b, at]], rtol=0, atol=1e-9)
                rows += 1

    adapted = EncoderModel(model, mask_id=MASK, stop_ids=(END,))
    decode(adapted, get("threshold:tau=0.5"), PROMPTS, length=11, windows=Blocks(4), stop=False, watch=watch)
    assert rows > 3 * 11


@pytest.mark.parametrize(
    "spec", ["threshold:tau=0.3", "factor:f=1.5", "llada", "dream", "ancestral:steps=11", "first_hitting"]
)
def test_decodes_like_each_row_alone(spec):
    adapted = EncoderModel(tiny("Bert"), mask_id=MASK)
    run = lambda prompts, cache=None: decode(adapted, get(spec), prompts, length=11, cache=cache)
    rows = run(PROMPTS)
    assert rows == [run([prompt])[0] for prompt in PROMPTS]
    for row, other in zip(rows, run(PROMPTS, NoCache()), strict=True):
        assert row.tokens == other.tokens
    for row, prompt in zip(rows, PROMPTS, strict=True):
        assert row.positions_computed == row.nfe * (len(prompt) + 11)


def test_the_head_runs_on_wanted_rows_alone():
    model, seen, wanted = tiny("Roberta"), [], []
    model.get_output_embeddings().register_forward_hook(lambda module, given, out: seen.append(given[0].shape[1]))
    adapted = EncoderModel(model, mask_id=MASK)
    seen.clear()
    decode(
        adapted, get("llada"), PROMPTS, length=8, windows=Blocks(8), watch=lambda f, p,
        c: wanted.append(int(f.want.sum(-1).max())),
    )
    assert wanted == [8, 7, 6, 5, 4, 3, 2, 1]
    assert seen == [next(n for n in widths(8) if n >= most) for most in wanted]  # padded to one of a few sizes


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "ModernBert", "DebertaV2"])
def test_the_model_stays_as_it_is(kind):
    model = tiny(kind)
    before, logits = list(model.modules()), plain(model, PROMPTS[0])
    decode(EncoderModel(model, mask_id=MASK), get("threshold"), PROMPTS, length=4)
    assert all(a is b for a, b in zip(before, model.modules(), strict=True))
    assert torch.equal(plain(model, PROMPTS[0]), logits)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_tokens_in_a_text_take_a_position_like_any_other(kind):
    model = tiny(kind)
    adapted = EncoderModel(model, mask_id=MASK)
    tokens = torch.tensor([[2, 1, 9, 1, 11, MASK]])
    first = 2 if kind in COUNT_FROM_PADDING else 0
    position = {"position_ids": torch.arange(first, first + 6)[None]} if adapted.takes_positions else {}
    logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **position).logits
    torch.testing.assert_close(adapted.head(adapted.states(tokens, torch.tensor([6]))), logits, rtol=0, atol=1e-9)
    assert (adapted.first_position, adapted.positions) == (first, 48 - first)


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_the_longest_row_runs(kind):
    adapted = EncoderModel(tiny(kind), mask_id=MASK)
    row = decode(adapted, get("threshold:tau=0"), [[2] * 8], length=adapted.positions - 8, stop=False)[0]
    assert len(row.canvas) == adapted.positions


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta", "ModernBert", "EuroBert"])
def test_operations_are_counted(kind):
    """All matrix products outside the attention, as torch counts them; the attention by hand."""
    model = tiny(kind)
    model.set_attn_implementation("eager")
    adapted, costs = EncoderModel(model, mask_id=MASK), []
    counter = FlopCounterMode(display=False)
    with counter:
        row = decode(
            adapted, get("threshold:tau=0"), [PROMPTS[0]], length=8, watch=lambda f, p, c: costs.append(p.cost)
        )[0]
    n = len(PROMPTS[0]) + 8
    half = {0: n, 1: 4 if kind == "ModernBert" else n}
    pairs = sum(abs(i - j) <= half[layer] for layer in (0, 1) for i in range(n) for j in range(n))
    linear = sum(count for op, count in counter.get_flop_counts()["Global"].items() if "bmm" not in str(op))
    assert (row.nfe, row.positions_computed) == (1, n)
    assert row.flops == costs[0][1].item() == linear + 4 * 16 * pairs


def test_a_row_that_has_ended_pays_nothing():
    adapted, costs = EncoderModel(tiny("Bert"), mask_id=MASK), []
    rows = decode(
        adapted, get("llada:steps=4"), [PROMPTS[0], PROMPTS[1]], length=4, max_steps=2, poll=4, watch=lambda f, p,
        c: costs.append(p.cost)
    )
    assert [positions.tolist() for positions, _ in costs] == [[16, 6], [16, 6], [0, 0], [0, 0]]
    assert costs[2][1].tolist() == [0, 0]
    assert [row.positions_computed for row in rows] == [32, 12]


@pytest.mark.parametrize(
    ("kind", "says"), [("FNet", "sees padding"), ("ConvBert", "sees padding"), ("Longformer", "cannot be run")]
)
def test_what_is_no_masked_language_model_of_the_kind_is_refused(kind, says):
    with pytest.raises(UsageError, match=says):
        EncoderModel(tiny(kind), mask_id=MASK)


def test_nothing_is_stored():
    adapted = EncoderModel(tiny("Bert"), mask_id=MASK)
    assert adapted.capabilities == {"candidates", "movable"}
    assert (adapted.column_bytes, adapted.block_causal) == (0, False)
    for decoder, cache, says in (("threshold", Dual(), "keeps none"), ("left_to_right", None, "cannot do that")):
        with pytest.raises(UsageError, match=says):
            decode(adapted, get(decoder), PROMPTS, length=4, cache=cache)
