"""Constraints: what cannot fit is refused, everything else ends valid, whatever the decoder."""

from __future__ import annotations

import json
import re
import time
from functools import cache

import jsonschema
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import Blocks, Generator, UsageError, decode, get
from decoders.constraints.automaton import build
from decoders.constraints.base import constraint_of
from decoders.constraints.constrained import Constrained, check_fits
from decoders.constraints.grammar import JsonSchema, Regex, compiled, schema_pattern
from decoders.constraints.spelling import spellings, unicode_bytes
from decoders.testing import LAWS
from decoders_bench.cli import bench
from decoders_bench.constraints.measure import validity
from decoders_bench.constraints.schemas import CHARACTERS, END, toy, valid, written
from decoders_bench.constraints.tables import constraints_section
from support.marks import slow, thirds
from support.strategies import EACH, with_toys

TOY, BLOCKWISE = toy(), toy(block_causal=True)


@cache
def automaton(pattern):
    return compiled(pattern, pattern, CHARACTERS, 96, (END,))


def run(spec, pattern, length, model=TOY, prompts=((1, 2), (3,)), **options):
    a = automaton(pattern)
    check_fits(a, length)
    decoder = get(spec) if isinstance(spec, str) else spec
    return decode(model, Constrained(decoder, a, length), prompts, length=length, seed=3, **options)


# --- the automaton --------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_it_allows_what_the_expression_matches_and_nothing_else(data):
    patterns = [
        "a*b", "(ab|c){2,3}", "[a-c]{2}d?", "a(b|c)*a", "a|ab", "(ab|a)(c|bcd)?", "a(bc)?", "a*?b*?", "^a{0,2}$|^b$",
        "a{2}|a{3}",
    ]
    pattern = data.draw(st.sampled_from(patterns))
    text = data.draw(st.text("abcd", max_size=7))
    a = automaton(pattern)
    state = torch.zeros(1, len(a.accepting), dtype=torch.bool)
    state[0, a.start] = True
    for character in text:
        state = a.after(state, torch.tensor([ord(character) - 31]))
    assert bool((state & a.accepting).any()) == bool(re.fullmatch(pattern, text))


def test_what_is_no_different_is_merged():
    """Four ways to write two letters and an end: the dead state, the end, and how many letters there have been."""
    a = build(0, [3, 4], {0: {1: 1, 2: 2}, 1: {1: 3, 2: 4}, 2: {1: 4, 2: 3}}, 6, (5,))
    assert a.move.shape == (5, 3)  # tokens 1 and 2, the end, and all others
    assert not a.accepting[0]
    assert a.move[0].unique().tolist() == [0]
    assert a.shortest(10) == 2


@pytest.mark.parametrize(("length", "needs"), [(4, 5), (1, 5)])
def test_what_does_not_fit_is_refused_with_the_number_of_tokens(length, needs):
    with pytest.raises(
        UsageError, match=rf"needs at least {needs} tokens, and there is room for {length}; raise the length"
    ):
        check_fits(automaton("[ab]{5}c*"), length)


def test_a_language_that_the_vocabulary_cannot_write_is_refused():
    with pytest.raises(UsageError, match="é: The vocabulary provided is incompatible"):
        automaton("é")
    with pytest.raises(UsageError, match=r"no text that x allows can be written in 12 tokens"):
        check_fits(build(0, [2], {0: {1: 1}}, 6, (5,), "x"), 12)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a{100000}", "about 100000 states, and up to 32768 are compiled"), ("(a{1000}b){100}", "about 100100 states"),
        (r"(\w{100}){10}", "about 320000 states"), ("a{1,99999999999999}", "too large"), ("ab" * 200_000, "too large"),
        ("a)(b", "a parenthesis is closed that was not opened"),
        ("(a$|b)c", r"\$ is allowed only at the ends of the expression"), ("a^b", r"\^ is allowed only"),
        ("(a", "a parenthesis is not closed"), ("[a", "a bracket is not closed"), ("a**{", "NFA"),
        ("a\\", "ends with a backslash"),
    ],
)
def test_what_is_too_large_or_no_expression_is_refused_before_it_is_compiled(pattern, message):
    began = time.process_time()
    with pytest.raises(UsageError, match=message) as e:
        compiled(f"the regular expression {pattern!r}", pattern, CHARACTERS, 96, (END,))
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 300
    assert time.process_time() - began < 5


def test_a_bounded_text_takes_no_longer_than_it_is_long():
    """Where the text may hold what it begins with, a search for it would need 2^100 states."""
    a = automaton('"([^"\\\\]|\\\\["\\\\]){0,100}"')
    assert 100 < len(a.move) < 220
    assert a.shortest(5) == 2


@given(st.integers(1, 40), st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_counted_repetitions_have_as_many_states_as_they_count(least, more):
    a = automaton(f"(a|b){{{least},{least + more}}}")
    assert len(a.move) == least + more + 1 + 2  # one for each count, the dead one, and what is behind the end
    assert a.shortest(100) == least


# --- every strategy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "toy"), thirds(with_toys(EACH, ("whole", "blocks")), 2))
def test_every_strategy_ends_valid(spec, toy):
    """An expression whose far ends depend on each other, so that what is allowed alone is not allowed together."""
    pattern = r"(a[a-z]{3,6}A|b[a-z]{3,6}B)(,[0-9]{1,3}){0,2}"
    model, windows = {"whole": (TOY, None), "blocks": (BLOCKWISE, Blocks(4))}[toy]
    for row in run(spec, pattern, 16, model, windows=windows):
        assert row.finish_reason in {"stop", "length"}
        assert re.fullmatch(pattern, written(row.tokens)), (spec, row.tokens)


def test_tokens_that_are_allowed_alone_but_not_together_are_thinned_out():
    """`aa` or `bb`: the toy prefers what it likes at both places, and a first forward that takes both would be
    wrong."""
    rows = [run("threshold:tau=0.0", "(aaaa|bbbb|cccc)", 4, toy(seed=s))[0] for s in range(8)]
    assert {written(row.tokens) for row in rows} <= {"aaaa", "bbbb", "cccc"}
    assert max(row.nfe for row in rows) > 1  # the others were left open at first


def test_a_decoder_that_wants_for_ever_what_is_refused_comes_to_an_end():
    """`llada2` overwrites, here, what then has to be taken back."""
    pattern = r'\{[ ]?"c"[ ]?:[ ]?\[[ ]?\]([ ]?,[ ]?"d"[ ]?:[ ]?(true|false))?[ ]?\}'
    a = automaton(pattern)
    row = decode(TOY, Constrained(get("llada2"), a, 17), [[1, 2]], length=17, seed=1, max_steps=200)[0]
    assert row.finish_reason == "stop"
    assert re.fullmatch(pattern, written(row.tokens))


def test_a_free_language_changes_nothing():
    for spec in ("threshold:tau=0.3", "llada:steps=4", "llada2", "remdm"):
        free = run(spec, "(.|\n)*", 12)
        banned = decode(TOY, get(spec), ((1, 2), (3,)), length=12, seed=3)
        if all(set(row.tokens) <= set(CHARACTERS) for row in banned):
            assert free == banned
        assert all(row.finish_reason for row in free)


LAWFUL = [law for law in LAWS if law.__name__ not in {"spec_round_trip", "no_loops"}]
"""It has no spec of its own, and goes over the positions one by one."""
QUICK = [law for law in LAWFUL if law.__name__ not in {"compiles", "wraps"}]


@pytest.mark.parametrize(
    "law", [*QUICK, *slow(*(law for law in LAWFUL if law not in QUICK))], ids=lambda law: law.__name__
)
def test_a_constrained_decoder_keeps_the_laws(law):
    keeps("threshold:tau=0.3", law)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWFUL, ids=lambda law: law.__name__)
def test_a_constrained_decoder_that_revises_keeps_the_laws(law):
    keeps("llada2", law)


def keeps(spec, law):
    law(Constrained(get(spec), compiled("test", "(a|bb)*", {1: b"a", 2: b"b", 3: b"bb"}, 11, (9,)), 64))


# --- JSON schemas
# ------------------------------------------------------------------------------------------------------


def check_schemas(count, seed):
    for row in validity(("threshold:tau=0.5", "llada", "llada2"), count, seed, lambda: None):
        assert row.valid == row.schemas == count


def test_random_json_schemas():
    check_schemas(4, seed=1)


@pytest.mark.slow
def test_fifty_random_json_schemas():
    check_schemas(50, seed=2)


def test_a_text_that_is_not_what_the_schema_says_is_found_out():
    made = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert [valid(text, made) for text in ('{"a": 1}', '{"a": "x"}', "{}", '{"a": 1')] == [True, False, False, False]


def test_the_command_measures_both(tmp_path):
    path = tmp_path / "out.json"
    command = ["constraints", "-d", "threshold", "-n", "2", "--timed", "1", "--length", "24", "-o", str(path), "--json"]
    done = CliRunner().invoke(bench, command)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["rows"][0]["valid"], said["overhead"][0]["schemas"]) == (2, 1)
    assert "| `threshold` | 2 of 2 |" in constraints_section(path)


def test_a_schema_that_refers_to_itself_is_bounded():
    made = {"$defs": {"t": {"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
    a = compiled("schema", schema_pattern("schema", made), CHARACTERS, 96, (END,))
    row = decode(TOY, Constrained(get("threshold"), a, 24), ((1,),), length=24)[0]
    jsonschema.validate(json.loads(written(row.tokens)), made)


# --- with a model
# ----------------------------------------------------------------------------------------------------------


def test_the_spellings_of_a_vocabulary_write_its_texts():
    loaded = Generator("nano").loaded
    known = spellings(loaded.tokenizer, loaded.model.vocab, loaded.never)
    text = 'Anna is 31: {"age": 31}é'
    assert b"".join(known[t] for t in loaded.tokenizer.encode(text)).decode() == text
    assert not set(known) & {*loaded.never}


def test_the_bytes_of_a_byte_level_vocabulary():
    table = unicode_bytes()
    assert len(table) == len(set(table.values())) == 256
    assert (table["Ġ"], table["Ċ"], table["a"]) == (0x20, 0x0A, 0x61)


def test_a_generator_writes_what_the_schema_says(tmp_path):
    path = tmp_path / "person.json"
    parts = {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}}
    made = {"type": "object", "properties": parts, "required": list(parts)}
    path.write_text(json.dumps(made))
    for out in Generator("nano", "threshold", constraint=f"json:{path}")(
        ["Extract: Anna is 31 years old.", "x"], length=24, seed=1
    ):
        jsonschema.validate(json.loads(out.text), made)


def test_everything_behind_the_first_colon_is_literal():
    assert constraint_of("regex:a:b,c=(d)") == Regex("a:b,c=(d)")
    assert constraint_of("json:C:/x.json") == JsonSchema("C:/x.json")


def test_a_template_is_filled_in(tmp_path):
    path = tmp_path / "form.txt"
    path.write_text('{"name": "{{2}}", "age":{{1}}}\n')
    out = Generator("nano", "threshold", constraint=f"template:{path}")("Extract: Anna is 31 years old.")[0]
    assert re.fullmatch(r'\{"name": ".*", "age":.*\}', out.text)
    assert out.generated_tokens == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("regex:[a", "the regular expression '\\[a': "),
        ("json:nowhere.json", "json:nowhere.json cannot be read: No such file"),
        ("regex", "cannot read the constraint 'regex'; write json:..., regex:..., template:..."),
        ("xml:a", "unknown constraint 'xml'"), ("template:nowhere.txt", "cannot be read"),
    ],
)
def test_bad_constraints_are_one_line(spec, message):
    with pytest.raises(UsageError, match=message) as e:
        Generator("nano", constraint=spec)("x", length=8)
    assert "\n" not in str(e.value)


def test_a_constraint_and_holes_exclude_each_other():
    with pytest.raises(UsageError, match="cannot be used with infill"):
        Generator("nano", constraint="regex:a")("a <|mask|>", infill=True)


def test_a_template_without_a_hole_and_a_prompt_with_one_are_refused(tmp_path):
    path = tmp_path / "form.txt"
    path.write_text("nothing")
    with pytest.raises(UsageError, match="has no hole"):
        Generator("nano", constraint=f"template:{path}")("x")
    path.write_text("a {{1}}")
    with pytest.raises(UsageError, match="the holes are those of the template"):
        Generator("nano", constraint=f"template:{path}")("x <|mask|>")


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_files_are_read_as_editors_save_them(tmp_path, mark, end):
    (tmp_path / "s.json").write_bytes(mark + b'{"type": "string",' + end + b'"enum": ["a", "b"]}' + end)
    assert JsonSchema(str(tmp_path / "s.json")).automaton(CHARACTERS, 96, (END,)).shortest(9) == 3
    (tmp_path / "t.txt").write_bytes(mark + b"x: {{2}}" + end + b"y: {{1}}" + end)
    loaded = Generator("nano").loaded
    canvas = constraint_of(f"template:{tmp_path / 't.txt'}").canvas(loaded.tokenizer.inner, "<|mask|>")
    assert loaded.tokenizer.decode(canvas) == "x: <|mask|><|mask|>\ny: <|mask|>"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("json", b'{"const": NaN}', "not JSON: NaN is no number"), ("json", b"[" * 100_000, "nested too deeply"),
        ("json", b"\xff\xfe{\x00", "is not UTF-8 text"),
        ("json", b'{"maxLength": 1e999}', "the number 1e999 is too large"),
        ("template", b"a {{99999999999999}}", "leaves 999999999 tokens open"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path, name, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError, match=message) as e:
        Generator("nano", constraint=f"{name}:{tmp_path / 'file'}")("a", length=8)
    assert "\n" not in str(e.value)
