"""Spec strings and the registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Literal

import pytest
from click.testing import CliRunner

from decoders import Decoder, Pred, State, UsageError, get, get_cache, option, registry, spec_of, specs
from decoders.cli import main
from decoders.core import ATTESTED
from decoders.strategies.dream import Dream
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.llada import LLaDA
from decoders_bench.docs import part_table, plug_table

THRESHOLD = Threshold()


@dataclass(frozen=True)
class Nested(Decoder):
    """A strategy inside a strategy."""

    answer: Decoder = option(THRESHOLD)
    flag: bool = option(False)
    word: str = option("x")

    def step(self, s: State, p: Pred) -> State:
        return self.answer.step(s, p)


HERE = f"{__name__}:Nested"


def test_a_spec_makes_what_it_says():
    assert get("threshold") == Threshold()
    assert get("threshold:tau=0.5") == Threshold(tau=0.5)
    assert get("threshold", tau=0.5) == Threshold(tau=0.5)
    assert get("llada:steps=8,remasking=random,temperature=1") == LLaDA(steps=8, remasking="random", temperature=1.0)
    assert get("llada:steps=none") == LLaDA()
    assert get("dream: by = origin , top_p=0.9") == Dream(by="origin", top_p=0.9)


def test_options_of_the_spec_win_over_those_given():
    assert get("threshold:tau=0.5", tau=0.7, temperature=1.0) == Threshold(tau=0.5, temperature=1.0)


def test_a_class_path_needs_nothing_installed():
    assert get(HERE) == Nested()
    assert get(f"{HERE}:flag=true,word=y") == Nested(flag=True, word="y")


def test_a_spec_inside_a_spec_stands_in_parentheses():
    made = get(f"{HERE}:answer=(llada:steps=8,remasking=random),flag=true")
    assert made == Nested(answer=LLaDA(steps=8, remasking="random"), flag=True)


@pytest.mark.parametrize(
    "decoder",
    [
        Threshold(), Threshold(tau=0.25), LLaDA(steps=3, eos="last"), Dream(by="origin", top_p=0.5, top_k=3),
        Nested(answer=Dream(steps=4), flag=True),
    ],
    ids=str,
)
def test_a_decoder_comes_back_from_its_spec(decoder):
    assert get(spec_of(decoder)) == decoder


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("treshold", "unknown strategy 'treshold'; did you mean 'threshold'?"),
        ("qqq", "unknown strategy 'qqq'; known: "),
        ("threshold:tua=1", "threshold has no option 'tua'; did you mean 'tau'?"),
        ("threshold:tau=high", "threshold: tau must be float, not 'high'"),
        ("threshold:tau=1.5", "threshold: tau must be between 0 and 1, not 1.5"),
        ("threshold:tau=nan", "threshold: tau must be between 0 and 1, not nan"),
        ("llada:steps=0", "llada: steps must be at least 1, not 0"),
        ("llada:steps=2.5", "llada: steps must be int or none, not '2.5'"),
        ("llada:remasking=best", "llada: remasking must be one of low_confidence, random, not 'best'"),
        ("threshold:tau", "cannot read 'tau'"),
        ("threshold:tau=0.5,tau=0.6", "option 'tau' is given twice"),
        (f"{HERE}:answer=(llada", "parentheses do not match"),
        (f"{HERE}:answer=llama", "unknown strategy 'llama'; did you mean 'llada'?"),
        ("", "names nothing"),
        ("no_such_module:Class", "cannot be loaded: ModuleNotFoundError"),
        ("decoders.strategies.llada:Lama", "has no 'Lama'"),
        ("decoders.strategies.sdar:block_share", "is not a dataclass"),
        ("decoders.core.cache:Exact", "is not a Decoder"),
    ],
)
def test_a_mistake_gets_one_clear_line(spec, message):
    with pytest.raises(UsageError) as e:
        get(spec)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


def test_python_values_are_checked_too():
    with pytest.raises(UsageError, match="Threshold: tau must be between 0 and 1"):
        Threshold(tau=2.0)
    with pytest.raises(UsageError, match="LLaDA: steps must be int or none, not True"):
        LLaDA(steps=True)


@dataclass(frozen=True)
class Choosy(Decoder):
    """An option of few words, or none."""

    word: Literal["a", "b"] | None = option(None)


def test_a_choice_may_be_none():
    here = f"{__name__}:Choosy"
    assert get(f"{here}:word=none") == Choosy(None)
    assert get(f"{here}:word=b") == Choosy("b")
    with pytest.raises(UsageError, match="word must be one of a, b, not 'c'"):
        get(f"{here}:word=c")


def test_caches_come_through_the_same_door():
    assert type(get_cache("none")).__name__ == "NoCache"
    with pytest.raises(UsageError, match="unknown cache 'exakt'; did you mean 'exact'"):
        get_cache("exakt")


def fake(name, value, owner):
    e = EntryPoint(name, value, "decoders.strategies")
    vars(e)["dist"] = SimpleNamespace(name=owner)
    return e


@pytest.fixture
def plugins(monkeypatch):
    def install(*found):
        def entry_points(group):
            return found if group == "decoders.strategies" else ()

        monkeypatch.setattr(specs, "entry_points", entry_points)
        specs.table.cache_clear()

    yield install
    specs.table.cache_clear()


def test_two_owners_of_a_name_are_both_named(plugins):
    plugins(fake("mine", HERE, "first-plugin"), fake("mine", "decoders.strategies.llada:LLaDA", "second-plugin"))
    with pytest.raises(UsageError, match="'mine' is defined by first-plugin and by second-plugin"):
        get("mine")
    (entry,) = registry.entries("strategies")
    assert "first-plugin and by second-plugin" in entry.problem


def test_the_same_entry_point_found_twice_is_one(plugins):
    plugins(fake("mine", HERE, "one"), fake("mine", HERE, "one"))
    assert get("mine") == Nested()


def test_a_broken_plugin_is_named_and_the_others_work(plugins):
    plugins(fake("broken", "no_such_module_anywhere:X", "bad-plugin"), fake("mine", HERE, "good-plugin"))
    assert get("mine") == Nested()
    broken, mine = registry.entries("strategies")
    assert "bad-plugin" in broken.problem
    assert not mine.problem
    with pytest.raises(UsageError, match="'broken' of bad-plugin cannot be loaded"):
        get("broken")


def test_every_built_in_names_its_source_and_describes_itself():
    for entry in registry.entries("strategies"):
        if entry.distribution == specs.DISTRIBUTION:
            assert entry.source, entry.name
            assert entry.summary, entry.name
            assert all(o.help for o in entry.options), entry.name


@pytest.mark.parametrize("kind", ["strategies", "caches"])
def test_every_built_in_says_itself_how_well_it_is_attested(kind):
    """None has it from a class that it extends; and what is replayed has a reference in the replay."""
    for entry in registry.entries(kind):
        if entry.distribution == specs.DISTRIBUTION:
            own = vars(specs.load(kind, entry.name)).get("attested")
            assert own == entry.attested, entry.name
            assert own in ATTESTED, entry.name
            assert own != "ours" or not entry.source or entry.source.startswith(("after ", "cf. ")), entry.name


# --- what is printed can be typed ------------------------------------------------------------------------

KINDS = {"strategies": get, "caches": get_cache}
OPTIONS = [
    pytest.param(kind, e.name, o, id=f"{kind}-{e.name}-{o.name}")
    for kind in KINDS
    for e in registry.entries(kind)
    for o in e.options
]


@pytest.mark.parametrize(("kind", "name", "option"), OPTIONS)
def test_a_default_as_it_is_spelled_makes_an_equal_plug(kind, name, option):
    assert KINDS[kind](f"{name}:{option.name}={registry.spelled(option.default)}") == KINDS[kind](name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_that_a_page_prints_makes_an_equal_plug(kind):
    for line in plug_table(kind).splitlines()[2:]:
        name, _, options, *_ = (cell.strip() for cell in line.strip("|").split(" | "))
        plug = KINDS[kind](name.strip("`"))
        printed = re.findall(r"`([^`]*)`", options)
        assert len(printed) == len(registry.options(type(plug)))
        assert KINDS[kind](":".join([name.strip("` "), ",".join(printed)]).rstrip(":")) == plug


def test_every_default_of_a_part_that_a_page_prints_makes_an_equal_plug():
    lines = part_table().splitlines()[2:]
    assert len(lines) == 20
    for line in lines:
        choice, _, options = (cell.strip() for cell in line.strip("|").split(" | "))
        option, _, name = choice.strip("`").partition("=")
        printed = ",".join(re.findall(r"`([^`]*)`", options))
        whose = "ddim" if option == "schedule" else "s2d2"
        assert get(f"{whose}:{option}=({name}:{printed})" if printed else f"{whose}:{option}={name}") == get(
            f"{whose}:{option}={name}"
        )


def test_every_default_that_list_prints_makes_an_equal_plug():
    text = CliRunner().invoke(main, ["list", "strategies"]).stdout
    for paragraph in re.split(r"\n(?=  \S)", text)[1:]:
        name = paragraph.split()[0]
        printed = [line.split("  ")[3] for line in paragraph.splitlines() if re.match(r"      \w+=", line)]
        assert len(printed) == len(registry.options(type(get(name))))
        assert get(f"{name}:{','.join(printed)}" if printed else name) == get(name)


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("Frontier: w must be int, not Threshold", {"w": get("threshold")}),
        ("Frontier: w must be int, not 1\\+2", {"w": (1, 2)}),
        ("Frontier: w must be int, not nothing", {"w": ()}),
    ],
)
def test_a_wrong_value_is_told_as_a_spec_would_write_it(message, given):
    with pytest.raises(UsageError, match=f"^{message}$"):
        get("frontier", **given)


@pytest.mark.parametrize(
    ("spec", "lacks"),
    [
        ("decoders:Decoder", "no step"), ("ada_block:base=(decoders:Decoder)", "no step"),
        ("s2d2:route=(decoders.strategies.speculation.routes:Route)", "no __call__"),
    ],
)
def test_what_others_are_made_of_is_none_itself(spec, lacks):
    with pytest.raises(UsageError, match=f"is an abstract base: it has {lacks}"):
        get(spec)
    with pytest.raises(UsageError, match="is an abstract base: it has no stale"):
        registry.get_cache("decoders:Cache")


def test_a_script_that_ends_when_it_is_imported_is_told(tmp_path, monkeypatch):
    (tmp_path / "a_script_of_mine.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="cannot be loaded: SystemExit: 3"):
        get("a_script_of_mine:Mine")
