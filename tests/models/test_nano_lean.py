"""nano's own network and tokenizer against those of transformers: the same bits, the same ids, and the same model to
whoever asks for more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import decoders
from decoders import Blocks, Generator, UsageError, get, get_cache
from decoders.core import SessionSpec
from decoders.models.nano.lean import LeanModel, LeanTokenizer, load_lean
from decoders.models.nano.network import Network
from decoders.models.scatter import ScatterCache
from decoders.models.store import Store
from decoders.models.tokenizer import tokenizer_in
from support.marks import turns

NANO = Path(decoders.__file__).parent / "models" / "nano"
CONFIG = json.loads((NANO / "config.json").read_text())
PROMPTS = ["Chain: 3 ; + 4 ; - 2", "Sort: k c x", "Reverse: a b c d e f g", "List: a"]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def both(request):
    """The adapter of transformers' network, and ours with the same weights."""
    theirs = decoders.load(str(NANO), dtype=request.param).model
    return theirs, Network.read(CONFIG, NANO / "model.safetensors", getattr(torch, request.param))


@pytest.mark.parametrize("B", [1, 2, 5])
@pytest.mark.parametrize("M", [1, 7, 32, 97])
@pytest.mark.parametrize("sight", ["all", "count", "any"])
def test_hidden_states_are_the_same_bits(both, B, M, sight):
    theirs, ours = both
    g = torch.Generator().manual_seed(M)
    tokens, position = torch.randint(theirs.vocab, (B, M), generator=g), torch.arange(M).expand(B, M)
    sees = None
    if sight == "count":
        sees = torch.arange(M) < torch.randint(1, M + 1, (B, 1, 1), generator=g)
    elif sight == "any":
        sees = (torch.rand(B, M, M, generator=g) < 0.7) | torch.eye(M, dtype=torch.bool)
    with torch.inference_mode():
        a, _ = theirs.states(tokens, position, sees)
        b = ours(tokens, position, theirs.bias(tokens, sees), None)
        assert torch.equal(a, b)
        assert torch.equal(theirs.head(a), ours.lm_head(b))


@pytest.mark.parametrize("total", [None, 6])
def test_so_they_are_with_a_store_that_is_written_again_and_again(both, total):
    theirs, ours = both
    g, K, B = torch.Generator().manual_seed(3), 40, 3
    stores = ScatterCache(K, total), Store(K, total)
    rows = None if total is None else torch.tensor([4, 0, 3])
    with torch.inference_mode():
        for M in (40, 8, 1, 17):
            tokens = torch.randint(theirs.vocab, (B, M), generator=g)
            index = torch.stack([torch.randperm(K, generator=g)[:M].sort().values for _ in range(B)])
            sees = (torch.rand(B, M, K, generator=g) < 0.6) | (index[..., None] == torch.arange(K))
            for store in stores:
                store.index, store.rows = index, rows
            a, _ = theirs.states(tokens, index, sees, stores[0])
            assert torch.equal(a, ours(tokens, index, theirs.bias(tokens, sees), stores[1]))
        for layer in range(6):
            assert all(map(torch.equal, stores[0].stored[layer], stores[1].stored[layer]))


PLANS = [
    ("threshold:tau=0.8", "exact", None), ("threshold:tau=0.8", "dual", 8), ("dawn", "exact", 8),
    ("s2d2", "exact", 8), ("llada:steps=6", "none", None), ("planned", "exact", 8), ("wino:tau=0.3", "none", 8),
    ("ancestral:steps=8", "block", 8), ("klass", "interval", 8),
]


@pytest.mark.parametrize(("plan", "attention"), turns(PLANS, ["bidirectional", "block"]))
def test_every_forward_of_a_decode_is_the_same(plan, attention):
    """Batches of rows of many lengths, caches, attention in blocks, probes and maps of attention."""
    said, (spec, cache, block) = [], plan
    for model in (f"{NANO}:attention={attention}", f"nano:attention={attention}"):
        loaded, heard = decoders.load(model), []
        try:
            rows = decoders.decode(
                loaded.model, get(spec), [loaded.tokenizer.encode(p) for p in PROMPTS], length=16,
                cache=get_cache(cache), windows=block and Blocks(block), seeds=[1, 2, 3, 4],
                watch=lambda f, p, c, to=heard: to.append(p.logits),
            )
        except UsageError as e:
            said.append(str(e))
            continue
        said.append(([(r.tokens, r.nfe, r.positions_computed, r.flops) for r in rows], heard))
    if isinstance(said[0], str):
        assert said[0] == said[1]
        return
    (theirs, a), (ours, b) = said
    assert ours == theirs
    assert len(a) == len(b) > 1
    assert all(map(torch.equal, a, b))


def test_what_is_loaded_is_equal():
    for attention in ("bidirectional", "block"):
        theirs, ours = decoders.load(f"{NANO}:attention={attention}"), decoders.load("nano", attention=attention)
        for what in ("length", "block", "positions", "never", "chat"):
            assert getattr(ours, what) == getattr(theirs, what), what
        for what in (
            "mask_id", "stop_ids", "shifted", "block_causal", "attention_block", "causal_context", "vocab",
            "capabilities", "work", "column_bytes", "device",
        ):
            assert getattr(ours.model, what) == getattr(theirs.model, what), what


def test_the_tokenizer_is_the_one_of_transformers():
    ours, theirs = LeanTokenizer(NANO), tokenizer_in(NANO)
    assert ours.core.to_str() == theirs.core.to_str()
    assert (ours.roles, ours.begin, ours.ends) == (theirs.roles, theirs.begin, theirs.ends)
    for text in (*PROMPTS, "", "<|mask|> a<|end|>", "ä €\n\t日本", "  a  b "):
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))
    assert theirs.fast.chat_template is None
    before = ours.core
    assert ours.fast.backend_tokenizer is ours.core is not before
    assert ours.encode(PROMPTS[0]) == theirs.encode(PROMPTS[0])


def test_whoever_asks_for_the_network_of_transformers_has_it_run_from_then_on():
    loaded = decoders.load("nano")
    model, f = loaded.model, loaded.tokenizer.encode(PROMPTS[0])
    assert isinstance(model, LeanModel)
    assert model.network is model.lean
    before = decoders.decode(model, get("threshold"), [f], length=8)
    kept = model.session(SessionSpec(1, 20, 8))
    net = model.model
    assert type(net).__name__ == "Qwen3ForCausalLM"
    assert model.model is model.network is net
    calls = []
    net.model.register_forward_hook(lambda *_: calls.append(1))
    assert decoders.decode(model, get("threshold"), [f], length=8)[0].tokens == before[0].tokens
    assert len(calls) == before[0].nfe
    assert type(kept.cache) is Store  # a session that has begun stays with its network
    assert isinstance(model.session(SessionSpec(1, 20, 8)).cache, ScatterCache)
    model.model = other = type(net)(net.config).eval()
    assert model.network is other


def test_attention_maps_and_compiling_are_those_of_transformers():
    model = load_lean(NANO, "nano", "bidirectional").model
    assert isinstance(model.session(SessionSpec(1, 20, 8, attention=True)).cache, ScatterCache)
    assert model.network is model.lean
    generator = Generator("nano", compile=True)
    assert type(generator.loaded.model.network).__name__ == "Qwen3ForCausalLM"


def test_a_quantised_one_is_transformers_own():
    model = decoders.load("nano", quantize="int4").model
    assert not isinstance(model, LeanModel)


@pytest.mark.parametrize(
    ("file", "text"),
    [("model.safetensors", b"12345678901234567890"), ("tokenizer.json", b"{}"), ("config.json", b"[")],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, file, text):
    for path in NANO.iterdir():
        if path.suffix in (".json", ".safetensors"):
            (tmp_path / path.name).write_bytes(text if path.name == file else path.read_bytes())
    with pytest.raises(UsageError, match=file) as e:
        load_lean(tmp_path, "nano", "bidirectional")
    assert "\n" not in str(e.value)
