"""`role_order`: roles by heuristic and by a head, and the head that comes with nano."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import save_file

from decoders import Generator, Pred, UsageError, decode, get
from decoders.core import Shape, Whole, layout, view
from decoders.models.guidance import Guided
from decoders.strategies.role_order import ROLES, SHIPPED, RoleHead, RoleOrder, read_head
from decoders.testing import check
from decoders.testing.toy import HIDDEN, ToyModel
from decoders_bench.nano.roles import confusion, examples, roles, train, write

TOY = ToyModel(stop_ids=(9,))


def state(decided=()):
    s = view(layout(Shape.of(TOY), RoleOrder(), [[]], length=5, keys=[0], windows=Whole()))
    for place, token in decided:
        s = s.commit(torch.arange(5)[None] == place, torch.full_like(s.tokens, token), torch.ones(1, 5))
    return s


def order(decoder, tokens, confidence):
    """The places in the order in which a model that predicts `tokens` with `confidence` throughout has them
    committed."""
    s, found = state(), []
    c = torch.tensor([confidence])
    logits = torch.zeros(1, 5, 11).scatter(2, torch.tensor([tokens])[..., None], (c * 10 / (1 - c)).log()[..., None])
    for _ in range(5):
        t = decoder.step(s, Pred(logits, torch.arange(5)[None], 5))
        found += (s.open & ~t.open)[0].nonzero().flatten().tolist()
        s = t
    return found


def test_roles_come_before_confidence():
    decoder = RoleOrder(connectives=(1,), conclusions=(2,))
    assert order(decoder, [9, 2, 1, 5, 5], [0.99, 0.9, 0.5, 0.6, 0.7]) == [2, 4, 3, 1, 0]


def test_what_stands_already_is_a_premise():
    s = state(decided=[(0, 5)])
    assert RoleOrder().heuristic(s, torch.tensor([[5, 5, 6, 9, 1]]))[0].tolist() == [0, 0, 2, 4, 2]


def test_without_a_weight_it_is_llada():
    rows = [
        decode(TOY, get(spec), [[1, 2], [3]], length=9) for spec in ("role_order:weight=0.0,steps=3", "llada:steps=3")
    ]
    assert rows[0] == rows[1]


def test_texts_become_tokens():
    made = get('role_order:connectives="ab",conclusions="c"').tokenized(lambda text: [ord(x) for x in text])
    assert (made.connectives, made.conclusions) == ((97, 98), (99,))


def test_a_head_says_the_roles(tmp_path):
    """One that passes four numbers on: the largest is the role."""
    path = tmp_path / "head.safetensors"
    eye = torch.eye(HIDDEN)
    out = torch.cat([eye, torch.zeros(1, HIDDEN)])
    save_file(
        {"hidden": eye, "hidden_bias": torch.zeros(HIDDEN), "out": out, "out_bias": torch.tensor([0, 0, 0, 0, -9.0])},
        str(path),
    )
    states = torch.tensor([[3.0, 1, 2, 0], [0, 1, 5, 2], [0, 0, 0, 4]])
    assert read_head(str(path))(states).argmax(-1).tolist() == [0, 2, 3]
    check(RoleOrder(head=str(path)))


def test_bad_heads_are_one_line(tmp_path):
    with pytest.raises(UsageError, match="the role head nowhere cannot be read"):
        RoleOrder(head="nowhere")
    path = tmp_path / "head.safetensors"
    save_file(
        {
            "hidden": torch.zeros(3, 4), "hidden_bias": torch.zeros(3), "out": torch.zeros(2, 3),
            "out_bias": torch.zeros(2),
        }, str(path),
    )
    with pytest.raises(UsageError, match="it needs a row for each of premise, connective"):
        RoleOrder(head=str(path))
    with pytest.raises(UsageError, match="reads hidden states, and this model gives none"):
        decode(Guided(TOY, 1.0), get("role_order:head=nano"), [[1]], length=4)
    with pytest.raises(UsageError, match=rf"reads \d+ numbers, and this model's hidden states have {HIDDEN}"):
        decode(TOY, get("role_order:head=nano"), [[1]], length=4)


def test_the_roles_of_a_chain():
    loaded = Generator("nano").loaded
    prompt, answer = (
        loaded.tokenizer.encode(x) for x in ("Q: Tess starts with 2 toys: finds 8. Total?", " 2 + 8 = 10 # 10")
    )
    names = [ROLES[r] for r in roles(loaded, prompt, answer, "10", 9)]
    assert names == [
        "premise",
        "connective",
        "premise",
        "connective",
        "derived",
        "connective",
        "conclusion",
        "filler",
        "filler",
    ]


def test_the_head_that_comes_with_nano_tells_roles_apart(tmp_path):
    """On items that it was not trained on, as the training run found; and training another one of them in small
    works."""
    held = examples("validation", 2, 7, lambda: None)
    shipped = vars(read_head(str(SHIPPED["nano"])))
    table = confusion(shipped, held)
    assert int(table.sum()) == len(held.roles) > 50
    assert float(table.diag().sum() / table.sum()) > 0.85
    write(tmp_path / "x" / "head.safetensors", train(held, width=8, epochs=2))
    assert isinstance(read_head(str(tmp_path / "x" / "head.safetensors")), RoleHead)


def test_it_decodes_with_nano():
    out = Generator("nano", "role_order:head=nano")(
        "Q: Tess starts with 2 toys: finds 8, gives 6, finds 4. Total?", length=24
    )[0]
    assert re.fullmatch(r" 2 \+ 8 = \d+ ; \d+ - 6 = \d+ ; \d+ \+ 4 = \d+ # \d+", out.text)
    assert len(set(out.commit_steps)) == len(out.commit_steps) > 12  # a position a forward
    assert len(out.commit_steps) <= out.nfe <= 24
