"""`decoders check`: laws in lines, one line at the end, and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decoders.cli.cases import kind_of
from support.commands import call

BAD = "decoders.testing.bad"
BAD_CACHES = "decoders.testing.bad_caches"


def test_a_strategy_that_keeps_its_laws_is_told_so_in_a_line() -> None:
    done = call("check", "--fast", f"{BAD}:Fair")
    *laws, last = done.output.splitlines()
    assert done.exit_code == 0
    assert len(laws) == 10
    assert all(line.startswith("passed  ") for line in laws)
    assert last.startswith(f"{BAD}:Fair keeps the 10 quickest of 17 laws (")


def test_a_broken_law_is_told_with_its_line_and_the_exit_code_is_1() -> None:
    done = call("check", f"{BAD}:Fair", f"{BAD}:Overwrites", "--fast")
    assert done.exit_code == 1
    assert "\nbroken  given_stays_given " in done.output
    assert "\ngiven_stays_given: causal blocks: the given tokens 1 2 3 became " in done.output
    assert "bad.py:" in done.output
    assert done.output.endswith(f"\n{BAD}:Overwrites breaks 2 of 10 laws.\n")


@pytest.mark.parametrize("how", [("--cache", f"{BAD_CACHES}:TrustsEverything"), (f"{BAD_CACHES}:TrustsEverything",)])
def test_a_cache_is_checked_too(how: tuple[str, ...]) -> None:
    done = call("check", *how)
    assert done.exit_code == 1
    assert "\nbroken  settles" in done.output
    assert done.output.endswith(":TrustsEverything breaks 1 of 11 laws.\n")


def test_how_far_a_cache_is_from_none_is_measured() -> None:
    done = call("check", "--cache", "dual", "-c", "none")
    assert done.exit_code == 0
    told = [line for line in done.output.splitlines() if line.startswith("Measured: ")]
    assert len(told) == 2
    assert "it computes 100% of the positions that no cache would, and 0% of what it reads" in told[1]
    assert "dual keeps all 11 laws (" in done.output


def test_json_is_an_object_a_line() -> None:
    done = call("check", "--json", "--fast", f"{BAD}:Item", "--cache", "prefix")
    assert done.exit_code == 1
    strategy, cache = map(json.loads, done.output.splitlines())
    assert (strategy["kind"], strategy["passed"], cache["kind"], cache["passed"]) == ("strategy", False, "cache", True)
    (item,) = [law for law in strategy["laws"] if law["law"] == "meta_safe"]
    assert item["file"].endswith("bad.py")
    assert item["function"] == "step"
    assert "Tensor.item()" in item["message"]
    assert all(law["passed"] and law["line"] is None for law in cache["laws"])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "nothing to check: give the SPEC of a strategy, or --cache SPEC"),
        (("treshold",), "unknown strategy 'treshold'; did you mean 'threshold'?"),
        (("--cache", "duel"), "unknown cache 'duel'; did you mean 'dual'?"),
    ],
)
def test_what_cannot_be_checked_is_one_line(args: tuple[str, ...], told: str) -> None:
    done = call("check", *args)
    assert (done.exit_code, done.output) == (2, f"Error: {told}\n")


@pytest.mark.parametrize("how", [("-t", "support.bad_tasks:Untrimmed"), ("support.bad_tasks:Untrimmed",)])
def test_a_task_is_checked_too(how: tuple[str, ...]) -> None:
    done = call("check", "--fast", *how)
    assert done.exit_code == 1
    assert "\nbroken  right_is_right " in done.output
    assert "bad_tasks.py:" in done.output
    assert done.output.endswith(":Untrimmed breaks 1 of 8 laws.\n")
    done = call("check", "--fast", "sudoku")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].startswith("sudoku keeps the 8 quickest of 10 laws (")


def test_laws_that_ask_nothing_of_a_task_from_a_file_are_not_said_to_be_passed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    problems = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(100, 120)]
    path.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    spec = f"gsm8k:{path}"
    done = call("check", "-t", spec)
    assert done.exit_code == 0
    *laws, last = done.output.splitlines()
    unasked = {line.split()[2]: line.split(maxsplit=3)[3] for line in laws if line.startswith("not asked  ")}
    assert unasked == {
        "splits": "a file is not divided into splits",
        "fits": "the lengths are meant for other models than the embedded one",
        "same_elsewhere": "the order of the problems is that of the file",
    }
    assert len({line.index(line.split(maxsplit=2)[2]) for line in laws if line.startswith("passed")}) == 1
    assert last.startswith(f"{spec} keeps 7 of 10 laws, and 3 asked nothing of it (")
    found = json.loads(call("check", "--json", "-t", spec).output)
    assert found["passed"]
    assert {law["law"]: law["unasked"] for law in found["laws"] if law["passed"] is None} == unasked
    assert all(law["passed"] and not law["unasked"] for law in found["laws"] if law["law"] not in unasked)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("threshold:tau=0.5", "strategies"), ("dual", "caches"), ("sudoku/easy", "tasks"), ("gsm8k:test", "tasks"),
        ("gsm8k:some/where.jsonl", "tasks"), ("support.bad_tasks:Fair/hard", "tasks"), ("treshold", "strategies"),
        (f"{BAD}:Fair", "strategies"), (f"{BAD_CACHES}:FairCache", "caches"), ("fast-dllm", "strategies"),
    ],
)
def test_a_spec_tells_its_kind(spec: str, kind: str) -> None:
    assert kind_of(spec) == kind


FAMILY = "testing.test_family_laws"


@pytest.mark.parametrize("how", [("--family", f"{FAMILY}:TWICE"), (f"{FAMILY}:TWICE",)])
def test_a_family_is_checked_too(how: tuple[str, ...]) -> None:
    done = call("check", "--fast", *how)
    assert done.exit_code == 1
    assert "\nbroken  round_trip " in done.output
    assert "in TWICE: renames=SWAPPED" in done.output
    assert done.output.endswith(":TWICE breaks 1 of 3 laws.\n")
    done = call("check", "--fast", f"{FAMILY}:MINE")
    assert done.exit_code == 0


def test_a_family_without_a_sample_is_one_line() -> None:
    done = call("check", "--family", "llada")
    told = "give it sample={...}, what config.json says in a tiny checkpoint of it\n"
    assert (done.exit_code, done.output) == (2, f"Error: the family llada has no sample: {told}")
