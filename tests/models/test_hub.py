"""`-m ORG/NAME[@REVISION]`, on a hub of our own: a first fetch, from the cache, offline, refused, broken off and gone
on with. The package of the hub reads its environment when it is imported, so what is asked is asked in processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from decoders import UsageError
from decoders.models.hub import Repository, check, told
from decoders.models.source import Checkpoint, source_of
from support.checkpoints import write
from support.standin_hub import COMMIT, serving

FETCH = """
import json, sys
import huggingface_hub.constants
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1000  # less than the files that break off here
from decoders.errors import UsageError
from decoders.models.hub import Repository, fetched
for spec in sys.argv[2:]:
    try:
        print(json.dumps(str(fetched(Repository.named(spec), code=sys.argv[1] == "code"))), flush=True)
    except UsageError as e:
        print(json.dumps({"error": str(e)}), flush=True)
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A repository with one file of weights and what nobody needs, and one with shards."""
    root = tmp_path_factory.mktemp("repositories")
    write(root / "one", "llada")
    for name, content in (("README.md", "x"), ("pytorch_model.bin", "x" * 5000), ("modeling_llada.py", "pass")):
        (root / "one" / name).write_text(content)
    write(root / "sharded", "sdar", shards=2)
    write(root / "untold", "mdlm")
    (root / "gpt2").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(root / "untold" / name, root / "gpt2")
    (root / "gpt2" / "model.safetensors").write_text("of no interest")
    (root / "bare").mkdir()
    (root / "bare" / "README.md").write_text("nothing")
    (root / "pickled").mkdir()
    shutil.copy(root / "one" / "config.json", root / "pickled")
    (root / "pickled" / "pytorch_model.bin").write_text("x")
    return {"openai-community/gpt2" if p.name == "gpt2" else f"org/{p.name}": p for p in root.iterdir()}


@pytest.fixture
def hub(checkpoints):
    with serving(checkpoints) as hub:
        yield hub


@pytest.fixture
def environment(hub, tmp_path):
    def of(**more):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        return {**clean, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", **more}

    return of


@pytest.fixture
def fetch(environment, tmp_path):
    """What is answered to each name, and what is said on standard error."""

    def asked(*specs, code=False, **more):
        command = [sys.executable, "-c", FETCH, "code" if code else "none", *specs]
        how = {"env": environment(**more), "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 240}
        done = subprocess.run(command, **how)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return asked


def test_a_first_fetch_the_cache_and_offline(hub, fetch, checkpoints):
    (first,), said = fetch("org/one")
    assert f"Fetching org/one ({COMMIT[:12]}): " in said
    needed = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert needed <= {*os.listdir(first)} <= {p.name for p in checkpoints["org/one"].iterdir()}
    assert not {"README.md", "pytorch_model.bin", "modeling_llada.py"} & {*os.listdir(first)}
    assert sorted(hub.sent()) == sorted(os.listdir(first))
    hub.asked.clear()
    (again,), said = fetch("org/one")
    assert (again, hub.sent()) == (first, [])
    assert "Fetching" not in said  # nor is there a progress bar
    hub.asked.clear()
    (offline,), _ = fetch("org/one", HF_HUB_OFFLINE="1")
    (away,), _ = fetch("org/one", HF_ENDPOINT="http://127.0.0.1:9")
    assert (offline, away, hub.asked) == (first, first, [])


def test_shards_code_and_revisions(hub, fetch):
    (shards,), _ = fetch(f"org/sharded@{COMMIT}")
    assert sorted(f for f in hub.sent() if "model" in f) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"
    ]
    (offline,), _ = fetch(f"org/sharded@{COMMIT}", HF_HUB_OFFLINE="1")
    assert offline == shards
    (coded,), _ = fetch("org/one", code=True)
    assert "modeling_llada.py" in os.listdir(coded)


@pytest.mark.slow
def test_the_tokenizer_of_a_family_whose_checkpoints_bring_none(hub, environment, tmp_path):
    command = [sys.executable, "-m", "decoders", "generate", "-m", "org/untold", "-n", "8", "ab"]
    how = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 240}
    done = subprocess.run(command, env=environment(), **how)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.sent()) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert not [path for _, path, _ in hub.asked if "gpt2" in path and path.endswith("model.safetensors")]
    offline = subprocess.run(command, env=environment(HF_HUB_OFFLINE="1"), **how)
    assert (offline.returncode, offline.stdout) == (0, done.stdout)
    shutil.rmtree(next((tmp_path / "home").rglob("models--openai-community--gpt2")))
    without = subprocess.run(command, env=environment(HF_HUB_OFFLINE="1"), **how)
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "brings no tokenizer.json, and was trained with that of openai-community/gpt2: " in without.stderr


def test_what_cannot_be_had_is_one_line(hub, fetch):
    hub.gated.add("org/sharded")
    said, beside = fetch("org/onne", "org/sharded", "org/one@v2", "org/bare", "org/pickled", "org/x--y")
    assert [s["error"] for s in said] == [
        f"there is no model org/onne at {hub.url}, nor a directory of that name here; if it is private, log in "
        "with HF_TOKEN or `hf auth login`",
        f"org/sharded is gated: accept its terms at {hub.url}/org/sharded, and log in with HF_TOKEN or "
        "`hf auth login`",
        f"org/one has no revision 'v2' at {hub.url}",
        "org/bare on the hub is no checkpoint: it has no config.json",
        "org/pickled on the hub has no weights in safetensors; other formats are not read, because they can run code "
        "or lack names",
        said[-1]["error"],
    ]
    assert said[-1]["error"].startswith("org/x--y cannot be the name of a model on the hub")
    assert all("\n" not in s["error"] for s in said)
    assert beside == ""
    (allowed,), _ = fetch("org/sharded", HF_TOKEN="hf_right")
    assert "model-00001-of-00002.safetensors" in os.listdir(allowed)


def test_no_network_and_nothing_in_the_cache(hub, fetch):
    (offline,), _ = fetch("org/one", HF_HUB_OFFLINE="1")
    (away,), _ = fetch("org/one", HF_ENDPOINT="http://127.0.0.1:9")
    assert "and HF_HUB_OFFLINE forbids a download" in offline["error"]
    assert "http://127.0.0.1:9 cannot be reached" in away["error"]
    assert "\n" not in offline["error"] + away["error"]


def test_a_connection_that_breaks_goes_on_where_it_broke(hub, fetch, checkpoints):
    whole = (checkpoints["org/one"] / "model.safetensors").read_bytes()
    hub.breaks = len(whole) // 2
    (found,), _ = fetch("org/one")
    asked = [r for m, path, r in hub.asked if m == "GET" and path.endswith("model.safetensors")]
    assert asked == ["", f"bytes={hub.breaks // 1000 * 1000}-"]
    assert (Path(found) / "model.safetensors").read_bytes() == whole


def test_a_process_that_is_killed_leaves_what_is_whole(hub, fetch, environment, checkpoints, tmp_path):
    hub.breaks, hub.stalls = (checkpoints["org/one"] / "model.safetensors").stat().st_size // 2, True
    process = subprocess.Popen([sys.executable, "-c", FETCH, "none", "org/one"], env=environment(), cwd=tmp_path)
    assert hub.stalled.wait(300)
    kept = wait_for(lambda: {p.name for p in (tmp_path / "home").rglob("snapshots/*/*")}, 3)
    process.kill()
    process.wait()
    (offline,), _ = fetch("org/one", HF_HUB_OFFLINE="1")
    assert "org/one is not complete" in offline["error"]
    hub.stalls, hub.breaks = False, None
    hub.asked.clear()
    (whole,), _ = fetch("org/one")
    assert {*hub.sent()} == {*os.listdir(whole)} - kept
    assert "model.safetensors" in hub.sent()


def wait_for(found, least, seconds=300):
    """What `found` finds, once these are enough."""
    for _ in range(seconds * 20):
        if len(files := found()) >= least:
            return files
        time.sleep(0.05)
    raise AssertionError(f"only {files} came")


def test_a_full_disk_and_a_small_one(monkeypatch):
    repository = Repository("org/one", "main")
    with pytest.raises(UsageError, match=r"the disk of .* is full; make room and run the command"), told(repository):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 << 20))
    plan = [
        SimpleNamespace(filename=f, file_size=n, will_download=True, commit_hash=COMMIT)
        for f, n in (("config.json", 100), ("model.safetensors", 8 << 30))
    ]
    with pytest.raises(UsageError, match=r"org/one takes 8 GiB and .* has room for 3 MiB: make room, or set HF_HOME"):
        check(repository, plan)


@pytest.mark.slow
def test_it_decodes_from_the_command_line(hub, environment, tmp_path):
    command = [sys.executable, "-m", "decoders", "generate", "-m", "org/one:dtype=float32", "-n", "8", "--raw", "ab"]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Fetching org/one" in done.stderr
    offline = subprocess.run(
        command, env=environment(HF_HUB_OFFLINE="1"), cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert (offline.returncode, offline.stdout) == (0, done.stdout)
    command[5] = "org/onne"
    wrong = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert len(wrong.stderr.splitlines()) == 1


@pytest.mark.slow
def test_info_fetches_no_weights(hub, environment, tmp_path):
    command = [sys.executable, "-m", "decoders", "info", "--json", "-m", "org/one"]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["where"], said["family"]) == ("org/one", "llada")
    assert said["bytes"] > 1000
    assert "config.json" in hub.sent()
    assert not [f for f in hub.sent() if f.endswith(".safetensors")]


def test_what_can_be_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Repository.named("GSAI-ML/LLaDA-8B-Instruct") == Repository("GSAI-ML/LLaDA-8B-Instruct", "main")
    assert Repository.named("a/b@refs/pr/1") == Repository("a/b", "refs/pr/1")
    assert str(Repository("a/b", "v1")) == "a/b@v1"
    for text in ("a", "./a/b", "/a/b", "~/a", "a/b/c", "a/b@", "../a", "a /b"):
        assert Repository.named(text) is None
    assert source_of("a/b@v1:dtype=bfloat16") == Checkpoint("a/b@v1", dtype="bfloat16")
    assert source_of("a/b", device="cpu") == Checkpoint("a/b")
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="there is no checkpoint directory 'a/b'"):
        source_of("a/b")
