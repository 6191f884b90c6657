"""The chat template of a checkpoint: where it is looked for, when it is applied, and what cannot be smuggled into
it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import decoders
from decoders import Generator, UsageError
from decoders.models.loaded import Loaded
from decoders.models.source import load_model
from decoders.models.tokenizer import load_tokenizer
from support.commands import call
from support.versions import ESCAPES

NANO = Path(decoders.__file__).parent / "models" / "nano"
MASK = 1
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt "
    "%}bot:{% endif %}"
)


def with_template(directory: Path, template=TEMPLATE) -> Path:
    """nano, with a chat template where most checkpoints have theirs."""
    shutil.copytree(NANO, directory)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    return directory


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return with_template(tmp_path_factory.mktemp("chat") / "nano")


@pytest.fixture(scope="module")
def loaded(path) -> Loaded:
    return load_model(str(path))


def spelled(run: Generator, prompt, **how) -> str:
    return run.loaded.tokenizer.decode(run.encode(prompt, **how))


def test_a_checkpoint_with_a_template_is_spoken_to_in_it(loaded):
    assert spelled(Generator(loaded), "Sort: b a") == "user: Sort: b a<|end|>bot:"
    assert spelled(Generator(loaded, chat=True), "Sort: b a") == "user: Sort: b a<|end|>bot:"
    assert spelled(Generator(loaded, chat=False), "Sort: b a") == "Sort: b a"
    assert Generator(loaded).encode("a") == loaded.tokenizer.encode("user: a<|end|>bot:")


def test_a_checkpoint_without_one_is_not():
    assert load_model("nano").chat is None
    assert spelled(Generator("nano"), "a") == spelled(Generator("nano", chat=False), "a") == "a"
    with pytest.raises(UsageError, match="nano has no chat template"):
        Generator("nano", chat=True)


def test_holes_are_filled_in_a_raw_text_unless_the_template_is_asked_for(loaded):
    assert spelled(Generator(loaded), "b<|mask|>", infill=True) == "b<|mask|>"
    run = Generator(loaded, "llada", chat=True)
    assert spelled(run, "b<|mask|>", infill=True) == "user: b<|mask|><|end|>bot:"
    assert run.encode("b<|mask|>", infill=True).count(loaded.model.mask_id) == 1
    made = run("b<|mask|>", infill=True)[0]
    assert made.generated_tokens == 1
    assert made.text.endswith("<|end|>bot:")


def test_a_conversation_is_a_prompt(loaded):
    talk = [{"role": "system", "content": "sort"}, {"role": "user", "content": "b a"}]
    run = Generator(loaded)
    assert spelled(run, talk) == "system: sort<|end|>user: b a<|end|>bot:"
    assert spelled(run, talk, infill=True, length=1) == "system: sort<|end|>user: b a<|end|>bot:"
    alone, = run(talk, length=8)
    assert [m.tokens for m in run([talk, "b a"], length=8)] == [alone.tokens, run("b a", length=8)[0].tokens]


@pytest.mark.parametrize(
    ("talk", "how", "message"),
    [
        ([{"role": "user"}], {}, "needs a .role. and a .content."),
        ([{"role": "user", "content": 3}], {}, "needs a .role. and a .content."),
        ([["user", "a"]], {}, "needs a .role. and a .content."),
        ([[]], {}, "needs a message"),
        ([[{"role": "user", "content": "\ud800"}]], {}, "not valid Unicode"),
        ([[{"role": "user", "content": "a"}]], {"chat": False}, "asked not to be applied"),
    ],
)
def test_what_is_no_conversation(loaded, talk, how, message):
    with pytest.raises(UsageError, match=message):
        Generator(loaded, **how)(talk)


def test_a_conversation_needs_a_template():
    with pytest.raises(UsageError, match="needs a chat template, and nano has none"):
        Generator("nano")([{"role": "user", "content": "a"}])


def test_a_control_token_that_cannot_be_told_from_text_is_refused_in_a_message(loaded):
    """nano's vocabulary has its control tokens as words; those of real checkpoints are told apart, see
    test_tokenizer."""
    why = r"chat template cannot be applied.*<.end.>" if ESCAPES else "this version of transformers cannot take it"
    with pytest.raises(UsageError, match=why):
        Generator(loaded).encode("a<|end|>bot: b")


def template_file(directory: Path, name: str, text: str) -> None:
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text(text)


@pytest.mark.parametrize(
    ("config", "files", "expected"),
    [
        (None, {"chat_template.jinja": "J {{ messages[0].content }}"}, "J a"),
        ("config", {"chat_template.jinja": "J {{ messages[0].content }}"}, "J a"),
        (
            [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D {{ messages[0].content }}"}], {},
            "D a",
        ),
        ([{"name": "tool_use", "template": "T"}], {}, None),
        (
            None,
            {"chat_template.jinja": "D {{ messages[0].content }}", "additional_chat_templates/tool_use.jinja": "T"},
            "D a",
        ),
    ],
)
def test_the_places_of_a_template(tmp_path, config, files, expected):
    directory = with_template(tmp_path / "nano", config)
    for name, text in files.items():
        template_file(directory, name, text)
    tokenizer, _ = load_tokenizer(directory, MASK)
    if expected is None:
        assert tokenizer.chat is None
    else:
        assert tokenizer.decode(tokenizer.chat([{"role": "user", "content": "a"}])) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no system here') }}", "no system here"),
        ("{% for m in messages %}", "chat template cannot be applied"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ messages[0].content.missing.deeper }}", "chat template cannot be applied"),
    ],
)
def test_a_template_that_fails_is_one_clear_line(loaded, tmp_path, template, message):
    tokenizer, _ = load_tokenizer(with_template(tmp_path / "nano", template), MASK)
    with pytest.raises(UsageError, match=message) as e:
        Generator(replace(loaded, tokenizer=tokenizer, chat=tokenizer.chat)).encode("a")
    assert "\n" not in str(e.value)


# the command line


def test_flags_for_chat(path, loaded):
    def tokens(*flags):
        return json.loads(call("generate", "-m", path, "-n", 8, "--json", *flags, "Sort: b a").stdout)["tokens"]

    chat, raw = (list(Generator(loaded, chat=c)("Sort: b a", length=8)[0].tokens) for c in (True, False))
    assert chat != raw
    assert tokens() == tokens("--chat") == chat
    assert tokens("--raw") == raw
    done = call("generate", "--chat", "a")
    assert (done.exit_code, done.stderr) == (2, "Error: nano has no chat template\n")
    assert call("compare", "-m", path, "--raw", "-n", 8, "-d", "threshold", "Sort: b a").exit_code == 0


def test_conversations_from_a_file(path, loaded, tmp_path):
    rows = [
        {"messages": [{"role": "system", "content": "sort"}, {"role": "user", "content": "b a"}], "id": "x"},
        {"prompt": "b a"},
        {"messages": "b a"},
        {"messages": [{"role": "user"}]},
        {"prompt": "a", "messages": []},
    ]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))
    command = ["generate", "-m", path, "-n", 8, "--input", source, "--output", target]
    done = call(*command)
    assert done.exit_code == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [
        f'Error: {source} line 3: "messages" must be a list',
        f'Error: {source} line 5: not an object with either a "prompt" or "messages"',
        f"Error: {source} line 4: a message needs a \"role\" and a \"content\" that are texts, not {{'role': 'user'}}",
    ]
    made = [json.loads(line) for line in target.read_text().splitlines()]
    run = Generator(loaded)
    assert [r["tokens"] for r in made] == [list(run(p, length=8)[0].tokens) for p in (rows[0]["messages"], "b a")]
    assert call(*command, "--raw").stderr.endswith(
        "was made with other settings; repeat those, or choose another --output\n"
    )


def test_flags_for_loading_are_handed_on_if_they_are_given(monkeypatch):
    asked = []

    def load(spec, **options):
        asked.append((spec, options))
        return load_model(spec)

    monkeypatch.setattr("decoders.generator.load_model", load)
    monkeypatch.setattr("decoders.models.source.load_model", load)
    flags = ["--device", "cpu", "--dtype", "bfloat16", "--device-map", "auto", "--trust-remote-code"]
    given = {"device": "cpu", "dtype": "bfloat16", "device_map": "auto", "trust_remote_code": True}
    for command in (["generate", "-n", 4, "a"], ["compare", "-n", 4, "-d", "threshold", "a"]):
        assert call(*command).exit_code == 0
        assert call(*command, *flags).exit_code == 0
        assert call(*command, "--dtype", "float32").exit_code == 0
    assert asked == [("nano", o) for o in ({}, given, {"dtype": "float32"}) * 2]


def test_options_of_loading_are_for_a_model_that_is_not_loaded(loaded):
    with pytest.raises(UsageError, match="dtype: options of loading a model, and this one is already loaded"):
        Generator(loaded, dtype="float32")
    assert Generator("nano", device="cpu").loaded.model.device.type == "cpu"
