"""The embedded model: its files, its tokenizer, and the batches that it was trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from click.testing import CliRunner

from decoders.core import UsageError
from decoders.models import nano
from decoders.models.source import load_model
from decoders_bench.nano.batches import Example, Mixture, Mode, batches, collate
from decoders_bench.nano.cli import train_nano
from decoders_bench.nano.lessons import LESSONS
from decoders_bench.nano.mixes import LATER
from decoders_bench.nano.muon import Muon, orthogonalise
from decoders_bench.nano.network import Network, config_of
from decoders_bench.nano.tokenizer import Segmenter, build
from decoders_bench.nano.train import Plan, Run, drawn, loss_of, rate_at, steps, warmed
from decoders_bench.tasks import GENERATED, items
from decoders_bench.tasks.base import split_of

TOKENIZER = build()
EXAMPLE = Example([10, 11, 12, 13, 14], [20, 21, 22, 23, 24, 0], 8)


@pytest.mark.parametrize("text", ["plain", "héllo 世界 😀", "<b>\t x 12345\n", "  two  spaces ", "", "\x00\x7f"])
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False).input_ids) == text


def test_prompts_and_answers_come_back_and_fit_their_canvas():
    for task in GENERATED.values():
        for rung in task.rungs:
            for item in items(task, rung, "train", 30):
                ids = TOKENIZER(item.answer, add_special_tokens=False).input_ids
                assert TOKENIZER.decode(ids) == item.answer
                assert len(ids) + 1 <= task.length[rung]
                assert TOKENIZER.decode(TOKENIZER(item.prompt, add_special_tokens=False).input_ids) == item.prompt


def test_the_segmenter_says_what_the_tokenizer_says():
    own = Segmenter()
    texts = [
        x
        for task in GENERATED.values()
        for rung in task.rungs
        for i in items(task, rung, "train", 30)
        for x in (i.prompt, i.answer)
    ]
    for text in [*texts, "", "aaa", "Q: 100 eggs\n  and 7 <0x41>"]:
        assert own.encode(text) == TOKENIZER(text, add_special_tokens=False).input_ids, text
    assert (len(own), own.end, own.mask) == (len(TOKENIZER), TOKENIZER.eos_token_id, TOKENIZER.mask_token_id)
    with pytest.raises(KeyError, match="no piece begins"):
        own.encode("é")


def test_the_network_is_that_of_transformers():
    """The embedded model's own weights; its configuration says so too."""
    shipped = load_model("nano").model.model
    c = shipped.config
    own = Network(c.vocab_size, c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.intermediate_size)
    own.load_state_dict(shipped.state_dict())
    said = config_of(c.vocab_size, c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.intermediate_size, 0, 1)
    assert said.items() <= json.loads((Path(nano.__file__).parent / "config.json").read_text()).items()
    tokens, position = torch.randint(3, 700, (2, 9)), torch.arange(9).expand(2, 9)
    for sees in (torch.ones(2, 9, 9, dtype=torch.bool), torch.ones(2, 9, 9, dtype=torch.bool).tril()):
        bias = torch.zeros(2, 1, 9, 9).masked_fill(~sees[:, None], torch.finfo(torch.float32).min)
        theirs = shipped(input_ids=tokens, attention_mask=bias, position_ids=position, use_cache=False).logits
        torch.testing.assert_close(own.lm_head(own.model(tokens, position, sees)), theirs, rtol=1e-4, atol=1e-4)


def test_a_step_is_drawn_alike_in_any_process():
    plan = Plan("x", positions=300, widest=300)
    (mode, one), (other, both) = drawn(plan, 3, [0]), drawn(plan, 3, [0, 1])
    assert mode == other
    assert len(both) > len(one)
    assert all(
        torch.equal(a.tokens, b.tokens) and torch.equal(a.weight, b.weight) for a, b in zip(one, both, strict=False)
    )


def rows(mode):
    b = collate([EXAMPLE], mode, Random(0), end=0, mask=1)
    return b, b.tokens[0].tolist(), b.position[0].tolist(), b.sees[0]


def test_full_mode_sees_everything_and_masks_only_the_answer():
    b, tokens, position, sees = rows(Mode("full"))
    assert position == list(range(13))
    assert tokens[:5] == EXAMPLE.prompt
    assert bool(sees.all())
    assert bool((b.weight[0] > 0).eq(b.tokens[0] == 1).all())
    assert b.weight[0, :5].sum() == 0


@pytest.mark.parametrize("mode", [Mode("block", 1), Mode("block", 4), Mode("answer", 1), Mode("answer", 4)], ids=str)
def test_block_modes_see_only_what_decoding_would_show(mode):
    """A noisy position sees the clean text of earlier blocks and its own block's noisy text, never its own answer."""
    b, tokens, position, sees = rows(mode)
    origin = 0 if mode.kind == "block" else 5
    clean = 13
    assert tokens[:clean] == EXAMPLE.prompt + EXAMPLE.answer + [0, 0]
    for q in range(clean, len(tokens)):
        block = (position[q] - origin) // mode.block
        for k in range(len(tokens)):
            other = (position[k] - origin) // mode.block
            assert bool(sees[q, k]) == ((other < block) if k < clean else (other == block))
    for q in range(clean):
        for k in range(len(tokens)):
            causal = mode.kind == "answer" and position[q] < 5
            limit = position[q] + 1 if causal else origin + ((position[q] - origin) // mode.block + 1) * mode.block
            assert bool(sees[q, k]) == (k < clean and position[k] < limit)
    assert {tokens[q] for q in range(clean, len(tokens)) if b.weight[0, q] > 0} == {1}


def test_each_block_weighs_the_same_however_much_is_masked():
    for seed in range(20):
        b = collate([Example([9], [20, 21, 22, 23], 4)], Mode("answer", 2), Random(seed), end=0, mask=1)
        assert b.weight.sum().item() == pytest.approx(2.0)  # the square root of the answer's length


def test_padding_is_seen_by_nobody():
    b = collate([EXAMPLE, Example([9], [20, 0], 2)], Mode("full"), Random(0), end=0, mask=1)
    assert not b.sees[1, :3, 3:].any()
    assert b.weight[1, 3:].sum() == 0


def test_muon_steps_have_equal_singular_values():
    g = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(orthogonalise(g))
    assert bool(((s > 0.6) & (s < 1.3)).all())


def test_muon_finds_the_minimum():
    target = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    w = torch.nn.Parameter(torch.zeros(5, 3))
    optimiser = Muon([w], lr=0.05, weight_decay=0.0)
    for i in range(300):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - i / 300)
        optimiser.zero_grad()
        (w - target).square().sum().backward()
        optimiser.step()
    assert (w - target).abs().max().item() < 0.05


def test_the_rate_warms_up_and_decays_to_zero():
    plan = Plan("x", steps=100, warmup=10, decay=0.4)
    rates = [rate_at(plan, i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == 1
    assert rates[99] == pytest.approx(1 / 40)


def test_training_that_is_out_of_time_keeps_its_last_step(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    small = {"positions": 100, "widest": 100, "hidden": 16, "layers": 1, "heads": 2, "inner": 16, "steps": 6}
    plan = Plan(str(tmp_path), **small)

    def draw(step):
        now[0] += 1
        return drawn(plan, step, [0])

    steps(Run(plan, 0), draw, None, deadline=3.0)
    again = Run(plan, 0)
    assert again.step == 3
    assert [row["step"] for row in again.curve] == [3]
    steps(again, draw, None)
    assert Run(plan, 0).step == 6


def test_how_the_losses_fell_is_written_beside_the_model(tmp_path):
    small = {"positions": 100, "widest": 100, "hidden": 16, "layers": 1, "heads": 2, "inner": 16, "save_every": 2}
    plan = Plan(str(tmp_path), steps=5, **small)
    run = Run(plan, 0)
    steps(run, lambda step: drawn(plan, step, [0]), None)
    run.export()
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [row["step"] for row in curve] == [2, 4, 5]
    assert all(row["examples"] > 0 and row["loss"] for row in curve)
    assert curve[0]["loss"] != curve[2]["loss"]


def test_a_run_begins_with_the_weights_of_a_model_whose_vocabulary_is_a_part_of_its_own(tmp_path):
    plan = warmed(Plan(str(tmp_path)), str(Path(nano.__file__).parent))
    own, shipped = Run(plan, 0).model.state_dict(), load_model("nano").model.model.state_dict()
    for name, x in shipped.items():
        assert torch.equal(own[name][: len(x)], x.float()), name
    with pytest.raises(UsageError, match="another shape"):
        Run(replace(plan, layers=1), 0)


@pytest.mark.parametrize("name", sorted(LESSONS))
def test_lessons_are_right_fit_their_canvas_and_are_seen_in_training_alone(name):
    task, (rung,) = LESSONS[name], LESSONS[name].rungs
    assert name == f"{task.name}/{rung}"
    assert rung not in GENERATED[task.name].rungs
    for item in items(task, rung, "train", 50):
        assert task.grade(item.problem, item.answer).exact
        assert len(TOKENIZER(item.answer, add_special_tokens=False).input_ids) + 1 <= task.length[rung]
        assert split_of(GENERATED[task.name], item.problem) == "train"


def test_a_mix_is_for_a_run_that_begins_with_a_model(tmp_path):
    done = CliRunner().invoke(train_nano, ["-o", str(tmp_path / "run"), "--mix", "unlearnt"])
    assert (done.exit_code, "give --start" in done.output) == (2, True)
    assert not list(tmp_path.iterdir())


def test_every_stage_of_all_recipes_names_tasks_that_there_are():
    for plan in (Plan("x"), *(warmed(Plan("x"), "y", mix) for mix in LATER)):
        for first, mix in plan.stages:
            assert plan.mix(first) == mix
            assert {name.partition("/")[0] for name in mix} <= GENERATED.keys()
        assert {name.partition("/")[0] for _, mix in plan.stages for name in mix} == GENERATED.keys()


@pytest.mark.parametrize("widest", [1000, 3000])
def test_an_eighth_of_a_batch_at_most_is_padding(widest):
    rng = Random(0)
    mixture = Mixture(Segmenter(), {"list/easy": 5.0, "ledger/hard": 1.0}, rng)
    for b in batches(iter(mixture), Mode("full"), rng, 4000, widest, 0, 1):
        assert b.tokens.numel() <= widest
        assert int((b.sees.sum(-1) == 1).sum()) <= widest / 8


def test_products_in_bfloat16_change_the_loss_a_little():
    model = Run(Plan("x", hidden=32, layers=2, inner=32), 0).model
    b = collate([EXAMPLE] * 8, Mode("block", 4), Random(0), end=0, mask=1)
    loss = loss_of(model, b)
    loss.backward()
    here = b.weight > 0
    logits = model.lm_head(model.model(b.tokens, b.position, b.sees)[here])
    exact = (torch.nn.functional.cross_entropy(logits, b.target[here], reduction="none") * b.weight[here]).sum()
    assert loss.item() == pytest.approx(exact.item(), rel=2e-3)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
