"""The rows of the engine without an engine, and what `decoders serve` hands to vLLM."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from decoders_vllm.requests import SAMPLES, of_sample, plan_of, request_of
from decoders_vllm.rows import (
    COMMIT,
    DENOISE,
    FREE,
    IDLE,
    STALLED,
    UNDEFINED,
    EngineSpec,
    RowPlan,
    Rows,
    advance,
    settle,
    show,
)
from decoders_vllm.serve import arguments
from decoders_vllm.served import Served
from engines import NANO

import decoders
from decoders.core import Blocks, Decoder, Pred, State

C, V = 8, 20
ENGINE = EngineSpec(mask_id=1, vocab=V, stop_ids=(0,), never=(1,), shifted=False, keep=True)
SPECS = (
    "threshold:tau=0.9,temperature=1.0", "factor", "llada", "ancestral", "sdar:block_steps=3", "llada2",
    "left_to_right:race=true", "hybrid:budget=5", "hybrid:ar=wide,answer=(s2d2:temperature=1.0)", "s2d2:route=ucb",
    "s2d2_editing", "coupled",
)


@dataclass(frozen=True)
class Idle(Decoder):
    """Commits nothing, ever."""

    def step(self, s: State, p: Pred) -> State:
        return s


def vacant(n: int, device: str = "cpu") -> Rows:
    return Rows.vacant(n, C, ENGINE, 4, device)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_nothing_is_read_from_the_device(spec: str, shifted: bool) -> None:
    """A step of several rows on tensors that have shapes and no values."""
    n, engine = 3, replace(ENGINE, shifted=shifted)
    plan = RowPlan(decoders.get(spec), Blocks(4, C), infill=True)
    given = torch.full((n, C), FREE, device="meta")
    rows = settle(vacant(n, "meta"), plan, given)
    logits = torch.zeros(n, C, V, device="meta")
    for _ in range(2):
        assert show(rows, plan, engine).tokens.shape == (n, C)
        step = advance(rows, plan, engine, logits, logits[:, 0] if shifted else None, given)
        rows = step.rows
        assert step.out.shape == (n, C)
        assert step.count.shape == (n,)


def row(limit: int, sent: int, stops: tuple[int, ...] = ()) -> Rows:
    """A row whose prompt has `sent` tokens."""
    one = replace(vacant(1), limit=torch.tensor([limit]), sent=torch.tensor([sent]), base=torch.tensor([sent // C * C]))
    return replace(one, stops=torch.tensor([[*stops, *[-1] * 4][:4]]))


def run(rows: Rows, engine: EngineSpec, tokens: list[int], plan: RowPlan) -> tuple[list[int], list[int]]:
    """What the engine gets, and the phases of the forwards, of a model that is sure of `tokens` by place."""
    out, phases = [], []
    given = torch.full((1, C), FREE)
    given[0, : int(rows.sent) - int(rows.base)] = 7
    rows = settle(rows, plan, given)
    while int(rows.phase) != IDLE:
        phases.append(int(rows.phase))
        wanted = torch.tensor([(tokens * 9)[int(rows.base) : int(rows.base) + C]])
        logits = torch.nn.functional.one_hot(wanted, V).float() * 30
        step = advance(rows, plan, engine, logits, None, torch.full((1, C), FREE))
        out += step.out[0, : int(step.count)].tolist()
        rows = step.rows
    return out, phases


def test_forwards_of_a_row() -> None:
    """The prompt's tail is not sent again, each finished block costs one commit, and a row that ends within a block
    needs none."""
    plan, tokens = RowPlan(decoders.get("threshold"), Blocks(C)), [2, 3, 4, 5, 6, 8, 9, 10]
    out, phases = run(row(limit=13 + 14, sent=13), ENGINE, tokens, plan)
    assert out == (tokens * 9)[13:27]
    assert phases == [DENOISE, COMMIT, DENOISE, COMMIT, DENOISE]
    # its last page may be read again
    assert run(row(limit=24, sent=13), ENGINE, tokens, plan)[1] == [DENOISE, COMMIT, DENOISE, COMMIT]
    assert run(row(limit=24, sent=13), replace(ENGINE, keep=False), tokens, plan)[1] == [DENOISE, COMMIT, DENOISE]


def test_a_stop_token_ends_a_row_where_it_is() -> None:
    plan, tokens = RowPlan(decoders.get("threshold"), Blocks(C)), [2, 3, 4, 5, 6, 8, 9, 10]
    out, _ = run(row(limit=60, sent=8, stops=(5,)), replace(ENGINE, keep=False), tokens, plan)
    assert out == [2, 3, 4, 5]
    out, _ = run(row(limit=28, sent=8, stops=(5,)), ENGINE, tokens, replace(plan, stop=False))
    assert out == (tokens * 9)[8:28]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_of_which_the_model_says_nothing(value: float) -> None:
    """It hands out nothing and idles, and says why; the other row goes on."""
    plan, given = RowPlan(decoders.get("threshold"), Blocks(C)), torch.full((2, C), FREE)
    rows = settle(replace(vacant(2), limit=torch.tensor([C, C])), plan, given)
    logits = torch.nn.functional.one_hot(torch.full((2, C), 3), V).float() * 30
    logits[0, 5, 4] = value
    step = advance(rows, plan, ENGINE, logits, None, given)
    assert step.failed.tolist() == [UNDEFINED, 0]
    assert step.count.tolist() == [0, 0]
    assert step.rows.phase.tolist() == [IDLE, COMMIT]
    assert step.rows.open.sum(-1).tolist() == [C, 0]


def test_a_row_whose_decoder_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoders.core.plan.PATIENCE", 3)
    plan, given = RowPlan(Idle(), Blocks(C)), torch.full((1, C), FREE)
    rows = settle(replace(row(limit=40, sent=16), clock=torch.tensor([0])), plan, given)
    failed = []
    for _ in range(5):
        step = advance(rows, plan, ENGINE, torch.zeros(1, C, V), None, given)
        rows = step.rows
        failed.append(int(step.failed))
    assert failed[:4] == [0, 0, 0, STALLED]
    assert int(rows.phase) == IDLE


def test_what_is_known_of_a_model_survives_its_name() -> None:
    served = Served.of(NANO, 756, decoder="sdar:tau=0.8")
    assert Served.read(served.written) == served
    assert (served.canvas, served.window, served.mask_id, served.stop_ids, served.shifted) == (8, 8, 1, (0,), False)
    with pytest.raises(decoders.UsageError, match="blocks of"):
        Blocks(3, served.canvas)


def test_requests_of_one_decoder_share_their_way() -> None:
    """Rows are grouped by what they are decoded with, however it is written."""
    served = Served.of(NANO, 756)
    one = request_of(served, {"decoder": "threshold:tau=0.9", "seed": 1}, 16, False)
    other = request_of(served, {"decoder": "threshold:temperature=0.0", "seed": 2}, 64, False)
    assert one.plan == other.plan
    assert hash(one.plan) == hash(other.plan)
    assert plan_of(served, "threshold", False, False) != one.plan


def test_samples_of_a_request_have_seeds_of_their_own() -> None:
    served = Served.of(NANO, 756)
    args = {"decoder": "threshold", "seed": 7}
    asked = request_of(served, args, 16, False)
    assert of_sample(asked, args, "3_cmpl").seed == 7
    several = {**args, SAMPLES: 4}
    assert [of_sample(asked, several, f"{i}_cmpl").seed for i in range(4)] == [7, 8, 9, 10]
    last = request_of(served, {"seed": 2**63 - 1}, 16, False)
    assert of_sample(last, several, "1_cmpl").seed == -(2**63)


def test_serve() -> None:
    args = arguments("nano", "sdar", ["--port", "8001"])
    assert args[:2] == ["--model", str(NANO)]
    assert json.loads(args[args.index("--additional-config") + 1]) == {"decoder": "sdar"}
    assert json.loads(args[args.index("--hf-overrides") + 1])["canvas_length"] == 8
    assert args[args.index("--middleware") + 1] == "decoders_vllm.openai.Translated"
    assert args[args.index("--shutdown-timeout") + 1] == "30"  # requests that are open are finished on SIGTERM
    assert args[-2:] == ["--port", "8001"]
    for own in (["--shutdown-timeout", "5"], ["--shutdown-timeout=5"]):
        assert arguments("nano", "sdar", own)[-len(own) :] == own
        assert "30" not in arguments("nano", "sdar", own)


@pytest.mark.parametrize(
    ("model", "decoder", "options", "line"),
    [
        ("nano", "sdra", [], "did you mean 'sdar'"),
        ("nano", "s2d2", [], "^s2d2 verifies .* the library's own loop runs it"),
        ("nano", "persistent_drafts", [], "^persistent_drafts evaluates several .*; the library's own loop runs it"),
        ("nano", "klass", [], "^klass keeps numbers .*; the library's own loop runs it"),
        ("nano:device=cuda", "sdar", [], "takes no other of its options"),
        ("./nowhere", "sdar", [], "there is no checkpoint directory './nowhere'"),
        ("nano", "sdar", ["--hf-overrides={}"], "--hf-overrides is set by this command"),
    ],
)
def test_serve_refuses(model: str, decoder: str, options: list[str], line: str) -> None:
    with pytest.raises(decoders.UsageError, match=line):
        arguments(model, decoder, options)


def test_serve_refuses_families_that_the_engine_does_not_hold(tmp_path: Path) -> None:
    import tiny

    recipe = tiny.checkpoints.RECIPES["llada"]
    (tmp_path / "config.json").write_text(json.dumps(dict(recipe.config)))
    with pytest.raises(decoders.UsageError, match="does not hold"):
        arguments(str(tmp_path), "threshold", [])


def test_serve_takes_diffusion_gemma_from_vllms_own_sampler(tmp_path: Path) -> None:
    import tiny

    directory = str(tiny.write(tmp_path / "c", "diffusion_gemma"))
    given = arguments(directory, "gemma", [])
    assert json.loads(given[given.index("--hf-overrides") + 1]) == {"architectures": ["DiffusionGemmaForStrategies"]}
    with pytest.raises(decoders.UsageError, match="needs a model with a mask token"):
        arguments(directory, "t2m", [])
