"""`decoders decide`."""

from __future__ import annotations

import json

import pytest

from decoders import Generator
from decoders.decide import Choice
from support.commands import call

ASKED = {"input": "k c", "questions": [
    {"type": "choice", "name": "q", "instructions": "Which?", "choices": [{"value": "x"}, {"value": "y"}]}
]}  # fmt: skip


def test_answers_are_those_of_the_generator(tmp_path):
    file = tmp_path / "request.json"
    file.write_text(json.dumps({**ASKED, "model": "gpt"}))
    done = call("decide", str(file))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    (answer,) = told["answers"]
    own = Generator("nano").decide("k c", [Choice("Which?", {"x": None, "y": None})])["0"]
    assert [p["probability"] for p in answer["probabilities"]] == pytest.approx(own.probabilities, rel=1e-3)
    assert (told["model"], answer["name"], answer["choice"]) == ("nano", "q", own.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"), ("[]", "must be a JSON object"), ('{"input": "a"}', "1 to 400 questions"),
        (json.dumps({**ASKED, "input": "a " * 3000}), "question '0': the text and the question have"),
    ],
)
def test_mistakes_are_one_line(tmp_path, text, message):
    file = tmp_path / "request.json"
    file.write_text(text)
    done = call("decide", str(file))
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
