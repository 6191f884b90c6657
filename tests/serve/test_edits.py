"""What Mercury has beside completions: the middle of a text, a region written anew, an update that is merged."""

from __future__ import annotations

import pytest
from openai.types.chat import ChatCompletion

from decoders.serve.edits import GROWTH, Region, Update
from decoders.serve.refusals import RefusedError
from support.marks import slow

MARK = "// ... existing code ..."
CODE = "def add(a, b):\n    c = a + b\n    return c\n\ndef one():\n    return 1"
EDIT, APPLY = "/v1/edit/completions", "/v1/apply/completions"


def message(content):
    return {"messages": [{"role": "user", "content": content}], "seed": 0}


def region(code, above="", below="", snippets="", history=""):
    return (
        f"<|recently_viewed_code_snippets|>\n{snippets}\n<|/recently_viewed_code_snippets|>\n\n"
        f"<|current_file_content|>\n{above}<|code_to_edit|>\n{code}\n<|/code_to_edit|>\n{below}\n"
        f"<|/current_file_content|>\n\n<|edit_diff_history|>\n{history}\n<|/edit_diff_history|>"
    )


def update(snippet, original=CODE):
    return f"<|original_code|>\n{original}\n<|/original_code|>\n\n<|update_snippet|>\n{snippet}\n<|/update_snippet|>"


def test_the_middle_of_a_text(server):
    body = {"model": "nano", "prompt": "Sort: d b a c\n a", "suffix": " c d", "max_tokens": 1}
    answer = server.http.post("/v1/fim/completions", json=body)
    assert answer.json()["choices"][0]["text"] == " b"
    empty = server.http.post("/v1/fim/completions", json=body | {"suffix": "", "max_tokens": 16}).json()
    assert empty["choices"][0]["text"] == " b c d"
    del body["suffix"]
    assert server.http.post("/v1/fim/completions", json=body).json()["error"]["param"] == "suffix"


@pytest.mark.parametrize("stream", [False, True])
def test_the_middle_ends_before_a_stop_string(server, stream):
    how = {"model": "nano", "prompt": "Sort: e b a d f c\n a", "suffix": " f", "max_tokens": 4}
    (plain,) = server.client.completions.create(**how).choices
    assert plain.text == " b c d e"
    made = server.client.completions.create(**how, stop=[" d", "zz"], stream=stream)
    chunks = list(made) if stream else [made]
    assert "".join(c.choices[0].text for c in chunks) == " b c"
    assert chunks[-1].choices[0].finish_reason == "stop"
    if not stream:
        assert made.usage.completion_tokens == len(made.choices[0].decoding["commit_steps"]) == 2


def test_a_region_is_read():
    told = region("b = <|cursor|>2", "path: a\na = 1\n", "c = 3", "path: s\nx\n", "--- a\n+++ a\n")
    found = Region.read(told)
    assert (found.code, found.after) == ("b = 2", "c = 3")
    assert found.before == (
        "<|recently_viewed_code_snippets|>\npath: s\nx\n\n<|/recently_viewed_code_snippets|>\n\n"
        "<|edit_diff_history|>\n--- a\n+++ a\n\n<|/edit_diff_history|>\n\n"
        "<|code_to_edit|>\nb = <|cursor|>2\n<|/code_to_edit|>\n\npath: a\na = 1\n"
    )
    assert Region.read(region("<|cursor|>", "a = 1\n", "c = 3")) == Region("a = 1\n", "", "c = 3")
    assert found.sizes(3, None) == [2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20]
    assert found.sizes(20, 22) == [13, 17, 19, 20, 21, 22]


def test_a_region_at_the_end_of_a_file_is_as_long_as_it_will_be(server, alone):
    prompt = "Sort: k c x a t\n"
    body = message(region("<|cursor|>", prompt)) | {"max_tokens": 16}
    made = server.client.post("/edit/completions", cast_to=ChatCompletion, body=body)
    (own,) = alone(prompt, length=16)
    (choice,) = made.choices
    assert (choice.message.role, choice.message.content) == ("assistant", f"```\n{own.text}\n```")
    assert (made.usage.completion_tokens, made.usage.forwards) == (own.generated_tokens, own.nfe)


@pytest.mark.parametrize("stream", [False, *slow(True)])
def test_a_region_inside_a_file_has_the_likeliest_length(server, alone, stream):
    above, below = "Sort: k c x a t\n", "Reverse: a b"
    body = {**message(region("<|cursor|>", above, below)), "decoder": "llada", "stream": stream}
    answer = server.http.post(EDIT, json=body)
    before = len(alone.encode(above))
    ways = []
    for n in (more + 1 for more in GROWTH if more > 0):
        (g,) = alone(above + alone.mask * n + below, infill=True, logprobs=True, decoder="llada")
        text = alone.loaded.tokenizer.decode(g.tokens[before : before + n])
        ways.append((text.endswith("\n"), sum(g.logprobs) / n, text.rstrip("\n")))
    best = max(ways)[2]
    if stream:
        assert f'"content": "```\\n{best}\\n```"' in answer.text
        assert answer.text.endswith("data: [DONE]\n\n")
    else:
        assert answer.json()["choices"][0]["message"]["content"] == f"```\n{best}\n```"


def test_an_update_is_read():
    assert Update.read(update("x")).pieces == (("x",),)
    assert (Update.read(update("x")).opens, Update.read(update("x")).closes) == (True, True)
    found = Update.read(update(f"a\n{MARK}\nb\n\nc\n  # ... existing code ...\n"))
    assert (found.pieces, found.opens, found.closes) == ((("a",), ("b", "", "c")), False, False)
    found = Update.read(update(f"{MARK}\na\n<!-- ... existing code ... -->"))
    assert (found.pieces, found.opens, found.closes) == ((("a",),), True, True)


def test_an_update_whose_place_is_marked_is_merged_there(server):
    new = "def add(a, b):\n    # checked\n    c = a + b"
    body = message(update(f"{MARK}\n{new}\n{MARK}")) | {"timeout": 60}
    (choice,) = server.client.post("/apply/completions", cast_to=ChatCompletion, body=body).choices
    assert choice.message.content == CODE.replace("def add(a, b):\n    c = a + b", new)
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("decoder", ["threshold", "llada:temperature=1.0,steps=8"])
def test_new_lines_are_put_somewhere_between_the_others(server, decoder, stream):
    new, lines = "d e\nf", ["a b", "c", ""]
    body = {**message(update(f"{MARK}\n{new}\n{MARK}", "\n".join(lines))), "decoder": decoder, "stream": stream}
    answer = server.http.post(APPLY, json=body)
    places = ["\n".join([*lines[:i], new, *lines[i:]]) for i in range(len(lines) + 1)]
    if stream:
        assert sum(p.replace("\n", "\\n") in answer.text for p in places) == 1
    else:
        assert answer.json()["choices"][0]["message"]["content"] in places


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (EDIT, message("x"), "one part between <|current_file_content|>"),
        (EDIT, message("<|current_file_content|>x<|/current_file_content|>"), "<|code_to_edit|>"),
        (EDIT, message(region("a", "<|code_to_edit|>")), "one part between <|code_to_edit|>"),
        (EDIT, message(region("a", "<|mask|>", "b")), "neither text can hold <|mask|>"),
        (EDIT, message(region("a " * 20)) | {"max_tokens": 9}, "tokens, and max_tokens is 9"),
        (EDIT, message(region("a")) | {"diffusing": True}, "there is no field 'diffusing'"),
        (EDIT, {"messages": [{"role": "system", "content": "a"}]}, "one message of the role user"),
        (EDIT, {"prompt": "a"}, "messages is missing"),
        (APPLY, message("<|original_code|>x<|/original_code|>"), "<|update_snippet|>"),
        (APPLY, message("<|/original_code|>x<|original_code|>"), "<|original_code|>"),
        (APPLY, message(update(MARK)), "no code that is not there already"),
        (APPLY, message(update("x")) | {"max_tokens": 5}, "needs at least"),
        (APPLY, message(update("x", "a\n" * 100_000)), "beyond the 1024 of the model"),
        (APPLY, message(update(f"    return 1\n{MARK}\ndef add(a, b):")), "no text that the merge"),
        (APPLY, message(update("x")) | {"logprobs": True}, "there is no field 'logprobs'"),
    ],
)
def test_what_cannot_be_edited(server, path, body, said):
    answer = server.http.post(path, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_an_update_of_nothing_is_refused():
    with pytest.raises(RefusedError, match="no code that is not there already"):
        Update.read(update(f"{MARK}\n\n{MARK}"))
