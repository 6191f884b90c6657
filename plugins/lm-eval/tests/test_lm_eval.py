"""The harness itself, on the embedded model and small tasks in local files. Run by plugins/lm-eval/test.sh."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from decoders_lm_eval.model import DecodersLM
from decoders_lm_eval.requests import wanted
from lm_eval.api.instance import Instance

import decoders
from decoders.core import UsageError
from support import checkpoints


def generated(prompt: str, **said: Any) -> Instance:
    return Instance("generate_until", {}, (prompt, {"do_sample": True, **said}), 0)


WORDS = ["d b a c", "f e a", "b c a d e", "c b", "e a d", "a c b"]
SORT = {"output_type": "generate_until", "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16}}
CHOOSE = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}


def task(directory: Path, name: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """A task of the harness in two files. JSON is YAML."""
    data = directory / f"{name}.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    said = {
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}", **more,
    }
    (directory / f"{name}.yaml").write_text(json.dumps(said))


def lm_eval(directory: Path, name: str, args: str, *options: str, batch: int = 4) -> dict[str, Any]:
    """The results of a task, and with them the responses and scores of each document and what was written to stderr."""
    out = directory / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        str(Path(sys.executable).parent / "lm_eval"), "--model", "decoders", "--model_args", args, "--tasks", name,
        "--include_path", str(directory), "--batch_size", str(batch), "--output_path", str(out), "--log_samples",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=directory)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = out.rglob("results_*.json")
    (samples,) = out.rglob("samples_*.jsonl")
    rows = [json.loads(x) for x in samples.read_text().splitlines()]
    answers = [x["filtered_resps"] for x in rows]
    return {**json.loads(results.read_text())["results"][name], "answers": answers, "rows": rows, "stderr": done.stderr}


@pytest.mark.parametrize(("args", "decoder"), [
    ("pretrained=nano,decoder=threshold,decoder.tau=0.8", "threshold:tau=0.8"),
    ("pretrained=nano,decoder=s2d2,attention=block", "s2d2"),
])
def test_a_generating_task_on_the_command_line(tmp_path: Path, args: str, decoder: str) -> None:
    rows = [{"question": f"Sort: {w}\n", "answer": " " + " ".join(sorted(w.split()))} for w in WORDS]
    task(tmp_path, "sort_words", rows, **SORT, metric_list=[{"metric": "exact_match"}])
    result = lm_eval(tmp_path, "sort_words", args)
    nano = decoders.load("nano", **({"attention": "block"} if "block" in args else {}))
    ours = [decoders.Generator(nano, decoder)(r["question"], length=16, stop=["\n"])[0].text for r in rows]
    assert [a[0] for a in result["answers"]] == ours
    right = sum(a == r["answer"] for a, r in zip(ours, rows, strict=True))
    assert result["exact_match,none"] == pytest.approx(right / len(rows))


# Likelihoods, held against enumerations by plain forwards of transformers


def enumerated(model: Any, mask: int, given: list[int], answer: list[int], shifted: bool = False) -> float:
    """The bound over all masks of an answer: each of l masked tokens counts 1 / (l C(L, l))."""
    L, row = len(answer), [*given, *answer]
    patterns = list(product((False, True), repeat=L))[1:]
    shown = torch.tensor([[*given, *(mask if h else t for h, t in zip(p, answer, strict=True))] for p in patterns])
    with torch.inference_mode():
        sees = torch.zeros(1, 1, len(row), len(row))
        p = model(input_ids=shown, attention_mask=sees.expand(len(shown), -1, -1, -1)).logits.double().log_softmax(-1)
    p = torch.cat([p[:, :1], p[:, :-1]], 1) if shifted else p
    total = 0.0
    for b, hidden in enumerate(patterns):
        n = sum(hidden)
        total += sum(float(p[b, len(given) + i, answer[i]]) for i in range(L) if hidden[i]) / (n * math.comb(L, n))
    return total


def values(result: dict[str, Any]) -> list[list[float]]:
    """The likelihoods of each document's answers."""
    return [[float(x[0]) for x in answers] for answers in result["answers"]]


def test_a_task_of_choices_on_the_command_line(tmp_path: Path) -> None:
    rows = [{"question": f"Copy: {w}\n", "choices": [w, " ".join(reversed(w.split()))], "answer": 0} for w in WORDS]
    task(tmp_path, "which_copy", rows, **CHOOSE, metric_list=[{"metric": "acc"}])
    nano = decoders.load("nano")
    encode, net = nano.tokenizer.encode, nano.model.model
    exact = []
    for r in rows:
        given = encode(r["question"])
        answers = [encode(f"{r['question']} {c}")[len(given) :] for c in r["choices"]]  # the blank is the harness's
        exact.append([enumerated(net, nano.model.mask_id, given, a) for a in answers])
    result = lm_eval(tmp_path, "which_copy", "pretrained=nano", batch=7)
    assert values(result) == [pytest.approx(row, abs=2e-4) for row in exact]
    assert result["acc,none"] == sum(a > b for a, b in exact) / len(exact)


def test_a_likelihood_is_the_same_in_every_batch() -> None:
    answers = "x t k c a", "x t k c a d e f g a", "a", "c k t x a b d e f h i j"
    requests = [asked("Sort: k c x a t", f" {x}") for x in answers]
    one, seven, many = (DecodersLM(batch_size=n).loglikelihood(requests, disable_tqdm=True) for n in (1, 7, 64))
    for other in (seven, many):
        assert [x for x, _ in other] == pytest.approx([x for x, _ in one], abs=2e-4)
    nano = decoders.load("nano")
    given, answer = nano.tokenizer.encode("Sort: k c x a t"), nano.tokenizer.encode(" x t k c a")
    assert one[0][0] == pytest.approx(enumerated(nano.model.model, nano.model.mask_id, given, answer), abs=2e-4)


TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}A: {% endif %}"
)


@pytest.fixture(scope="module")
def dream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny random Dream with a chat template, every character a token, and its network."""
    directory = tmp_path_factory.mktemp("checkpoint") / "dream"
    return directory, checkpoints.write(directory, "dream", chat=TEMPLATE).eval()


def test_the_condition_of_a_chat_model_is_its_template(dream: tuple[Path, Any], tmp_path: Path) -> None:
    directory, net = dream
    rows = [{"question": q, "choices": ["yes", "no"], "answer": 0} for q in ("abc?", "x")]
    task(tmp_path, "chat", rows, **CHOOSE, metric_list=[{"metric": "acc"}])
    result = lm_eval(tmp_path, "chat", f"pretrained={directory}", "--apply_chat_template")
    encode = decoders.load(str(directory)).tokenizer.encode
    exact = []
    for r in rows:
        given = encode(f"user: {r['question']}<|endoftext|>A: ")
        assert given.count(checkpoints.EOS) == 1
        exact.append([enumerated(net, checkpoints.MASK, given, encode(c), shifted=True) for c in r["choices"]])
    assert values(result) == [pytest.approx(row, abs=2e-4) for row in exact]


def test_the_beginning_of_an_answer_is_given_too(dream: tuple[Path, Any]) -> None:
    directory, net = dream
    lm = DecodersLM(str(directory))
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "It is"}]
    context = lm.apply_chat_template(messages, False)
    ((found, _),) = lm.loglikelihood([asked(context, " b")], disable_tqdm=True)
    encode = lm.generator.loaded.tokenizer.encode
    given = encode("user: a<|endoftext|>A: It is")
    assert found == pytest.approx(enumerated(net, checkpoints.MASK, given, encode(" b"), shifted=True), abs=2e-4)
    with pytest.raises(UsageError, match="gen_prefix"):
        lm.generate_until([asked(context, {})], disable_tqdm=True)


def asked(*args: Any, doc: int = 0, idx: int = 0) -> Instance:
    return Instance("loglikelihood", {}, args, idx, metadata=("task", doc, 1))


def test_whether_an_answer_is_the_model_s_own_is_found_out(tmp_path: Path) -> None:
    said = decoders.Generator("nano", "llada")([f"Sort: {w}\n" for w in WORDS], length=12)
    rows = [{"question": f"Sort: {w}\n", "answer": g.text.removesuffix("\n")} for w, g in zip(WORDS, said, strict=True)]
    rows[1] |= {"answer": " f f f"}
    task(tmp_path, "last_word", rows, output_type="loglikelihood", metric_list=[{"metric": "acc"}])
    result = lm_eval(tmp_path, "last_word", "pretrained=nano")
    lm = DecodersLM()
    right = []
    for r in rows:
        given, answer = lm.scorer.pair(r["question"], r["answer"])
        (row,) = decoders.decode(lm.generator.model, decoders.get("llada"), [given], length=len(answer), stop=False)
        right.append(list(row.canvas[len(given) :]) == answer)
    assert 0 < sum(right) < len(rows)
    assert [a[0][1] in (True, "True") for a in result["answers"]] == right
    assert result["acc,none"] == sum(right) / len(rows)


def test_a_rolling_task_of_texts_longer_than_the_model_on_the_command_line(tmp_path: Path) -> None:
    net = checkpoints.write(tmp_path / "tiny", "dream", max_position_embeddings=7).eval()
    texts = ["abcdefghijklm", "xyz", "", "aaaaaaaa"]
    task(
        tmp_path, "texts", [{"text": t} for t in texts], output_type="loglikelihood_rolling", doc_to_text="",
        doc_to_target="{{text}}", metric_list=[{"metric": "bits_per_byte"}],
    )
    result = lm_eval(tmp_path, "texts", f"pretrained={tmp_path / 'tiny'},mc_num=127")
    ids = decoders.load(str(tmp_path / "tiny")).tokenizer.encode

    def exact(given: str, answer: str) -> float:
        return enumerated(net, checkpoints.MASK, ids(given), ids(answer), shifted=True)

    found = [exact("", "abcdefg") + exact("g", "hijklm"), exact("", "xyz"), 0.0]
    found.append(exact("", "aaaaaaa") + exact("aaaaaa", "a"))
    assert [float(a[0]) for a in result["answers"]] == pytest.approx(found, abs=1e-3)
    size = sum(len(t) for t in texts)
    assert result["bits_per_byte,none"] == pytest.approx(-sum(found) / size / math.log(2), abs=1e-4)


def test_one_odd_document_is_told_and_the_others_are_measured(tmp_path: Path, caplog: Any) -> None:
    net = checkpoints.write(tmp_path / "tiny", "dream", max_position_embeddings=8).eval()
    lm = DecodersLM(str(tmp_path / "tiny"), batch_size=4, length=3)
    requests = [
        asked("abc", "de", doc=0), asked("abcdefghijklm", "no", doc=1), asked("abc", "", doc=2),
        asked("a<|mask|>", "b", doc=3), asked("\ud800", "b", doc=4),
    ]
    found = lm.loglikelihood(requests, disable_tqdm=True)
    ids = lm.generator.loaded.tokenizer.encode
    for got, (given, answer) in zip(found, (("abc", "de"), ("hijklm", "no")), strict=False):
        exact = enumerated(net, checkpoints.MASK, ids(given), ids(answer), shifted=True)
        assert got[0] == pytest.approx(exact, abs=2e-4)
    assert [x for x, _ in found[2:]] == [-math.inf] * 3
    told = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert ["1 contexts are too long" in t for t in told].count(True) == 1
    for doc, why in ((2, "empty answer"), (3, "mask token"), (4, "not valid Unicode")):
        assert sum(f"task, document {doc}: " in t and why in t for t in told) == 1
    caplog.clear()
    prompts = ["abc", "abcdefghijklm", "", "ijklm"]
    requests = [Instance("generate_until", {}, (p, {}), 0, ("task", i, 1)) for i, p in enumerate(prompts)]
    said = lm.generate_until(requests, disable_tqdm=True)
    alone = decoders.Generator(lm.generator.loaded, "threshold")(["abc", "ijklm"], length=3)
    assert said == [alone[0].text, alone[1].text, "", alone[1].text]
    told = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert sum("1 prompts are too long" in t for t in told) == 1
    assert sum("document 2: the prompt is empty" in t for t in told) == 1
    with pytest.raises(UsageError, match="the prompt is empty"):  # as it is for all of them
        lm.generate_until([Instance("generate_until", {}, ("", {}), 0)], disable_tqdm=True)
    lm.length = 8
    with pytest.raises(UsageError, match="no room for a prompt"):
        lm.generate_until([Instance("generate_until", {}, ("a", {}), 0)], disable_tqdm=True)


# Samples


def test_repeats_are_sampled_apart_and_can_be_had_again(tmp_path: Path) -> None:
    rows = [{"question": f"Shuffle: {w}", "answer": ""} for w in WORDS[:2]]
    task(tmp_path, "many", rows, **SORT, repeats=4, metric_list=[{"metric": "exact_match"}], filter_list=[
        {"name": "all", "filter": [{"function": "take_first_k", "k": 4}]},
    ])  # fmt: skip
    args = "pretrained=nano,decoder=threshold,decoder.temperature=3.0,seed=5"
    texts = [row["resps"][0] for row in lm_eval(tmp_path, "many", args)["rows"]]
    for row, said in zip(rows, texts, strict=True):
        assert len(set(said)) == 4
        run = decoders.Generator("nano", "threshold:temperature=3.0")
        made = run([row["question"]] * 4, length=16, stop=["\n"], seeds=[5, 6, 7, 8])
        assert said == [g.text for g in made]


@pytest.mark.parametrize(("said", "options"), [
    ({}, {}), ({"do_sample": False, "temperature": 0.7}, {}), ({"temperature": 0.7}, {"temperature": 0.7}),
    ({"do_sample": True}, {"temperature": 1.0}), ({"do_sample": True, "temperature": 0.0}, {}),
    ({"temperature": None}, {}),
    ({"temperature": 0.5, "top_p": 0.9, "top_k": 20}, {"temperature": 0.5, "top_p": 0.9, "top_k": 20}),
    ({"do_sample": True, "top_p": 1.0, "top_k": 0}, {"temperature": 1.0}),
])
def test_a_task_s_sampling_is_the_decoder_s(said: dict[str, Any], options: dict[str, Any]) -> None:
    lm = DecodersLM(decoder="dream")
    want = wanted(Instance("generate_until", {}, ("a", said), 0), None, None)
    made = lm.sampler(want, False).decoder
    assert made == decoders.get("dream", **options)


def test_what_somebody_has_set_goes_before_the_task() -> None:
    want = wanted(Instance("generate_until", {}, ("a", {"temperature": 0.7}), 0), None, None)
    for how in ({"decoder": "threshold:temperature=0.2"}, {"decoder": "threshold", "decoder.temperature": 0.2}):
        assert DecodersLM(**how).sampler(want, False).decoder == decoders.get("threshold", temperature=0.2)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: DecodersLM(decoder="treshold"), "did you mean"),
    (lambda: DecodersLM(batch_size="auto"), "batch_size"),
    (lambda: DecodersLM(greedy=False), "always found out"),
    (lambda: DecodersLM().apply_chat_template([{"role": "user", "content": "a"}]), "no chat template"),
    (lambda: DecodersLM(decoder="block_refinement").generate_until([generated("a", top_p=0.5)]), "no option top_p"),
])
def test_what_cannot_be_is_refused_in_a_line(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as e:
        make()
    assert "\n" not in str(e.value)
