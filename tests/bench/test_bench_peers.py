"""`decoders bench peers`: runs in turns with other decoders, whatever becomes of those."""

from __future__ import annotations

import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import decoders
from decoders import UsageError
from decoders_bench.cli import bench
from decoders_bench.common.results import save
from decoders_bench.peers import environments, measure, settings, tables
from decoders_bench.peers.cases import CASES, Case, realistic
from decoders_bench.peers.environments import PEERS, last_line, prepare
from decoders_bench.peers.measure import Compared, Setting, Side, compare_all
from decoders_bench.peers.process import SCRIPTS, Process
from decoders_bench.peers.tables import load_peers, peer_tables
from support.checkpoints import llada_name

PROCESS = """
import json, os, sys

print(json.dumps({"versions": {"fake": "1.0"}, "offers": ["used", "unused"]}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    job = asked["job"]
    with open(LOG, "a") as log:
        print(NAME, job["decoder"], job.get("record", False), asked["draws"], file=log)
    how = job["options"].get("how", "") if NAME == "fake" else ""
    if how == "dies":
        sys.exit("Boom: no such thing")
    if how == "hangs":
        sys.stdin.readline()
    if how == "fails":
        print(json.dumps({"error": "ValueError: not this one"}), flush=True)
        continue
    last, nfe = 0 if how != "differs" else 1, 2 if NAME == "ours" else 4
    made = [{"tokens": [9, 7, 0, last], "nfe": nfe} for _ in asked["prompts"]]
    if job.get("record"):
        made = [{**row, "draws": {"samples": [[5]], "noise": [[6]]}} for row in made]
    spent = {"seconds": 0.5, "peak": 1 << 20} if NAME == "ours" else {"seconds": 1.5, "peak": 4 << 20}
    print(json.dumps({"rows": made, **spent}), flush=True)
"""
NANO = Setting("nowhere", 1, ((3, 4), (5, 6)), (0,))


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Processes that answer by the job's options; `log` says who was asked, in order."""
    log = tmp_path / "log"
    log.touch()
    for script, name in (("with_decoders.py", "ours"), ("with_fake.py", "fake"), ("with_other.py", "other")):
        (tmp_path / script).write_text(f"LOG, NAME = {str(log)!r}, {name!r}\n{PROCESS}")
    (tmp_path / "with_broken.py").write_text("raise ImportError('no module named this')")
    monkeypatch.setattr(environments, "PEERS", {**PEERS, "fake": (), "other": (), "broken": ()})

    def compared(*cases, repeats=3, patience=20.0, code=MappingProxyType({})):
        chosen = {"nano": NANO, "diffusion_gemma": NANO}
        return compare_all(cases, chosen, tmp_path, repeats, lambda r: None, code, tmp_path, patience)

    compared.log = lambda: [line.split() for line in log.read_text().splitlines()]
    return compared


def fake(how="", peer="fake", **more):
    return Case(peer, f"way {how}", "llada", options={"how": how, "scheduler": "used"}, **more)


def test_both_take_turns_and_the_ratio_is_that_of_tokens_a_second(fakes):
    (row,) = fakes(fake(), repeats=4)
    assert [line[0] for line in fakes.log()] == ["fake", "ours", *"ours fake fake ours ours fake fake ours".split()]
    # two texts of two tokens, in front of the stop token 0
    assert (row.ours, row.peer) == (Side(4, 4, 0.5, 1 << 20), Side(8, 4, 1.5, 4 << 20))
    assert row.ratios == (3.0,) * 4
    assert row.ratio == 3.0
    assert row.ratio_per_forward == 1.5
    assert (row.prompts, row.same, row.agreement, row.failed) == (2, 2, 1.0, "")
    assert row.versions == {"fake": "1.0"}


def test_tokens_that_differ_are_counted(fakes):
    (row,) = fakes(fake("differs"))
    assert (row.prompts, row.same, row.agreement) == (2, 0, 0.75)


def test_a_peer_that_cannot_costs_its_own_cases_only(fakes):
    rows = fakes(
        fake(), fake("fails"), fake("dies"), fake(), fake(peer="broken"), fake(peer="broken"), fake(peer="other")
    )
    assert [r.failed for r in rows] == [
        "", "ValueError: not this one", "Boom: no such thing", "", *["ImportError: no module named this"] * 2, "",
    ]


def test_a_peer_that_is_silent_is_given_up(fakes):
    rows = fakes(fake("hangs"), fake(), patience=2.0)
    assert [r.failed for r in rows] == ["no answer in 2 seconds", ""]


def test_a_peer_that_cannot_be_installed_is_listed_with_the_reason(fakes, monkeypatch):
    def no(*command):
        raise UsageError("ERROR: No matching distribution found for fake")

    monkeypatch.setitem(environments.PEERS, "other", ("fake==1",))
    monkeypatch.setattr(environments, "install", no)
    assert [r.failed for r in fakes(fake(peer="other"), fake())] == [
        "ERROR: No matching distribution found for fake",
        "",
    ]


def test_a_peer_gets_the_random_numbers_that_were_drawn_here(fakes):
    fakes(fake(model="diffusion_gemma"), repeats=1)
    recorded, *others = [line[2:] for line in fakes.log()]
    assert recorded[0] == "True"
    given = json.dumps([{"samples": [[5]], "noise": [[6]]}] * 2).replace('"', "'").split()
    assert [line[1:] for line in others] == [given, ["None"], ["None"], given]


def test_what_this_library_cannot_run_is_an_error(fakes, tmp_path):
    (tmp_path / "with_decoders.py").write_text("import sys; sys.exit('nothing here')")
    with pytest.raises(UsageError, match="nothing here"):
        fakes(fake())


def test_results_come_back_from_disk_and_the_table_says_what_differs(fakes, tmp_path):
    rows = fakes(fake("differs", because="they err"), fake("fails"), fake())
    save(tmp_path / "peers.json", rows)
    assert load_peers(tmp_path / "peers.json") == rows
    table = peer_tables(rows)
    assert (
        "| way differs | `llada` | 0 of 2; 75 % of positions | 2.0 / 4.0 | 1.00 / 0.50 | 3.00 (3.00-3.00) | 1.50 "
        "| 1 / 4 |" in table
    )
    assert "- way differs: they err." in table
    assert "- way fails cannot be run: `ValueError: not this one`" in table
    assert "- way  against `llada`: they differ, and we do not know why." in table  # the same tokens in fewer forwards
    assert "- It also has `unused`, which were not compared." in table
    assert "same in 1 of 2 comparisons" in table
    assert "**fake** (fake 1.0)" in table


def test_environments_are_made_once_and_what_cannot_be_said_in_pips_line(tmp_path, monkeypatch):
    asked = []

    def run(*command):
        asked.append(command)
        (tmp_path / "dlmserve" / "bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "dlmserve" / "bin" / "python").touch()

    monkeypatch.setattr(environments, "install", run)
    monkeypatch.setattr(environments.subprocess, "check_output", lambda *_, **__: str(tmp_path / "dlmserve"))
    python = prepare("dlmserve", tmp_path)
    assert python == tmp_path / "dlmserve" / "bin" / "python"
    assert asked[1][-len(PEERS["dlmserve"]) :] == PEERS["dlmserve"]
    assert prepare("dlmserve", tmp_path) == python
    assert len(asked) == 2
    assert prepare("transformers", tmp_path) == Path(sys.executable)
    assert last_line("a\nERROR: b\n\n") == "ERROR: b"


def test_install_says_why_not():
    with pytest.raises(UsageError, match=r"^no such package$"):
        environments.install(sys.executable, "-S", "-c", "import sys; sys.exit('looking\\nno such package\\n')")


def test_every_case_is_of_a_known_peer_and_decoder():
    for case in CASES:
        assert case.peer in PEERS
        assert (SCRIPTS / f"with_{case.peer.replace('-', '_')}.py").exists()
        if case.decoder:
            decoders.get(case.decoder)
            decoders.get_cache(case.cache)


def test_realistic_cases_are_of_known_peers_and_decoders_and_take_the_length():
    cases = realistic(2048, 32)
    assert {"llada", "fast-dllm", "diffusers"} <= {c.peer for c in cases} <= set(PEERS)
    for case in cases:
        assert (SCRIPTS / f"with_{case.peer.replace('-', '_')}.py").exists()
        decoders.get(case.decoder)
        decoders.get_cache(case.cache)
        job = case.job("there", 7)
        assert (job["model"], job["length"], job["block"], case.vocab) == ("realistic", 32, 16, 2048)
    assert cases[0].options == {"steps": 16}


def test_a_peer_that_the_user_fetches_is_told_where_its_code_is(fakes, tmp_path, monkeypatch):
    monkeypatch.setitem(environments.FETCHED, "fake", ("https://example.org/fake", "generate.py"))
    monkeypatch.setitem(environments.FETCHED, "other", ("https://example.org/other", "generate.py"))
    (tmp_path / "with_fake.py").write_text(
        (tmp_path / "with_fake.py").read_text() + "\nassert sys.argv[1] == 'somewhere'\n"
    )
    told = fakes(fake(), fake(peer="other"), code={"fake": Path("somewhere")})
    assert [r.failed for r in told] == ["", "not measured: give --other DIR, a checkout of https://example.org/other"]


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (["-p", "llada"], "llada is compared with --realistic only; here are diffusers, transformers"),
        (["--realistic", "-p", "transformers"], "transformers is not compared with --realistic; here are llada"),
        (["--realistic", "--length", "40"], "--length 40: give a multiple of 32"),
        (["--realistic", "--llada", "nowhere"], "--llada nowhere: there is no generate.py in it; give a checkout of"),
        (["--realistic", "--fast-dllm", "."], "there is no llada/generate.py in it; give a checkout of https://github"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_measured(command, wrong):
    with pytest.raises(UsageError, match=re.escape(wrong)):
        CliRunner().invoke(bench, ["peers", *command], catch_exceptions=False)


def test_a_realistic_model_is_the_same_each_time_and_never_predicts_its_mask(tmp_path):
    made = [settings.realistic(2, 1024, tmp_path / name) for name in "ab"]
    (a, b) = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert a == b
    assert made[0].prompts == made[1].prompts
    assert [len(p) for p in made[0].prompts] == [64, 64]
    weights = load_file(tmp_path / "a" / "model.safetensors")
    assert weights["lm_head.weight"].shape == (1024, 512)
    assert not weights["lm_head.weight"][made[0].mask].any()
    assert weights["lm_head.weight"][made[0].mask - 1].any()


def test_the_short_table_has_a_line_for_each_loop_and_columns_for_each_vocabulary(monkeypatch, tmp_path):
    rows = [
        Compared(
            Case(peer, "`generate`, 16 steps", "llada", "none", model="realistic", vocab=v), prompts=1, same=same,
            agreement=1.0, ours=Side(4, 8, 1.0, 2 << 20), peer=Side(4, 8, 2.0, peak), ratios=(2.0, 3.0, 2.5),
        )
        for peer, v, same, peak in (
            ("llada", 32_000, 1, 9 << 20), ("llada", 126_464, 0, None), ("fast-dllm", 126_464, 1, 8 << 20)
        )
    ]
    save(tmp_path / "rows.json", rows)
    monkeypatch.setattr(tables, "REALISTIC_ROWS", tmp_path / "rows.json")
    header, _, line, other = tables.realistic_summary().splitlines()
    assert header.startswith("| loop | cache here | same tokens | times as fast, V = 32,000 | MiB here / there, V = 32")
    assert line == "| llada: `generate` | `none` | no | **2.50** | 2 / 9 | **2.50** |  |"
    assert other == "| fast-dllm: `generate` | `none` | yes |  |  | **2.50** | 2 / 8 |"  # one was not measured
    assert "### A vocabulary of 126,464" in tables.realistic_section()


def test_an_unknown_peer_is_refused():
    result = CliRunner().invoke(bench, ["peers", "-p", "vllm"])
    assert result.exit_code == 2
    assert "'vllm' is not one of" in result.output


# What the scripts do, in this process: they are read like the modules that they are in a peer's.


SCRIPTED = {path.stem for path in SCRIPTS.glob("*.py")}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {*SCRIPTED, "generate", "model"} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.fixture(scope="module")
def random_gemma(tmp_path_factory):
    return settings.diffusion_gemma(1, tmp_path_factory.mktemp("gemma"))


@pytest.mark.parametrize("attention", ["bidirectional", "block"])
def test_peers_get_the_network_that_this_library_runs(script, attention):
    """One forward of a canvas whose first block is decided: the same logits."""
    networks = script("networks")
    setting = settings.nano(1)
    case = Case("", "", attention=attention, block=8, length=16)
    net, count = networks.masked(case.job(setting.path, setting.mask))
    model = decoders.load("nano", attention=attention).model
    seen = []
    decoders.decode(
        model, decoders.get("llada"), [setting.prompts[0]], length=16, windows=decoders.Blocks(8),
        cache=decoders.get_cache("none"), stop=False, watch=lambda f, p, c: seen.append((f, p)), max_steps=9,
    )
    f, p = seen[-1]
    end = len(setting.prompts[0]) + 16
    with torch.inference_mode():
        logits = net(f.tokens[:, :end]).logits
    assert count.times == 1
    wanted = p.at[0] < p.width
    torch.testing.assert_close(logits[0, f.at[0][p.at[0][wanted]]], p.logits[0][wanted], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "nfe"), [({"bound": 2.0, "t_max": 0.1, "t_min": 0.05, "confidence": 9.0}, 4), ({"bound": 0.1}, 8)]
)
def test_with_the_same_random_numbers_gemma_is_what_transformers_generates(script, random_gemma, options, nfe):
    theirs, own, setting = script("with_transformers"), script("with_decoders"), random_gemma
    given = {"block_steps": 4, "t_max": 0.8, "t_min": 0.4, "stability": 1, "confidence": 0.005, **options}
    decoder = "gemma:" + ",".join(f"{k}={v}" for k, v in given.items())
    job = Case("", "", decoder, options=given, model="diffusion_gemma", length=64).job(setting.path, None)
    prompt = list(setting.prompts[0])
    tokens, spent, draws = own.canvases({**job, "record": True})(prompt, None)
    assert spent == nfe
    assert own.canvases(job)(prompt, None) == (tokens, nfe)
    assert theirs.canvases(job)(prompt, json.loads(json.dumps(draws))) == (tokens, nfe)
    draws["noise"][0][:] = [0] * 32
    draws["samples"] = [[1] * 32 for _ in draws["samples"]]
    if options["bound"] < 1:
        assert theirs.canvases(job)(prompt, draws)[0] != tokens  # they matter


LOOP = """
import torch

def generate(model, prompt, gen_length, block_length, mask_id, **told):
    x = torch.cat([prompt, torch.full((1, gen_length), mask_id)], 1)
    for i in range(told["steps"]):
        x[:, prompt.shape[1] + i] = model(x).logits[0, prompt.shape[1] + i].argmax()
    return x
"""
OWN = """
import torch

class LLaDAConfig:
    def __init__(self, **told):
        self.told = told

class LLaDAModelLM(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def load_state_dict(self, weights, assign):
        self.weights = weights

    def forward(self, x):
        return torch.zeros(*x.shape, self.config.told["vocab_size"])
"""


def test_lladas_loop_runs_around_the_same_network_as_this_library(script, tmp_path, monkeypatch):
    (tmp_path / "generate.py").write_text(LOOP)
    monkeypatch.setattr(sys, "argv", ["with_llada.py", str(tmp_path)])
    setting = settings.realistic(1, 1024, tmp_path / "made")
    theirs, own, prompt = script("with_llada"), script("with_decoders"), list(setting.prompts[0])
    case = replace(realistic(1024, 32)[0], options={"steps": 3}, decoder="sdar:by=sequential")
    job = case.job(setting.path, setting.mask)
    tokens, nfe = theirs.steps(job)(prompt, None)
    ours, _ = own.masked(job)(prompt, None)
    assert nfe == 3
    assert tokens[:3] == ours[:3]  # one position a forward, left to right, by both
    assert tokens[3:] == [setting.mask] * 29


def test_fast_dllm_gets_the_weights_by_their_names_in_llada(script, tmp_path, monkeypatch):
    (tmp_path / "llada" / "model").mkdir(parents=True)
    (tmp_path / "llada" / "generate.py").write_text(
        "def loop(model, prompt, gen_length, block_length, mask_id, threshold):\n"
        "    model(prompt), model(prompt)\n"
        "    return prompt.repeat(1, 2), 99\n"
    )
    (tmp_path / "llada" / "model" / "__init__.py").write_text(OWN)
    monkeypatch.setattr(sys, "argv", ["with_fast_dllm.py", str(tmp_path)])
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "0")
    setting = settings.realistic(1, 1024, tmp_path / "made")
    theirs = script("with_fast_dllm")
    job = replace(realistic(1024, 32)[1], options={"loop": "loop", "threshold": 0.9}).job(setting.path, setting.mask)
    own = theirs.own_network(job)
    made = load_file(tmp_path / "made" / "model.safetensors")
    assert set(own.weights) == {llada_name(name) for name in made}
    assert all(torch.equal(own.weights[llada_name(name)], x) for name, x in made.items())
    sizes = {"d_model": 512, "n_layers": 4, "n_heads": 8, "mlp_hidden_size": 1536, "vocab_size": 1024}
    assert sizes.items() <= own.config.told.items()
    assert theirs.blocks(job)([3, 4], None) == ([3, 4], 2)  # what follows the prompt, and the forwards that were run


def test_the_line_protocol_answers_what_goes_wrong_and_goes_on(tmp_path):
    (tmp_path / "serving.py").write_text((SCRIPTS / "serving.py").read_text())
    # the real one takes seconds to import
    (tmp_path / "torch.py").write_text("def set_num_threads(n):\n    assert n == 1\n")
    (tmp_path / "with_this.py").write_text(
        "from serving import serve\n"
        "def prepare(job):\n"
        "    print('not an answer')\n"
        "    hold = job.get('hold', 0)\n"
        "    return lambda prompt, draws: (prompt * 2, 10 // job['options']['by'] + 0 * len(b'a' * hold))\n"
        "serve(prepare, [], ['a'])\n"
    )
    with Process(Path(sys.executable), tmp_path / "with_this.py", 100.0) as child:
        assert child.offers == ["a"]
        assert child.versions["torch"] == torch.__version__
        with pytest.raises(UsageError, match="ZeroDivisionError: integer division"):
            child.ask({"options": {"by": 0}}, [[1]])
        answer = child.ask({"options": {"by": 5}}, [[1], [2, 3]])
        assert answer["rows"] == [{"tokens": [1, 1], "nfe": 2}, {"tokens": [2, 3, 2, 3], "nfe": 2}]
        assert answer["seconds"] >= 0
        big = child.ask({"options": {"by": 5}, "hold": 64 << 20}, [[1]])
        if answer["peak"] is not None:  # where the system says it
            assert answer["peak"] < 32 << 20 < 60 << 20 < big["peak"] < 128 << 20
    assert child.child.returncode == 0


def test_a_text_ends_at_the_first_stop_token():
    made = {"rows": [{"tokens": [4, 0, 4], "nfe": 3}, {"tokens": [4, 4, 4], "nfe": 1}]}
    runs = [{"seconds": s, "peak": p} for s, p in ((3.0, 5), (1.0, 7), (2.0, 6))]
    assert measure.side(made, runs, (0,)) == Side(4, 4, 2.0, 7)
    assert measure.side(made, [*runs, {"seconds": 2.0, "peak": None}], (0,)).peak is None
    assert Compared(Case("", "")).ratio is None
