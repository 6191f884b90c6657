"""`decoders decide`: the probabilities of answers to questions about a text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, BinaryIO

import click

from decoders.cli.options import loading, model_options
from decoders.errors import UsageError


@click.command()
@model_options
@click.argument("request", type=click.File("rb"), metavar="FILE")
def decide(model: str, request: BinaryIO, **how: Any) -> None:
    """Answer questions about a text with probabilities, in one forward for each question.

    FILE (- is stdin) is a request in the form of OpenAI's Decisions API, and so is the answer: {"input": TEXT,
    "questions": [{"type": "predicate", "instructions": TEXT}, {"type": "choice", "instructions": TEXT, "choices":
    [{"value": TEXT}, ...]}, {"type": "score", "instructions": TEXT, "levels": [{"label": TEXT}, ...]}]}.
    """
    from decoders.cli.threads import one_thread_if_small
    from decoders.files import parsed
    from decoders.generator import Generator
    from decoders.serve.openai_decisions import openai_answers, read_openai
    from decoders.serve.refusals import RefusedError

    try:
        body = parsed(request.read())
        if isinstance(body, dict):
            body.pop("model", None)  # -m chooses it
        asked = read_openai(body, "")
    except (ValueError, RefusedError) as e:
        raise UsageError(f"{request.name}: {e}") from None
    generator = Generator(model, **loading(how))
    one_thread_if_small(generator.loaded.model)
    made = generator.decide(asked.state, asked.questions)
    click.echo(json.dumps(openai_answers(replace(asked, model=generator.loaded.name), made), ensure_ascii=False))
