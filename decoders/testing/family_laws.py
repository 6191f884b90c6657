"""The laws that every family of checkpoints keeps. Each is a function of a family with a tiny checkpoint (`Tiny`) that
raises `AssertionError`, with what went wrong.

The checkpoint is random: the laws test whether a family is run as it declares itself and as its makers' code runs it,
if that is given (`Family.reference`); they do not test real weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from decoders.caches.none import NoCache
from decoders.core import (
    Blocks,
    Cache,
    Canvas,
    Decoder,
    Exact,
    Forward,
    Plan,
    Pred,
    Shape,
    Whole,
    Windows,
    decode,
    is_causal,
    layout,
    prepare,
    session_spec,
)
from decoders.models.families import FAMILIES, Family
from decoders.models.loaded import Loaded
from decoders.models.recognition import claims, installed
from decoders.registry import get
from decoders.testing.cache_runs import Cautious
from decoders.testing.rooms import expect
from decoders.testing.tiny import Tiny

FamilyLaw = Callable[[Tiny], None]
PROMPTS = ((3, 7, 30, 41, 5), (60, 61, 62, 2, 11, 12, 13, 9, 8, 1, 0))
NEAR = 1e-4
"""The largest difference between two logits, relative to the largest logit: the rounding of float32 in another order of
sums."""


def known(tiny: Tiny) -> None:
    """Its name is its own, and a config of its type and architecture is of no other family."""
    f, others = tiny.family, FAMILIES | installed()[0]
    twin = others.get(f.name)
    expect(twin is None or twin is f, f"there is another family {f.name!r}: choose another name")
    by_name = tiny.config.get("diffusion_family") == f.name
    expect(by_name or claims(f, tiny.config), "its sample has another type or architecture than the family")
    wide = [other.name for other in others.values() if any(a.startswith("*") for a in other.architectures)]
    for other in others.values() if not by_name else ():
        if other is not f and other.name not in wide and not before(f, other):
            expect(not claims(other, tiny.config), f"a config of its type and architecture is of {other.name} too")


def before(family: Family, other: Family) -> bool:
    """Whether the table has a family before another one, from which it takes the configs with additional keys
    (`only`)."""
    order = list(FAMILIES)
    there = bool(family.only) and {family.name, other.name} <= FAMILIES.keys()
    return there and order.index(family.name) < order.index(other.name)


def configured(tiny: Tiny) -> None:
    """`settings` turns its config.json into valid settings of the transformers class."""
    cls, config = tiny.native
    vocab = int(config.get_text_config().vocab_size)
    least = max(value for key, value in tiny.config.items() if key.endswith("_token_id") and isinstance(value, int)) + 1
    expect(vocab >= least, f"{cls.__name__} gets a vocabulary of {vocab}, and the ids of its tokens take {least}")


def round_trip(tiny: Tiny) -> None:
    """Weights in safetensors, by the names in its files, come back as they were."""
    for (old, new), (back, _) in zip(tiny.family.renames.items(), tiny.back, strict=True):
        used = any(back.search(name) for name in tiny.weights)
        expect(used, f"the rename {old!r} to {new!r} makes no name of a weight of {tiny.native[0].__name__}")
    clash = len(tiny.weights) - len(tiny.stored)
    expect(clash == 0, f"{clash} weights have the name of another one in the files")
    for attention in tiny.family.attentions:
        net = getattr(tiny.load(attention).model, "model", None)
        found = net.state_dict() if isinstance(net, nn.Module) else {}
        for name, w in tiny.weights.items():
            if name in found:  # weights that transformers stores apart and keeps together are tested by the logits
                expect(torch.equal(found[name], w), f"the weight {name} is not what was written")


@dataclass(frozen=True)
class Told:
    """The prediction of one position: its query, and the logits."""

    row: int
    at: int
    tokens: Tensor
    """(L,) long  the row's text at that forward."""
    start: int
    """Of the window."""
    logits: Tensor


def length_of(loaded: Loaded) -> int:
    """Positions after a prompt: some blocks, few tokens."""
    return min(2 * max(loaded.block or 8, loaded.model.attention_block or 1), 48) + 3


def windows_of(loaded: Loaded) -> Windows:
    return Blocks(loaded.block, within=loaded.model.attention_block) if loaded.block else Whole()


def told_in(tiny: Tiny, attention: str, cache: Cache, prompts: Sequence[Sequence[int]] = PROMPTS) -> list[Told]:
    """Every prediction of a run over some rows."""
    loaded, told = tiny.load(attention), list[Told]()
    length = length_of(loaded)

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        logits = p.logits
        assert logits is not None
        for b, prompt in enumerate(prompts):
            text = f.tokens[b, : len(prompt) + length].clone()
            for n, w in enumerate(p.at[b].tolist()):
                if w < p.width:
                    told.append(Told(b, int(f.at[b, w]), text, int(f.at[b, 0]), logits[b, n].clone()))

    decode(
        loaded.model, decoder_of(tiny), prompts, length=length, windows=windows_of(loaded), cache=cache,
        stop=False, watch=watch, seeds=[sum(prompt) for prompt in prompts],
    )
    return told


def decoder_of(tiny: Tiny) -> Decoder:
    """A strategy that suits the family and commits several positions a step if it can."""
    name = tiny.family.decoder
    return get(name, tau=0.5) if name == "threshold" else get(name)


def near(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= NEAR * b.abs().max())


def plain(tiny: Tiny) -> None:
    """A session predicts the same as a plain forward, or as its makers' code if that is given."""
    for attention in tiny.family.attentions:
        loaded, rows = tiny.load(attention), dict[tuple[int, int, int], Tensor]()
        for n, t in enumerate(told_in(tiny, attention, NoCache())):
            key = t.row, t.start, hash(tuple(t.tokens.tolist()))
            if key not in rows:
                rows[key] = whole_row(tiny, loaded, t)
            column = max(t.at - int(getattr(loaded.model, "shifted", tiny.family.shifted)), 0)
            expect(
                near(t.logits, rows[key][column]),
                f"{attention}: prediction {n + 1}, of position {t.at} in row {t.row + 1}, is not that of "
                f"{'the reference' if tiny.family.reference else 'a plain forward'}, output {column}",
            )


@torch.inference_mode()
def whole_row(tiny: Tiny, loaded: Loaded, t: Told) -> Tensor:
    """(L, V) logits of a row's text, each output as it is."""
    f, model = tiny.family, loaded.model
    if f.reference:
        return f.reference(tiny.config, tiny.stored, t.tokens)
    net: Any = getattr(model, "model", None)
    if f.adapter:
        own = net is not None and not model.block_causal
        expect(own, "the predictions of an adapter have to be compared with the makers' code: give reference=")
        logits: Tensor = net(input_ids=t.tokens[None]).logits[0]
        return logits
    n = len(t.tokens)
    place = torch.arange(n)
    block = model.attention_block or loaded.block
    if not model.block_causal:
        sees = torch.ones(n, n, dtype=torch.bool)
    elif model.causal_context:
        within = (place >= t.start) & (place < t.start + (block or n))
        sees = (place <= place[:, None]) | (within[:, None] & within)
    else:
        sees = place[:, None] // (block or n) >= place // (block or n)
    bias = torch.zeros(n, n).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None]
    logits = net(input_ids=t.tokens[None], attention_mask=bias, position_ids=place[None], use_cache=False).logits[0]
    return logits


def sees(tiny: Tiny) -> None:
    """A position sees the declared positions, and no others.

    These are the whole row, or its own block and the positions left of it.
    """
    for attention in tiny.family.attentions:
        check_sight(tiny, attention)


def check_sight(tiny: Tiny, attention: str) -> None:
    loaded = tiny.load(attention)
    plan, c = laid(tiny, loaded)

    def asked(f: Forward) -> Tensor:
        """(N, V) the logits of all wanted positions, in their order, from a session with an empty store."""
        p = loaded.model.session(session_spec(plan, c))(f)
        assert p.logits is not None
        return p.logits[0, p.at[0].argsort()[: int(f.want[0].sum())]]

    f = prepare(plan, c)
    before, at, end = asked(f), f.at[0][f.want[0]], end_of_sight(loaded, f)
    for column in range(int(f.tokens.shape[1]) - 1):
        token = 5 if int(f.tokens[0, column]) == 4 else 4
        after = asked(replace(f, tokens=f.tokens.index_fill(1, torch.tensor([column]), token)))
        told = f"with the token at {column}, which it {'is not to see' if column >= end else 'is to see'}"
        for position, now, then in zip(at.tolist(), after, before, strict=True):
            where = f"{attention}: the prediction of position {position}"
            if column >= end:
                expect(near(now, then), f"{where} changes {told}")
            elif column != position:  # a position's output always depends on its own token
                expect(not torch.equal(now, then), f"{where} does not change {told}")


def laid(tiny: Tiny, loaded: Loaded) -> tuple[Plan, Canvas]:
    """One row before its first forward, in which everything is computed."""
    plan = Plan(decoder_of(tiny), windows_of(loaded), NoCache())
    return plan, layout(
        Shape.of(loaded.model), plan.decoder, PROMPTS[:1], length=length_of(loaded), keys=[0], windows=plan.windows,
        cache=plan.cache,
    )


def end_of_sight(loaded: Loaded, f: Forward) -> int:
    """The column up to which the wanted positions of a row see."""
    at = f.at[0][f.want[0]]
    alone = is_causal(loaded.model)  # the positions left of it, without its own token
    return int(at.max()) if alone else int(f.until[0][at].max())


def keeping(tiny: Tiny, attention: str) -> Cache:
    """An exact policy that uses stored keys and values, if the model can store any. With bidirectional attention no
    stored value stays exact, so all are computed and stored again."""
    model = tiny.load(attention).model
    if "store" not in model.capabilities:
        return NoCache()
    return Exact() if model.block_causal else Cautious(NoCache())


def padding(tiny: Tiny) -> None:
    """A row gets the same predictions beside a longer one as alone: no padding is seen."""
    for attention in tiny.family.attentions:
        cache = keeping(tiny, attention)
        together = told_in(tiny, attention, cache)
        for b, prompt in enumerate(PROMPTS):
            beside = [t for t in together if t.row == b]
            alone = told_in(tiny, attention, cache, [prompt])
            check_alike(f"{attention}: row {b + 1}, beside another", beside, alone)


def stores(tiny: Tiny) -> None:
    """Stored keys and values change no prediction under an exact policy."""
    for attention in tiny.family.attentions:
        stored, without = (told_in(tiny, attention, cache) for cache in (keeping(tiny, attention), NoCache()))
        check_alike(f"{attention}: with stored keys and values", stored, without)


def check_alike(where: str, found: Sequence[Told], wanted: Sequence[Told]) -> None:
    """Raises `AssertionError` for two predictions of the same text that differ. The texts of two runs may differ
    because of rounding alone."""
    for n, (a, b) in enumerate(zip(found, wanted, strict=False)):
        if a.at == b.at and torch.equal(a.tokens, b.tokens):
            expect(near(a.logits, b.logits), f"{where}: prediction {n + 1}, of position {a.at}, is another one")


FAMILY_LAWS: tuple[FamilyLaw, ...] = (known, configured, round_trip, plain, sees, padding, stores)
FAMILY_FAST: tuple[FamilyLaw, ...] = (known, configured, round_trip)
"""The laws that decode nothing."""
