"""The harness itself, on the embedded model and small tasks in local files. Run by plugins/lm-eval/test.sh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from decoders_lm_eval.model import DecodersLM
from lm_eval.api.instance import Instance

import decoders
from decoders.core import UsageError

WORDS = ["d b a c", "f e a", "b c a d e", "c b", "e a d", "a c b"]
SORT = {"output_type": "generate_until", "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16}}
CHOOSE = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}


def task(directory: Path, name: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """A task of the harness in two files. JSON is YAML."""
    data = directory / f"{name}.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    said = {
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test",
        "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}", **more,
    }
    (directory / f"{name}.yaml").write_text(json.dumps(said))


def lm_eval(directory: Path, name: str, args: str) -> dict[str, Any]:
    command = [
        str(Path(sys.executable).parent / "lm_eval"), "--model", "decoders", "--model_args", args, "--tasks", name, "--include_path",
        str(directory), "--batch_size", "4", "--output_path", str(directory / "out"), "--log_samples",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=directory)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (directory / "out").rglob("results_*.json")
    (samples,) = (directory / "out").rglob("samples_*.jsonl")
    answers = [json.loads(x)["filtered_resps"] for x in samples.read_text().splitlines()]
    return {**json.loads(results.read_text())["results"][name], "answers": answers}


@pytest.mark.parametrize(("args", "decoder"), [
    ("pretrained=nano,decoder=threshold,decoder.tau=0.8", "threshold:tau=0.8"), ("pretrained=nano,decoder=s2d2,attention=block", "s2d2"),
])
def test_a_generating_task_on_the_command_line(tmp_path: Path, args: str, decoder: str) -> None:
    rows = [{"question": f"Sort: {w}\n", "answer": " " + " ".join(sorted(w.split()))} for w in WORDS]
    task(tmp_path, "sort_words", rows, **SORT, metric_list=[{"metric": "exact_match"}])
    result = lm_eval(tmp_path, "sort_words", args)
    nano = decoders.load("nano", **({"attention": "block"} if "block" in args else {}))
    ours = [decoders.Generator(nano, decoder)(r["question"], length=16, stop=["\n"])[0].text for r in rows]
    assert [a[0] for a in result["answers"]] == ours
    assert result["exact_match,none"] == pytest.approx(sum(a == r["answer"] for a, r in zip(ours, rows, strict=True)) / len(rows))


def test_a_task_of_choices_on_the_command_line(tmp_path: Path) -> None:
    rows = [{"question": f"Copy: {w}\n", "choices": [f" {w}", f" {' '.join(reversed(w.split()))}"], "answer": 0} for w in WORDS]
    task(tmp_path, "which_copy", rows, **CHOOSE, metric_list=[{"metric": "acc"}])
    assert lm_eval(tmp_path, "which_copy", "pretrained=nano,mc_num=32")["acc,none"] >= 5 / 6


def test_the_bound_of_one_token_is_its_log_probability() -> None:
    lm = DecodersLM(mc_num=3)
    seen = []
    context, said = "Copy: x", "\n"
    given, answer = lm.split(context, said)
    decoders.decode(lm.generator.model, decoders.get("threshold"), [given], length=1, watch=lambda f, p, c: seen.append(p))
    assert len(answer) == 1
    found, _ = lm.likelihood(context, said)
    assert found == pytest.approx(float(seen[0].prob(torch.tensor([answer]))[0, 0].log()), abs=1e-4)


def test_the_bound_does_not_depend_on_the_batch_and_is_the_exact_one_in_the_mean() -> None:
    alone, together = DecodersLM(mc_num=16, batch_size=16), DecodersLM(mc_num=16, batch_size=16)
    first = together.loglikelihood([Instance("loglikelihood", {}, ("Sort: b a\n", x), 0) for x in (" a b", " b a")], disable_tqdm=True)
    assert first == [alone.likelihood("Sort: b a\n", x) for x in (" a b", " b a")]
    lm = DecodersLM(mc_num=2000, batch_size=500)
    given, answer = lm.split("Sort: b a\n", " a b")
    assert len(answer) == 2
    # two tokens: l = 2 masks both with weight 1, l = 1 masks either with weight 2, and each l has probability 1/2
    model, mask = lm.generator.model, lm.generator.model.mask_id

    def log_p(shown: list[int], truth: list[int]) -> list[float]:
        heard: list[Any] = []
        decoders.decode(
            model, decoders.get("llada"), [given + shown], length=0, infill=True, watch=lambda f, p, c: heard.append((f, p)), max_steps=1
        )
        f, p = heard[0]
        at, whole = f.at[0].tolist(), [*given, *truth, 0]
        probs = dict(zip(at, p.prob(torch.tensor([[whole[i] for i in at]]))[0].log().tolist(), strict=True))
        return [probs[len(given) + i] for i, t in enumerate(shown) if t == mask]

    both, left, right = log_p([mask, mask], answer), log_p([mask, answer[1]], answer), log_p([answer[0], mask], answer)
    exact = 0.5 * sum(both) + 0.5 * 2 * 0.5 * (left[0] + right[0])
    assert lm.likelihood("Sort: b a\n", " a b")[0] == pytest.approx(exact, abs=0.1 * abs(exact) + 0.02)


def test_greedy_is_what_the_model_says() -> None:
    lm = DecodersLM(mc_num=1, greedy=True)
    said = decoders.Generator("nano", "llada")("Sort: d b a c\n", length=16)[0].text
    assert lm.likelihood("Sort: d b a c\n", said)[1]
    assert not lm.likelihood("Sort: d b a c\n", " d d d d")[1]


@pytest.mark.parametrize(("make", "said"), [
    (lambda: DecodersLM(decoder="treshold"), "did you mean"),
    (lambda: DecodersLM(batch_size="auto"), "batch_size"),
    (lambda: DecodersLM(attention="block").likelihood("a", " b"), "everything sees everything"),
    (lambda: DecodersLM().likelihood("a", ""), "empty answer"),
    (lambda: DecodersLM().apply_chat_template([{"role": "user", "content": "a"}]), "no chat template"),
    (lambda: DecodersLM().wanted(Instance("generate_until", {}, ("a", {"temperature": 0.7}), 0)), "the decoder's"),
])
def test_what_cannot_be_is_refused_in_a_line(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as e:
        make()
    assert "\n" not in str(e.value)
