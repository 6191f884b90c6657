"""`decoders compare`: one prompt under several decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from decoders import catalogue
from decoders.cli.options import loading, shared
from decoders.cli.terminal import table
from decoders.errors import UsageError


@click.command()
@click.argument("prompt")
@click.option(
    "-d", "--decoder", "specs", multiple=True, metavar="SPEC",
    help="A decoder to compare; give the option once for each.",
)
@shared
def compare(
    prompt: str, specs: tuple[str, ...], model: str, cache: str, guidance: float, chat: bool | None,
    constraint: str | None, **how: Any
) -> None:
    """Decode PROMPT with several decoders, and show text, forward passes (NFE), tokens per forward, seconds, and
    agreement with the first, which is the share of positions with the same generated token."""
    if not specs:
        raise UsageError("name the decoders to compare: -d threshold -d left_to_right")
    for spec in specs:
        catalogue.check("strategies", spec)
    from decoders.cli.threads import one_thread_if_small
    from decoders.generator import Generator
    from decoders.models.source import load_model

    loaded = load_model(model, **loading(how))
    one_thread_if_small(loaded.model)
    generators = [Generator(loaded, spec, cache, guidance=guidance, chat=chat, constraint=constraint) for spec in specs]
    # the first forward of a process is slow, and would count for the first decoder
    generators[0](prompt, **{**how, "max_steps": 1})
    made = [g(prompt, **how)[0] for g in generators]
    given = set()  # positions whose token was not generated
    if how["infill"]:
        given = {
            i
            for i, t in enumerate(generators[0].encode(prompt, how["length"], infill=True))
            if t != loaded.model.mask_id
        }
    tokens = [[t for i, t in enumerate(g.tokens) if i not in given] for g in made]
    rows = [
        (
            g.decoder, g.text, str(g.nfe), f"{g.tokens_per_forward:.2f}", f"{g.seconds:.3f}",
            f"{agreement(own, tokens[0]):.0%}",
        )
        for g, own in zip(made, tokens, strict=True)
    ]
    table(("decoder", "text", "NFE", "tokens/forward", "seconds", "agreement"), rows)


def agreement(a: Sequence[int], b: Sequence[int]) -> float:
    """The share of positions with the same token, of the longer text; 1 if both are empty."""
    return sum(x == y for x, y in zip(a, b, strict=False)) / max(len(a), len(b)) if a or b else 1.0
