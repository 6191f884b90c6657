"""The output for a result: the text on stdout and its cost on stderr, or a line of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from decoders.errors import several
from decoders.reasoning.base import Reasoning

if TYPE_CHECKING:
    from decoders.text.records import Generation


def show_reasoning(reasoning: Reasoning | None) -> None:
    """Print it to stderr, so that stdout has only texts."""
    if reasoning:
        click.secho(reasoning.text, dim=True, err=True)


def tell(made: Generation, as_json: bool, shown: bool, printed: bool) -> None:
    """Print the result of one prompt. `shown`: its reasoning was printed already; `printed`: so was the text."""
    if as_json:
        click.echo(json.dumps(made.record(), ensure_ascii=False))
        return
    if not shown:
        show_reasoning(made.reasoning)
    if not printed:
        click.echo(made.text)
    if r := made.reasoning:
        count = "" if r.tokens is None else f"{r.tokens} tokens, "
        click.echo(f"[reasoning by {r.reasoner}: {count}{r.seconds:.2f} s, {r.finish_reason}]", err=True)
    kinds = f" ({', '.join(f'{n} {kind}' for kind, n in made.forwards.items())})" if made.forwards else ""
    click.echo(
        f"[{made.decoder}: {several(made.nfe, 'forward')}{kinds}, {several(made.generated_tokens, 'token')}, "
        f"{made.tokens_per_forward:.2f} tokens per forward, {made.seconds:.2f} s, {made.positions_computed} positions "
        f"computed, {made.cache_hit_rate:.0%} from the cache {made.cache}, {made.finish_reason}]",
        err=True,
    )
