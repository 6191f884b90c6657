"""Tools of a chat: the answer is a call, as the schema of the function says, or may be one."""

from __future__ import annotations

import json

import pytest

from decoders import Generator
from decoders.serve.tools import Calling, call
from support.marks import slow
from support.serving import started

ASKED = [{"role": "user", "content": "Extract: Eva aged 31 is a dentist from Vienna."}]


def tool(name, /, **properties):
    parameters = {
        "type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties), "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = [tool("age", age="integer"), tool("name", name="string")]


@pytest.fixture(scope="module")
def chat(chat_model):
    found, end = started(Generator(str(chat_model), slots=2))
    yield found
    end()


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "age"}}])
def test_an_answer_is_a_call(chat, choice):
    made = chat.client.chat.completions.create(
        model=chat.app.name, messages=ASKED, tools=TOOLS, tool_choice=choice, max_tokens=64
    )
    (choice_made,) = made.choices
    (call,) = choice_made.message.tool_calls
    assert choice_made.finish_reason == "tool_calls"
    assert choice_made.message.content is None
    arguments = json.loads(call.function.arguments)
    assert (call.function.name, list(arguments)) in [("age", ["age"]), ("name", ["name"])]
    if choice != "required":
        assert isinstance(arguments["age"], int)


def test_without_tools_an_answer_is_a_text(chat):
    made = chat.client.chat.completions.create(
        model=chat.app.name, messages=ASKED, tools=TOOLS, tool_choice="none", max_tokens=32
    )
    assert made.choices[0].message.tool_calls is None
    assert made.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("choice", [None, *slow("auto")])
def test_an_answer_may_be_a_call(chat, choice):
    """nano begins its answer to the one task with a brace, and to the other with a letter."""
    more = {"tool_choice": choice} if choice else {}
    calls, text = (
        chat.client.chat.completions.create(
            model=chat.app.name, messages=m, tools=TOOLS, max_tokens=64, extra_body={"decoder": "left_to_right"}, **more
        ).choices[0]
        for m in (ASKED, [{"role": "user", "content": "Sort: d b a c"}])
    )
    assert (text.message.content, text.message.tool_calls, text.finish_reason) == (" a b c d", None, "stop")
    (call,) = calls.message.tool_calls
    assert calls.finish_reason == "tool_calls"
    assert call.function.name in json.loads(call.function.arguments) != {}


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["threshold", "llada:temperature=1.0"])
def test_what_may_be_a_call_is_a_whole_one_or_none(chat, decoder):
    for seed in range(3):
        body = {"messages": ASKED, "tools": TOOLS, "max_tokens": 64, "seed": seed, "decoder": decoder}
        message = chat.http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        if message["content"] is None:
            (call,) = message["tool_calls"]
            assert list(json.loads(call["function"]["arguments"])) == [call["function"]["name"]]
        else:
            assert not message["content"].lstrip().startswith("{")


@pytest.mark.parametrize("decoder", ["left_to_right", *slow("threshold")])
@pytest.mark.parametrize("content", [ASKED[0]["content"], *slow("Sort: d b a c")])
def test_a_stream_of_a_call_says_what_the_whole_says(chat, decoder, content):
    how = {
        "model": chat.app.name, "messages": [{"role": "user", "content": content}], "tools": TOOLS, "max_tokens": 64,
        "seed": 0, "extra_body": {"decoder": decoder},
    }
    whole = chat.client.chat.completions.create(**how).choices[0]
    text, calls, reason = "", [], None
    for chunk in chat.client.chat.completions.create(stream=True, **how):
        (choice,) = chunk.choices
        text, reason = text + (choice.delta.content or ""), choice.finish_reason
        calls += choice.delta.tool_calls or []
    assert (text, reason) == (whole.message.content or "", whole.finish_reason)
    if whole.message.tool_calls is None:
        assert calls == []
        return
    (call,) = whole.message.tool_calls
    assert calls[0].id
    assert [c.id for c in calls[1:]] == [None] * (len(calls) - 1)
    assert {c.index for c in calls} == {0}
    assert calls[0].function.name == call.function.name
    assert "".join(c.function.arguments for c in calls) == call.function.arguments
    if decoder == "left_to_right":
        assert len(calls) > 5


def test_a_streamed_call_of_a_function_that_is_named(chat):
    choice = {"type": "function", "function": {"name": "age"}}
    chunks = chat.client.chat.completions.create(
        model=chat.app.name, messages=ASKED, tools=TOOLS, tool_choice=choice, max_tokens=64, stream=True, n=2
    )
    found = ["", ""]
    for chunk in chunks:
        for c in chunk.choices:
            found[c.index] += "".join(call.function.arguments for call in c.delta.tool_calls or [])
    assert [list(json.loads(x)) for x in found] == [["age"]] * 2


def test_a_conversation_goes_on_after_a_call(chat):
    function = {"name": "age", "arguments": '{"age": 31}'}
    told = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "a", "content": "Sort: d b a c"},
    ]
    made = chat.client.chat.completions.create(model=chat.app.name, messages=told, tools=TOOLS, max_tokens=16)
    assert made.choices[0].message.content == " a b c d"
    told[1]["tool_calls"][0]["function"] = {"name": "age"}
    answer = chat.http.post("/v1/chat/completions", json={"messages": told})
    assert answer.json()["error"]["message"] == "messages[1].tool_calls[0].function.arguments is missing"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"name": "f", "arguments": {"a": {"b": "}"}}}', ("f", '{"a": {"b": "}"}}')),
        ('{ "name" : "f\\"" , "arguments" : {} }', ('f"', "{}")),
        ('{"name": "f", "arguments": {"a": 1}', None), ('{"name": 3, "arguments": {}}', None), ("[1]", None),
        ("", None),
    ],
)
def test_a_call_is_read_and_grows(text, found):
    told = call(text)
    assert (told and (told[0]["function"]["name"], told[0]["function"]["arguments"])) == found
    if found:
        calling, pieces = Calling(), ""
        for end in range(len(text) + 1):
            pieces += "".join(x["function"]["arguments"] for x in calling(text[:end], ended=end == len(text)))
        assert pieces == found[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tool_choice": "required"}, "there are no tools"), ({"tool_choice": "auto"}, "there are no tools"),
        ({"tools": [{}], "tool_choice": "none"}, "tools[0]"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "no such function"),
        ({"tools": TOOLS, "tool_choice": {"type": "x"}}, "tool_choice must be"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice must be"),
        ({"tools": TOOLS, "stream": True, "diffusing": True}, "an answer that may be a call has no drafts"),
        ({"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}}, "take one"),
    ],
)
def test_tools_that_cannot_be_had(chat, more, message):
    answer = chat.http.post("/v1/chat/completions", json={"messages": ASKED, **more})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
