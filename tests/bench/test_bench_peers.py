"""`decoders bench peers`: runs in turns with other decoders, whatever becomes of those."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import decoders
from decoders import UsageError
from decoders_bench.cli import bench
from decoders_bench.common.results import save
from decoders_bench.peers import environments, measure, settings
from decoders_bench.peers.cases import CASES, Case
from decoders_bench.peers.environments import PEERS, last_line, prepare
from decoders_bench.peers.measure import Compared, Setting, Side, compare_all
from decoders_bench.peers.process import SCRIPTS, Process
from decoders_bench.peers.tables import load_peers, peer_tables

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
    print(json.dumps({"rows": made, "seconds": 0.5 if NAME == "ours" else 1.5}), flush=True)
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

    def compared(*cases, repeats=3, patience=20.0):
        chosen = {"nano": NANO, "diffusion_gemma": NANO}
        return compare_all(cases, chosen, tmp_path, repeats, lambda r: None, scripts=tmp_path, patience=patience)

    compared.log = lambda: [line.split() for line in log.read_text().splitlines()]
    return compared


def fake(how="", peer="fake", **more):
    return Case(peer, f"way {how}", "llada", options={"how": how, "scheduler": "used"}, **more)


def test_both_take_turns_and_the_ratio_is_that_of_tokens_a_second(fakes):
    (row,) = fakes(fake(), repeats=4)
    assert [line[0] for line in fakes.log()] == ["fake", "ours", *"ours fake fake ours ours fake fake ours".split()]
    # two texts of two tokens, in front of the stop token 0
    assert (row.ours, row.peer) == (Side(4, 4, 0.5), Side(8, 4, 1.5))
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
        "| way differs | `llada` | 0 of 2; 75 % of positions | 2.0 / 4.0 | 1.00 / 0.50 | 3.00 (3.00-3.00) | 1.50 |"
        in table
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


def test_an_unknown_peer_is_refused():
    result = CliRunner().invoke(bench, ["peers", "-p", "vllm"])
    assert result.exit_code == 2
    assert "'vllm' is not one of" in result.output


# What the scripts do, in this process: they are read like the modules that they are in a peer's.


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {"serving", "networks", "with_transformers", "with_decoders"} & (set(sys.modules) - before):
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


def test_the_line_protocol_answers_what_goes_wrong_and_goes_on(tmp_path):
    (tmp_path / "serving.py").write_text((SCRIPTS / "serving.py").read_text())
    # the real one takes seconds to import
    (tmp_path / "torch.py").write_text("def set_num_threads(n):\n    assert n == 1\n")
    (tmp_path / "with_this.py").write_text(
        "from serving import serve\n"
        "def prepare(job):\n"
        "    print('not an answer')\n"
        "    return lambda prompt, draws: (prompt * 2, 10 // job['options']['by'])\n"
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
    assert child.child.returncode == 0


def test_a_text_ends_at_the_first_stop_token():
    made = {"rows": [{"tokens": [4, 0, 4], "nfe": 3}, {"tokens": [4, 4, 4], "nfe": 1}]}
    assert measure.side(made, [3.0, 1.0, 2.0], (0,)) == Side(4, 4, 2.0)
    assert Compared(Case("", "")).ratio is None
