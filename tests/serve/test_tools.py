"""Tools of a chat: the answer is a call, as the schema of the function says; and Mercury's completion in the middle."""

from __future__ import annotations

import json

import pytest

from decoders import Generator
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


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tools": TOOLS}, "auto is not supported"), ({"tools": TOOLS, "tool_choice": "auto"}, "auto is not supported"),
        ({"tool_choice": "required"}, "auto is not supported"), ({"tools": [{}], "tool_choice": "none"}, "tools[0]"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "no such function"),
        ({"tools": TOOLS, "tool_choice": {"type": "x"}}, "tool_choice must be"),
        ({"tools": TOOLS, "tool_choice": "required", "stream": True}, "not streamed"),
        ({"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}}, "take one"),
    ],
)
def test_tools_that_cannot_be_had(chat, more, message):
    answer = chat.http.post("/v1/chat/completions", json={"messages": ASKED, **more})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_the_middle_of_a_text(server):
    body = {"model": "nano", "prompt": "Sort: d b a c\n a", "suffix": " c d", "max_tokens": 1}
    answer = server.http.post("/v1/fim/completions", json=body)
    assert answer.json()["choices"][0]["text"] == " b"
    del body["suffix"]
    assert server.http.post("/v1/fim/completions", json=body).json()["error"]["param"] == "suffix"
