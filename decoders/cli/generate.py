"""`decoders generate`: text from prompts, from the command line or from a file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decoders import catalogue
from decoders.cli.options import loading, shared
from decoders.errors import RowError, UsageError

if TYPE_CHECKING:
    from decoders.generator import Generator
    from decoders.job import Result
    from decoders.text.records import Generation

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option(
    "-d", "--decoder", "spec", default="threshold", show_default=True, metavar="SPEC",
    help="The decoding strategy; see `decoders list`.",
)
@click.option("--temperature", type=float, metavar="T", help="The decoder's option of that name.")
@click.option(
    "--top-p", type=float, metavar="P", help="The decoder's option of that name, else that of `nucleus` around it."
)
@click.option(
    "--top-k", type=int, metavar="K", help="The decoder's option of that name, else that of `nucleus` around it."
)
@shared
@click.option(
    "--batch", type=click.IntRange(min=1), default=8, show_default=True, metavar="N",
    help="Number of prompts that are decoded at a time.",
)
@click.option("--stream", is_flag=True, help="Print text as soon as it is final.")
@click.option("--watch", "watching", is_flag=True, help="Show the canvas after each forward, slowly on a terminal.")
@click.option("--graph", is_flag=True, help="Run steps as captured CUDA graphs, which are faster on a GPU.")
@click.option(
    "--poll", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N",
    help="Check for finished rows and stop strings every N forwards.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the model with torch.compile.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per prompt.")
@click.option("--logprobs", is_flag=True, help="With --json or --output: add the log probability of each token.")
@click.option("--trace", type=FILE, metavar="FILE", help="Record the changes of every forward, as JSON lines.")
@click.option("--input", "source", type=FILE, metavar="FILE.jsonl", help="Read prompts from this file; see above.")
@click.option("--output", "target", type=FILE, metavar="FILE.jsonl", help="Append results to this file.")
def generate(
    prompts: tuple[str, ...], spec: str, temperature: float | None, top_p: float | None, top_k: int | None, model: str,
    cache: str | None, guidance: float, chat: bool | None, constraint: str | None, batch: int, stream: bool,
    watching: bool, as_json: bool, trace: Path | None, source: Path | None, target: Path | None, **how: Any,
) -> None:
    """Decode each PROMPT.

    The text goes to stdout, and its cost to stderr. The mask token and the unknown token are never generated.

    --json prints text, tokens (ids), nfe (forward passes), generated_tokens, tokens_per_forward, seconds (wall time
    from the prompt's first forward to its last), finish_reason (stop, length or max_steps), decoder, cache, seed,
    positions_computed (positions that the model computed, in all forwards), cache_hit_rate (the share of positions
    whose stored keys and values were read instead), flops, kv_bytes (the size of this row's KV cache; 0 if nothing is
    stored). With --logprobs it adds, for each generated token, logprobs (at temperature 1, in the forward that
    committed it; null if that forward did not predict it) and commit_steps (the forward that committed it, counted from
    0), and revisions (the number of decided positions that were changed or reopened). A decoder with several kinds of
    forwards adds forwards, the number of each kind.

    If the decoder asks for a reasoner, the reasoner's text goes to stderr, and --json has more keys: reasoning (the
    text), reasoning_tokens and reasoning_seconds (which are not counted elsewhere), reasoning_finish_reason and
    reasoner. Prompts for which the reasoner failed are reported at the end, and so are prompts for which the model's
    logits are not finite or the decoder makes no progress; the exit code is then 1.

    --input: every line is an object {"prompt": ...} or {"messages": [{"role": ..., "content": ...}, ...]}, and may have
    an "id", which is copied to the result, and a "seed". Each result is appended to --output at once, with its "index"
    in the input, counted from 0; at the end the results are sorted by index. The same command continues where an
    interrupted one stopped. Lines that cannot be decoded are reported and left out, and the exit code is then 1.
    """
    check_flags(prompts, stream, watching, as_json, trace, source, target, how["infill"], how["logprobs"])
    catalogue.check("strategies", spec)
    from decoders.registry import unfolded
    from decoders.settings import with_options

    decoder, options = with_options(spec, temperature=temperature, top_p=top_p, top_k=top_k), loading(how)
    cache = cache or unfolded(spec)[1]
    speed = {"graph": how.pop("graph"), "poll": how.pop("poll"), "compile": how.pop("compiled")}
    if speed["graph"]:
        click.get_current_context().with_resource(warnings_in_a_line())
    about: dict[str, Any] = {"guidance": guidance, "chat": chat, **({"constraint": constraint} if constraint else {})}

    def make() -> Generator:
        from decoders.cli.threads import one_thread_if_small
        from decoders.generator import Generator

        generator = Generator(model, decoder, cache, **about, **options, **speed)
        one_thread_if_small(generator.loaded.model)
        return generator

    if source and target:
        from decoders.cli.batch import run

        failed = run(source, target, make, {**about, "dtype": options.get("dtype"), **how}, how, batch)
    else:
        problems = printed(make(), prompts, how, batch, as_json, stream, watching, trace)
        for problem in problems:
            click.echo(f"Error: {problem}", err=True)
        failed = len(problems)
    if failed:
        raise click.exceptions.Exit(1)


def check_flags(
    prompts: Sequence[str], stream: bool, watching: bool, as_json: bool, trace: Path | None, source: Path | None,
    target: Path | None, infill: bool, logprobs: bool,
) -> None:
    """Raises `UsageError` for flags that cannot be combined."""
    if source or target:
        if not (source and target):
            raise UsageError("--input and --output go together")
        if prompts or stream or watching or trace:
            raise UsageError("--input takes no PROMPT, --stream, --watch or --trace")
    elif not prompts:
        raise UsageError("give a PROMPT, or --input and --output")
    if stream + watching + as_json > 1:
        raise UsageError("--stream, --watch and --json exclude each other")
    if logprobs and not (as_json or target):
        raise UsageError("--logprobs needs --json or --output")
    if stream and infill:
        raise UsageError("holes do not settle from left to right, so --infill cannot --stream; try --watch")


def printed(
    generator: Generator, prompts: Sequence[str], how: dict[str, Any], batch: int, as_json: bool, stream: bool,
    watching: bool, trace: Path | None,
) -> list[str]:
    """Decode prompts and print their results; returns the errors of prompts for which the reasoner or the model failed.
    Raises `UsageError` for any other prompt that cannot be decoded, if possible before anything is decoded."""
    from decoders.cli.audience import Audience
    from decoders.cli.tell import tell
    from decoders.cli.trace import opened
    from decoders.reasoning.base import ReasonerError
    from decoders.text.records import or_raise

    for prompt in prompts:
        generator.encode(prompt, how["length"], how["infill"])
    failed, count = list[str](), 0
    with ExitStack() as stack:
        file = stack.enter_context(opened(trace)) if trace else None
        audience = stack.enter_context(Audience(generator, how, stream, watching, file))
        results = generator.run(prompts, batch=audience.batch(batch), **how, **audience.listeners)
        for index, made in in_order(audience.heard(results)):
            count += 1
            if isinstance(made, ReasonerError | RowError):
                failed.append(f"prompt {index + 1}: {made}")
            else:
                tell(or_raise(made), as_json, shown=stream or watching, printed=stream)
    if count < len(prompts):
        failed.append(f"{len(prompts) - count} more prompts were not tried")
    return failed


def in_order(results: Iterable[Result]) -> Iterator[Result]:
    """Results in order of their index, each as soon as those before it are finished."""
    held: dict[int, Generation | UsageError] = {}
    expected = 0
    for index, made in results:
        held[index] = made
        while expected in held:
            yield expected, held.pop(expected)
            expected += 1
    yield from sorted(held.items())


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Warnings go to stderr, without their place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *args, **kwargs: click.echo(f"Warning: {message}", err=True)
        yield
