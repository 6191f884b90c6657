"""Replay of recorded runs of official implementations, and that the replay can fail.

A few cases and two checkpoints are in tests/data/golden; the whole set is `../shared/golden`, or where DECODERS_GOLDEN
points.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from decoders import Pred, State, UsageError, decode, get, only, top
from decoders.caches.fast_dllm import Dual, Prefix
from decoders.cli import main
from decoders.core import Cache, Trace
from decoders.strategies import dream as dream_module
from decoders.strategies.dawn import DAWN
from decoders.strategies.dream import Dream
from decoders.strategies.fast_dllm import Factor
from decoders.strategies.llada import LLaDA
from decoders.strategies.saber import Saber
from decoders_bench.golden.cases import Case, MismatchError, read
from decoders_bench.golden.cli import golden
from decoders_bench.golden.dawn import AsCoded as DAWNAsCoded
from decoders_bench.golden.forwards import session_check
from decoders_bench.golden.latent import LATENT
from decoders_bench.golden.models import Models
from decoders_bench.golden.references import REFERENCES, dream_setup, fast_dllm_setup, llada_setup
from decoders_bench.golden.runner import Result, replay, summary
from decoders_bench.golden.slow_fast import AsCoded
from decoders_bench.golden.steps import check, state
from decoders_bench.golden.trajectory import Job, Setup, follow, free, job_of, reference_nan, tie, trajectory

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parents[1] / "data" / "golden"
SHARED = Path(os.environ.get("DECODERS_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
LATENT_HERE, LATENT_SHARED = HERE.with_name("golden_latent"), SHARED.with_name("golden_latent")
COUNTS = {"passed": 27, "failed": 0, "skipped": 0, "reference_bug": 1}  # of the cases in HERE


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(HERE / "models")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of the right form with the small checkpoint and no case."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "models").symlink_to(HERE / "models")
    return tmp_path


def write(folder: Path, reference: str, name: str, data: Any) -> Path:
    path = folder / "cases" / reference / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def data_of(name: str) -> dict[str, Any]:
    return dict(json.loads((HERE / "cases" / f"{name}.json").read_text()))


def one(folder: Path, reference: str) -> Result:
    (result,) = replay(folder, reference)
    return result


# the recorded cases


def test_the_small_set_passes_everywhere() -> None:
    total = summary(replay(HERE))
    assert {k: total[k] for k in COUNTS} == COUNTS
    assert {name: own["passed"] for name, own in total["references"].items()} == {
        "dreamon": 8, "fast_dllm": 7, "llada": 3, "mdlm": 1, "model_check": 1, "wedlm": 6, "wino": 1,
    }


def test_samplers_of_latents_do_what_official_ones_did():
    """A few of the recorded runs; the whole set is `../shared/golden_latent`."""
    found = {(r.reference, r.case): r.status for r in replay(LATENT_HERE)}
    assert found.pop(("ld4lg", "dpmpp_pred_v_cosine10")) == "reference_bug"
    assert len(found) == 6
    assert set(found.values()) == {"passed"}


def test_the_whole_set_of_latents():
    if not LATENT_SHARED.is_dir():
        pytest.skip(f"there is no {LATENT_SHARED}")
    counts = Counter(r.status for r in replay(LATENT_SHARED))
    assert counts == {"passed": 63, "reference_bug": 3, "skipped": 2}


@pytest.fixture(scope="module")
def shared() -> dict[str, Any]:
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}; set DECODERS_GOLDEN to the golden data")
    return summary(replay(SHARED))


ONLY_HERE = {"dreamon", "wedlm"}
"""References of which all recorded cases are in HERE."""
FOUND = {"saber": {"g32_b32_n4_p3"}, "slow_fast": {"g16_b16_p0", "g32_b8_p2"}}
"""Cases that the data does not flag and the replay does."""


@pytest.mark.slow
@pytest.mark.parametrize("reference", [name for name in REFERENCES if name not in {*LATENT, *ONLY_HERE}])
def test_every_case_of_the_whole_set(shared: dict[str, Any], reference: str) -> None:
    names = {p.stem: json.loads(p.read_text()) for p in (SHARED / "cases" / reference).glob("*.json")}
    flagged = {name for name, data in names.items() if data.get("reference_bug") and not data.get("wasted_forwards")}
    flagged |= FOUND.get(reference, set())
    own = shared["references"][reference]
    assert own["failures"] == []
    counts = {"passed": len(names) - len(flagged), "failed": 0, "skipped": 0, "reference_bug": len(flagged)}
    assert {k: own[k] for k in counts} == counts
    assert own["passed"] > 0


@pytest.mark.slow
def test_other_references_are_skipped_and_nothing_fails(shared: dict[str, Any]) -> None:
    others = {name: own for name, own in shared["references"].items() if name not in REFERENCES}
    for name, own in others.items():
        assert own["skipped"] == len(list((SHARED / "cases" / name).glob("*.json"))) == len(own["skips"])
    assert shared["failed"] == 0


@pytest.mark.slow
def test_notes_say_what_was_not_compared_as_it_stands(shared: dict[str, Any]) -> None:
    notes = {note["case"]: note["reason"] for note in shared["references"]["dream"]["notes"]}
    tied = {
        case
        for case, reason in notes.items()
        if reason.startswith("other choice among exactly equal scores at forwards")
    }
    assert tied == {p.stem for p in (SHARED / "cases/dream").glob("*top_p0.8.json")}
    padded = [reason for case, reason in notes.items() if "leftpad" in case]
    assert set(padded) <= {"row 0 is not compared: the reference computed NaN there"}


# where the reference is wrong: what the paper says


@pytest.mark.parametrize("folder_", [HERE, SHARED], ids=["here", "shared"])
def test_factor_commits_what_its_bound_allows(folder_: Path) -> None:
    """The reference commits all candidates when only the last fails c >= 1 - f / (n + 1). From its own canvases ours
    commits the right number there, and the same tokens at every other forward."""
    if not folder_.is_dir():
        pytest.skip(f"there is no {folder_}; set DECODERS_GOLDEN to the golden data")
    models, found = Models(folder_ / "models"), 0
    for path in sorted((folder_ / "cases" / "fast_dllm").glob("*_plain_*.json")):
        case = read(path)
        if not case.flagged:
            continue
        found += 1
        bugs = {k: (wrong, right) for k, wrong, right in case.need("bug_at")}
        for step in follow(job_of(case, models, fast_dllm_setup(case))):
            ours, theirs = step.committed(step.ours)[0], step.committed(step.theirs)[0]
            if step.k in bugs:
                assert (int(theirs.sum()), int(ours.sum())) == bugs[step.k]
                assert not bool((ours & ~theirs).any())
            else:
                assert torch.equal(step.ours.tokens, step.theirs.tokens)
    assert found


def run(job: Job) -> tuple[list[list[int]], Trace]:
    trace = Trace()
    rows = decode(
        job.model, job.setup.decoder, job.prompts, length=job.length, windows=job.windows, infill=job.infill,
        watch=trace,
    )
    return [list(r.canvas) for r in rows], trace


def fills_and_keeps(job: Job, mask_id: int) -> None:
    """Every mask is filled, nothing that was committed or given is taken back, and a row alone gets the same tokens."""
    canvases, trace = run(job)
    assert all(mask_id not in canvas for canvas in canvases)
    before = torch.tensor([p + [mask_id] * (trace.canvases[0].tokens.shape[1] - len(p)) for p in job.prompts])
    for c in trace.canvases:
        assert torch.equal(torch.where(before != mask_id, before, c.tokens)[:, :-1], c.tokens[:, :-1])
        before = c.tokens
    for prompt, canvas in zip(job.prompts, canvases, strict=True):
        assert run(replace(job, prompts=[prompt]))[0] == [canvas]


def test_dream_rows_have_quotas_of_their_own() -> None:
    """The reference averages the number of masks over the batch: rows with holes keep masks, or get committed tokens
    back as masks."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}; set DECODERS_GOLDEN to the golden data")
    models, found = Models(SHARED / "models"), 0
    for path in sorted((SHARED / "cases" / "dream").glob("*.json")):
        case = read(path)
        if case.flagged:
            found += 1
            assert any(case.mask_id in row for row in case.need("expected", "tokens"))
            fills_and_keeps(job_of(case, models, dream_setup(case)), case.mask_id)
    assert found


@pytest.mark.parametrize("setup", [llada_setup, dream_setup])
def test_holes_are_filled(models: Models, setup: Callable[[Case], Setup]) -> None:
    """LLaDA's reference lets masks in the prompt compete for a quota that does not count them, so masks are left."""
    data = data_of("llada/s4_g24_b24_B1_p0_cfg0")
    other, (prompt,) = [3, 8, 24, 54, 31, 21, 21, 6], data["prompt"]
    data["prompt"] = [[63 if i in (2, 5) else t for i, t in enumerate(prompt)], other[: len(prompt)]]
    data["params"] |= {"alg": "maskgit_plus", "block_length": 8}
    data["expected"] = {"tokens": [row + [1] * 24 for row in data["prompt"]], "nfe": 4}
    case = Case(Path("holes.json"), data)
    fills_and_keeps(job_of(case, models, setup(case)), 63)


def test_a_flagged_case_neither_passes_nor_fails(folder: Path) -> None:
    for name, expected in (("same", {}), ("other", {"nfe": 99})):
        data = data_of("llada/s4_g24_b24_B1_p0_cfg0") | {"reference_bug": True}
        data["expected"] |= expected
        write(folder, "llada", name, data)
    write(folder, "llada", "broken", {"reference_bug": True})
    total = summary(replay(folder))
    assert (total["passed"], total["failed"], total["skipped"], total["reference_bug"]) == (0, 0, 0, 3)
    assert {note["case"] for note in total["references"]["llada"]["notes"]} == {"other", "broken"}


# equal scores


def tied_case(monkeypatch: pytest.MonkeyPatch, models: Models) -> dict[str, Any]:
    """A run of Dream with a nucleus, so that some confidences are exactly 1, its ties broken to the right."""
    params = {
        "alg": "maskgit_plus", "steps": 6, "eps": 1e-3, "top_p": 0.9, "max_new_tokens": 16, "mask_token_id": 63,
        "top_k": None,
    }
    prompt = [[57, 49, 24, 55, 19, 4]]
    setup = dream_setup(Case(Path("x.json"), {"params": params}))
    trace = Trace()
    with monkeypatch.context() as patched:
        patched.setattr(dream_module, "top", lambda score, k: top(score.flip(-1), k).flip(-1))
        (row,) = decode(models.get("llama-bidir", 63), setup.decoder, prompt, length=16, watch=trace)
    canvases = [c.tokens[:, :-1].tolist() for c in trace.canvases]
    expected = {"tokens": [list(row.canvas)], "nfe": row.nfe, "canvases": canvases}
    return {"kind": "trajectory", "model": "llama-bidir", "params": params, "prompt": prompt, "expected": expected}


def test_a_tie_passes_with_a_note(monkeypatch: pytest.MonkeyPatch, models: Models, folder: Path) -> None:
    write(folder, "dream", "tied", tied_case(monkeypatch, models))
    result = one(folder, "dream")
    assert result.status == "passed"
    assert result.reason.startswith("other choice among exactly equal scores at forwards")


class Worst(Dream):
    """Commits the least certain."""

    def chosen(self, s: State, p: Pred, confidence: torch.Tensor) -> torch.Tensor:
        ratio, last = self.schedule(s)
        masks = s.open.sum(-1)
        return top(only(s.open, -confidence), torch.where(last, masks, (masks.float() * ratio).long()))


class OneMore(Dream):
    """Commits one more than its schedule says."""

    def chosen(self, s: State, p: Pred, confidence: torch.Tensor) -> torch.Tensor:
        return top(only(s.open, confidence), super().chosen(s, p, confidence).sum(-1) + 1)


class SecondBest(Dream):
    """Commits the right positions with the second token."""

    def step(self, s: State, p: Pred) -> State:
        after = super().step(s, p)
        where = s.open & ~after.open
        return s.commit(where, p.top(2)[0][..., 1], torch.ones_like(s.confidence))


class Leftmost(Dream):
    """Commits from left to right."""

    def chosen(self, s: State, p: Pred, confidence: torch.Tensor) -> torch.Tensor:
        return top(only(s.open, -s.position.double()), super().chosen(s, p, confidence).sum(-1))


@pytest.mark.parametrize("wrong", [Worst, OneMore, SecondBest, Leftmost])
def test_a_wrong_rule_is_no_tie(
    monkeypatch: pytest.MonkeyPatch, models: Models, folder: Path, wrong: type[Dream]
) -> None:
    case = read(write(folder, "dream", "tied", tied_case(monkeypatch, models)))
    setup = dream_setup(case)
    options = {name: getattr(setup.decoder, name) for name in ("by", "steps", "eps", "top_p", "top_k")}
    with pytest.raises(MismatchError):
        trajectory(case, models, replace(setup, decoder=wrong(**options)))


def test_what_a_tie_is() -> None:
    left, right = torch.tensor([True, True, False]), torch.tensor([False, True, True])
    best, score = torch.tensor([5, 6, 7]), torch.tensor([1.0, 0.5, 1.0])
    tie(0, 0, left, right, best, torch.tensor([63, 6, 7]), score)
    with pytest.raises(MismatchError, match="scores are not equal"):
        tie(0, 0, left, right, best, torch.tensor([63, 6, 7]), torch.tensor([1.0, 0.5, 1.0 - 1e-7]))
    with pytest.raises(MismatchError, match="the tokens"):
        tie(0, 0, left, right, best, torch.tensor([63, 6, 8]), score)
    with pytest.raises(MismatchError, match="2 positions committed instead of 3"):
        tie(0, 0, left, left | right, best, best, score)


# that the replay can fail


@pytest.mark.parametrize("wrong", ["position", "token", "number"])
def test_a_wrong_decoder_fails_from_the_forward_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    right = LLaDA.step

    def step(self: LLaDA, s: State, p: Pred) -> State:
        after = right(self, s, p)
        where = s.open & ~after.open
        if wrong == "position":
            where = top(only(s.open, -p.best()[1]), where.sum(-1))
        elif wrong == "number":
            where = top(only(s.open, p.best()[1]), where.sum(-1) + 1)
        tokens = p.top(2)[0][..., 1] if wrong == "token" else p.best()[0]
        return right(self, s, p) if int(s.clock[0]) != 2 else s.commit(where, tokens, p.best()[1])

    monkeypatch.setattr(LLaDA, "step", step)
    total = summary(replay(HERE, "llada"))
    assert (total["passed"], total["failed"]) == (0, 3)
    assert {failure["step"] for failure in total["references"]["llada"]["failures"]} == {2}


def test_wrong_steps_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Factor, "step", lambda self, s, p: s.commit(s.open, *p.best()))
    total = summary(replay(HERE, "fast_dllm"))
    assert {failure["case"] for failure in total["references"]["fast_dllm"]["failures"]} == {
        "later_plain_g24_b24_fac1_p2", "later_dual_g24_b24_fac1_p2", "later_prefix_g32_b8_fac2_p0",
    }


@pytest.mark.parametrize("cache", [Dual, Prefix])
def test_a_cache_that_computes_more_than_the_reference_fails(
    monkeypatch: pytest.MonkeyPatch, cache: type[Cache]
) -> None:
    monkeypatch.setattr(cache, "stale", lambda self, after, before, p: torch.ones_like(after.open))
    failures = {
        f["case"]: f["reason"] for f in summary(replay(HERE, "fast_dllm"))["references"]["fast_dllm"]["failures"]
    }
    assert failures
    assert all("_dual_" in case if cache is Dual else "_prefix_" in case for case in failures)


def test_wasted_forwards_have_to_be_wasted(folder: Path) -> None:
    data = data_of("fast_dllm/nv_prefix_g32_b8_thr0.5_p0")
    write(folder, "fast_dllm", "nv_prefix_changed", {**data, "wasted_forwards": 2})
    assert one(folder, "fast_dllm").reason == "2 wasted forwards are announced, and 1 canvases repeat the one before"


@pytest.mark.parametrize("part", ["tokens", "nfe", "canvases", "last canvas"])
def test_every_part_of_a_run_is_compared(folder: Path, part: str) -> None:
    data = data_of("llada/leftpad_s8_g16_b16_cfg0")
    expected = data["expected"]
    if part == "tokens":
        expected["tokens"][0][-1] = 1
    elif part == "nfe":
        expected["nfe"] -= 1
    elif part == "canvases":
        expected["canvases"][3][1][0] = 1  # a token of the prompt
    else:
        expected["canvases"].pop()
        expected["tokens"][1][-1] = 1
    write(folder, "llada", "changed", data)
    result = one(folder, "llada")
    assert (result.status, result.step) == ("failed", 3 if part == "canvases" else 7)


def test_wrong_posteriors_and_logits_fail() -> None:
    x = torch.zeros(2, 3)
    check("x", x, x + 1e-7)
    for other in (x + 2e-6, x * torch.nan, x[:1]):
        with pytest.raises(MismatchError, match="x "):
            check("x", x, other)


def test_a_session_with_another_mask_fails(models: Models) -> None:
    """Sessions are held against the recorded mask: a bidirectional forward is not a causal one."""
    model = models.get("llama-bidir", 63, pure=True)
    tokens, position = torch.arange(8), torch.arange(8)
    with torch.inference_mode():
        causal, full = torch.ones(8, 8).tril().bool(), torch.ones(8, 8).bool()
        logits = {name: model.head(model.states(tokens[None], position[None], sees[None])[0])[0] for name, sees in
                  (("causal", causal), ("full", full))}
        assert session_check(model, tokens, position, causal, logits["causal"])
        assert session_check(model, tokens, position, full, logits["full"])
        with pytest.raises(MismatchError, match="a session's logits"):
            session_check(model, tokens, position, causal, logits["full"])
        holes = full.clone()
        holes[3, 1] = False
        assert not session_check(model, tokens, position, holes, logits["full"])


def test_padding_that_the_reference_cannot_compute(models: Models) -> None:
    model, prompts, masks = models.get("llama-bidir", 63), [[0, 0, 5], [7, 8, 9]], [[0, 0, 1], [1, 1, 1]]
    with torch.inference_mode():
        assert reference_nan(model, prompts, masks, 4, "both") == [True, False]
        assert reference_nan(model, prompts, masks, 4, "keys") == [False, False]


def test_dream_takes_the_nucleus_before_the_top_k() -> None:
    s = state(torch.tensor([[3]]), 3, 4)
    p = Pred(torch.tensor([[[0.4, 0.3, 0.2, 0.1]]]).log(), torch.tensor([[0]]), 1)
    after = get("dream", by="maskgit_plus", steps=1, top_p=0.5, top_k=2).step(s, p)
    assert float(after.confidence[0, 0]) == pytest.approx(0.4 / 0.7)


def test_a_chance_beyond_one_is_the_reference_s_bug(folder: Path) -> None:
    """ReMDM's forward-backward corrector does not bound its sigma: a position would be unmasked with probability
    1.6."""
    data, tensors = remdm_case()
    write(folder, "remdm", "proper", data)
    save_file(tensors, folder / "cases/remdm/proper.safetensors")
    assert one(folder, "remdm").status == "passed"
    data["expected"]["p_unmask"] = [1.6, None]
    write(folder, "remdm", "proper", data)
    result = one(folder, "remdm")
    bound = "sigma is at most (1 - alpha_s) / alpha_t (2503.00307, section 3)"
    assert (result.status, result.reason) == ("reference_bug", f"a position is unmasked with probability 1.6; {bound}")


def remdm_case() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A step from time 0.5 to 0.25 at sigma 0, of an open and a decided position."""
    x0 = torch.tensor([0.5, 0.5, 0.0])
    logits = torch.stack([x0, x0]).log().nan_to_num(neginf=-100.0)[None]
    posterior = torch.tensor([[[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]])
    params = {"sampler": "mdlm", "eta": 0.0, "nucleus_p": 1.0, "t": 0.5, "s": 0.25, "mask_id": 2}
    expected = {"tokens": [2, 0], "p_unmask": [0.5, None], "p_remask": [None, 0.0]}
    tensors = {"logits": logits, "posterior": posterior}
    return {"params": params, "expected": expected, "tensors": "proper.safetensors"}, tensors


@pytest.mark.parametrize("last", [False, True])
def test_a_scheduler_s_last_step_accepts_by_its_bound(folder: Path, last: bool) -> None:
    """The bound leaves out the largest entropy, and so accepts one of the two unsure positions; ours alone would commit
    all at its last."""
    write(folder, "diffusers", "entropy_bound", {
        "reference": {"function": "EntropyBoundScheduler.step"}, "tensors": "entropy_bound.safetensors",
        "params": {"entropy_bound": 0.1, "num_inference_steps": 8, "timestep": 7 if last else 0},
        "expected": {"before": [0, 1, 0, 1], "accepted": [True, True, True, False]},
    })
    logits = torch.tensor([[[9.0, 0, 0], [0, 9.0, 0], [0.2, 0, -99.0], [0.1, 0, -99.0]]])
    save_file({"logits": logits}, folder / "cases/diffusers/entropy_bound.safetensors")
    assert one(folder, "diffusers").status == "passed"


def test_an_estimator_s_span_may_be_shorter_than_the_run_of_masks(folder: Path) -> None:
    """Its length is an input of the reference's: here the first of two masks alone, whose acceptance is 0.9^0.8."""
    logits = torch.tensor([[[0.1, 0.9], [0.2, 0.8]]]).log()
    found = {"alpha": [0.9**0.8], "k_hat": 0.9**0.8, "scores": {"difference_static_c1": 0.9**0.8 - 1}}
    write(folder, "s2d2", "estimators", {
        "kind": "step", "params": {"confidence_threshold": 0.85, "ssd_confidence_power": 0.8, "mask_id": 1},
        "block": {"masked": [True, True], "span": [0]}, "tensors": "estimators.safetensors",
        "expected": {
            "draft_tokens": [1, 1], "draft_confidence": [0.9, 0.8], "by_estimator": {"soft_confidence_power": found},
        },
    })
    save_file({"logits": logits}, folder / "cases/s2d2/estimators.safetensors")
    result = one(folder, "s2d2")
    assert (result.status, result.reason) == ("passed", "")


def test_a_hierarchy_without_a_threshold(folder: Path) -> None:
    """A null threshold is one that nothing exceeds: the best of each gap above `low_threshold`, and the best of all."""
    write(folder, "dinfer", "hierarchy_None_0.4", {
        "reference": {"function": "HierarchyDecoder"}, "tensors": "hierarchy.safetensors", "block": [0, 3],
        "params": {"threshold": None, "low_threshold": 0.4, "mask_id": 2},
        "expected": {"before": [2, 2, 0], "after": [1, 2, 0]},
    })
    logits = torch.tensor([[[0.0, 9, -99], [5, 0, -99], [0, 0, -99]]])
    save_file({"logits": logits}, folder / "cases/dinfer/hierarchy.safetensors")
    assert one(folder, "dinfer").status == "passed"


@pytest.mark.parametrize("path", sorted(SHARED.glob("cases/slow_fast/*.json")), ids=lambda p: p.stem)
def test_slow_fast_as_its_code_has_it(path: Path) -> None:
    """What the code does beside its paper is written down, and that gives the recorded runs."""
    with torch.inference_mode():
        case = read(path)
        free(job_of(case, Models(SHARED / "models"), Setup(AsCoded(), Pred.best, case.params["block_length"])))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"there is no {SHARED}; set DECODERS_GOLDEN to the golden data")
def test_what_the_known_deviations_do_not_explain_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither ours nor the reference's own rule gives the recorded run, the case fails."""
    monkeypatch.setattr("decoders_bench.golden.slow_fast.TAU", 0.3)
    assert summary(replay(SHARED, "slow_fast"))["failed"] > 0
    monkeypatch.setattr(Saber, "fallen", lambda self, s, committed, fall: torch.zeros_like(s.open))
    assert summary(replay(SHARED, "saber"))["failed"] == 3
    monkeypatch.setattr(DAWNAsCoded, "excluded", DAWN.excluded)
    monkeypatch.setattr(DAWNAsCoded, "anchors", DAWN.anchors)
    assert summary(replay(SHARED, "dawn"))["failed"] > 0


# reading


def test_missing_and_empty_parameters(folder: Path) -> None:
    data = data_of("llada/s4_g24_b24_B1_p0_cfg0")
    data["params"] = {"steps": 4, "attention_mask": "all ones over the prompt"}
    data["params"] |= dict.fromkeys(("gen_length", "block_length", "cfg_scale", "temperature", "remasking", "mask_id"))
    data["prompt"] = data["prompt"][0]
    data["expected"]["tokens"] = data["expected"]["tokens"][0]
    del data["expected"]["canvases"]
    write(folder, "llada", "bare", data)
    assert one(folder, "llada").status == "passed"


@pytest.mark.parametrize(
    ("reference", "params", "reason"),
    [
        ("llada", {"temperature": 0.5}, "temperature 0.5"),
        ("llada", {"remasking": "random"}, "remasking random"),
        ("dream", {"alg": "origin"}, "alg origin"),
        ("dream", {"alg": "entropy", "alg_temp": 0.1}, "alg_temp 0.1"),
        ("dream", {"alg": "oracle"}, "alg oracle does not exist"),
        ("llada", {"attention_mask": [[1, 0, 1]]}, "only left padding"),
    ],
)
def test_what_cannot_be_replayed_is_skipped(folder: Path, reference: str, params: dict[str, Any], reason: str) -> None:
    data = data_of("llada/s4_g24_b24_B1_p0_cfg0")
    data["params"] |= params
    write(folder, reference, "case", data)
    result = one(folder, reference)
    assert result.status == "skipped"
    assert reason in result.reason


def test_a_malformed_case_fails_alone(folder: Path) -> None:
    good = data_of("llada/s4_g24_b24_B1_p0_cfg0")
    write(folder, "llada", "good", good)
    broken = {
        "no_json": "{", "a_list": [], "empty": {}, "no_prompt": {k: v for k, v in good.items() if k != "prompt"},
        "no_model": good | {"model": "none-such"}, "steps": good | {"params": good["params"] | {"steps": "four"}},
        "uneven": good | {"params": good["params"] | {"block_length": 8}},
        "rows": good | {"prompt": good["prompt"] * 2}, "vocabulary": good | {"prompt": [[999]]},
        "params": good | {"params": []}, "expected": good | {"expected": 7},
    }
    for name, data in broken.items():
        write(folder, "llada", name, data)
    write(folder, "mdlm", "no_tensors", data_of("mdlm/ddpm_t0.5_s0.25"))
    total = summary(replay(folder))
    failures = {f["case"]: f["reason"] for own in total["references"].values() for f in own["failures"]}
    assert set(failures) == {*broken, "no_tensors"}
    assert all(reason and "\n" not in reason for reason in failures.values())
    assert "none-such" in failures["no_model"]
    assert "lacks prompt" in failures["no_prompt"]
    assert (total["passed"], total["failed"]) == (1, len(failures))


def test_read_raises_what_the_runner_expects(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="cannot be read"):
        read(tmp_path / "none.json")
    setup = fast_dllm_setup(Case(Path("x.json"), {"reference": {"function": "generate_with_dual_cache"}}))
    assert setup.cache == Dual()


# the command


def lines(*arguments: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(golden, arguments)
    return result.exit_code, result.stdout.splitlines()


def test_the_last_line_is_json() -> None:
    code, out = lines(str(HERE), "--reference", "mdlm")
    code_json, only_line = lines(str(HERE), "--reference", "mdlm", "--json")
    assert (code, code_json) == (0, 0)
    assert len(out) > 1
    assert [out[-1]] == only_line
    counts = {"passed": 1, "failed": 0, "skipped": 0, "reference_bug": 0}
    assert json.loads(out[-1]) == {
        **counts,
        "references": {"mdlm": {**counts, "failures": [], "skips": [], "notes": []}},
    }


def test_a_failure_is_told_and_exits_with_1(folder: Path) -> None:
    data = data_of("llada/s4_g24_b24_B1_p0_cfg0")
    data["expected"]["canvases"][1][0][-1] = 1
    write(folder, "llada", "changed", data)
    write(folder, "unheard_of", "other", {})
    code, out = lines(str(folder))
    assert code == 1
    assert any(line.startswith("FAILED llada/changed at forward 1: row 0, position") for line in out)
    total = json.loads(out[-1])
    (failure,) = total["references"]["llada"]["failures"]
    assert (failure["case"], failure["step"]) == ("changed", 1)
    assert total["references"]["unheard_of"]["skips"] == [{"case": "other", "reason": "strategy does not exist yet"}]


@pytest.mark.parametrize("form", ["missing", "a file", "no cases", "no models", "empty", "unknown reference"])
def test_a_directory_of_another_form(tmp_path: Path, form: str) -> None:
    folder, reference = tmp_path / "golden", None
    if form == "a file":
        folder.write_text("")
    elif form != "missing":
        shutil.copytree(HERE / "cases", folder / "cases")
        (folder / "models").mkdir()
        if form in ("no cases", "no models"):
            shutil.rmtree(folder / form.split()[1])
        elif form == "empty":
            shutil.rmtree(folder / "cases")
            (folder / "cases").mkdir()
        else:
            reference = "lada"
    with pytest.raises(UsageError) as caught:
        list(replay(folder, reference))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_entry_point(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "golden", str(HERE), "--json", "--reference", "llada"])
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert json.loads(result.stdout)["passed"] == 3
    command = [str(Path(sys.executable).parent / "decoders"), "bench", "golden", str(tmp_path / "none")]
    bad = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.splitlines() == [
        f"Error: {tmp_path / 'none'} is no directory; give one that holds models/ and cases/"
    ]
