"""`decoders generate`: text from prompts, from the command line or from a file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from decoders.cli.options import loading, shared, with_options
from decoders.core import Forward, Pred, UsageError
from decoders.reasoning.base import ReasonerError, Reasoning

if TYPE_CHECKING:
    from decoders.core import Canvas
    from decoders.generator import Generation, Generator, Watch

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option("-d", "--decoder", "spec", default="threshold", show_default=True, metavar="SPEC", help="How to decode; see `decoders list`.")
@click.option("--temperature", type=float, metavar="T", help="The decoder's option of that name.")
@click.option("--top-p", type=float, metavar="P", help="The decoder's option of that name.")
@click.option("--top-k", type=int, metavar="K", help="The decoder's option of that name.")
@shared
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Prompts that are decoded together.")
@click.option("--stream", is_flag=True, help="Print the text as it settles.")
@click.option("--watch", "watching", is_flag=True, help="Show the canvas as it denoises, slowed down on a terminal.")
@click.option("--graph", is_flag=True, help="Run steps as captured CUDA graphs.")
@click.option("--poll", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Look at the host every N forwards.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the model with torch.compile.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per prompt.")
@click.option("--trace", type=FILE, metavar="FILE", help="Write what every forward changed, as JSON lines.")
@click.option("--input", "source", type=FILE, metavar="FILE.jsonl", help="Take prompts from here; see below.")
@click.option("--output", "target", type=FILE, metavar="FILE.jsonl", help="Append results here.")
def generate(
    prompts: tuple[str, ...], spec: str, temperature: float | None, top_p: float | None, top_k: int | None, model: str, cache: str,
    guidance: float, chat: bool | None, constraint: str | None, batch: int, stream: bool, watching: bool, as_json: bool,
    trace: Path | None, source: Path | None, target: Path | None, **how: Any,
) -> None:
    """Decode each PROMPT.

    The text goes to stdout, what it took to stderr. The mask token and the unknown token are never generated.

    --json prints text, tokens (ids), nfe (forward passes), generated_tokens, tokens_per_forward, seconds (wall time of the batch
    that the prompt was in), finish_reason (stop, length or max_steps), decoder, cache, seed, positions_computed (what the model ran,
    in all forwards), cache_hit_rate (the share of positions whose stored keys and values were read instead), flops, kv_bytes (the
    size of this row's store of keys and values).

    Where the decoder asks for a reasoner, what that wrote goes to stderr, and --json has more keys: reasoning (its text),
    reasoning_tokens and reasoning_seconds (its own, counted nowhere else), reasoning_finish_reason and reasoner. Prompts that it
    failed are told at the end, and the exit code is then 1.

    --input: every line is an object {"prompt": ...} or {"messages": [{"role": ..., "content": ...}, ...]}, and may have an "id",
    which is handed on, and a "seed". Each result is appended to --output at once, with its "index" in the input, counted from 0.
    The same command again goes on where the last one stopped. Lines that cannot be decoded are reported and left out, and the
    exit code is then 1.
    """
    if source or target:
        if not (source and target):
            raise UsageError("--input and --output go together")
        if prompts or stream or watching or trace:
            raise UsageError("--input takes no PROMPT, --stream, --watch or --trace")
    elif not prompts:
        raise UsageError("give a PROMPT, or --input and --output")
    if stream + watching + as_json > 1:
        raise UsageError("--stream, --watch and --json exclude each other")
    if stream and how["infill"]:
        raise UsageError("holes do not settle from left to right, so --infill cannot --stream; try --watch")

    from decoders.generator import Generator

    decoder, options = with_options(spec, temperature=temperature, top_p=top_p, top_k=top_k), loading(how)
    options |= {"graph": how.pop("graph"), "poll": how.pop("poll"), "compile": how.pop("compiled")}  # how fast, and not what
    if options["graph"]:
        click.get_current_context().with_resource(warnings_in_a_line())
    if source and target:
        from decoders.cli.batch import run

        about: dict[str, Any] = {"guidance": guidance, "chat": chat, **({"constraint": constraint} if constraint else {})}
        settings = {**about, "dtype": options.get("dtype"), **how}
        if run(source, target, lambda: Generator(model, decoder, cache, **about, **options), settings, how, batch):
            raise click.exceptions.Exit(1)
        return
    generator = Generator(model, decoder, cache, guidance=guidance, chat=chat, constraint=constraint, **options)
    for prompt in prompts:  # before anything is decoded
        generator.encode(prompt, how["length"], how["infill"])
    size = 1 if stream or watching else batch
    failed: list[str] = []
    with ExitStack() as open_files:
        file = open_files.enter_context(opened(trace)) if trace else None
        for i in range(0, len(prompts), size):
            group = prompts[i : i + size]
            found = generator.reason(group, seeds=[how["seed"]] * len(group), length=how["length"], infill=how["infill"])
            for begin, reasonings in reasoned(found):
                ready = group[begin : begin + len(reasonings)]
                for made in decode(generator, ready, reasonings, i + begin, how, stream, watching, file):
                    tell(made, as_json, shown=stream or watching, printed=stream)
            problems = [(n, r) for n, r in enumerate(found, i + 1) if isinstance(r, UsageError)]
            failed += [f"prompt {n}: {r}" for n, r in problems]
            left = len(prompts) - i - len(group)
            if left and any(isinstance(r, ReasonerError) and r.everyone for _, r in problems):
                failed.append(f"{left} more prompts were not tried")
                break
    for problem in failed:
        click.echo(f"Error: {problem}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """To stderr, without the place in the code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *args, **kwargs: click.echo(f"Warning: {message}", err=True)
        yield


def reasoned(found: Sequence[Reasoning | UsageError | None]) -> Iterator[tuple[int, list[Reasoning | None]]]:
    """Stretches without an error, and where they begin."""
    for failed, group in groupby(enumerate(found), key=lambda x: isinstance(x[1], UsageError)):
        if not failed:
            members = list(group)
            yield members[0][0], [r for _, r in members if not isinstance(r, UsageError)]


def decode(
    generator: Generator, prompts: tuple[str, ...], reasonings: list[Reasoning | None], first: int, how: dict[str, Any], stream: bool,
    watching: bool, file: TextIO | None,
) -> list[Generation]:
    """One batch, shown while it is decoded if that was asked for."""
    from decoders.cli.show import Streaming, Watching
    from decoders.cli.trace import TraceFile

    with ExitStack() as shown:
        watches: list[Watch] = [TraceFile(file, first, generator.decoder)] if file else []
        if watching:
            watches.append(shown.enter_context(Watching(generator, how["infill"])))
        streaming = Streaming(generator, how["stop"]) if stream else None
        if stream or watching:
            show_reasoning(reasonings[0])

        def watch(f: Forward, p: Pred, c: Canvas) -> None:
            for w in watches:
                w(f, p, c)

        made = generator(prompts, **how, reasonings=reasonings, on_event=streaming, watch=watch if watches else None)
    if streaming:
        streaming.finish(made[0].text)
    return made


def show_reasoning(reasoning: Reasoning | None) -> None:
    """To stderr, so that stdout holds texts alone."""
    if reasoning:
        click.secho(reasoning.text, dim=True, err=True)


def tell(made: Generation, as_json: bool, shown: bool, printed: bool) -> None:
    """The result of one prompt. `shown`: its reasoning was told already; `printed`: so was the text."""
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
    click.echo(
        f"[{made.decoder}: {made.nfe} forwards, {made.generated_tokens} tokens, {made.tokens_per_forward:.2f} tokens per forward, "
        f"{made.seconds:.2f} s, {made.positions_computed} positions computed, {made.cache_hit_rate:.0%} from the cache {made.cache}, "
        f"{made.finish_reason}]",
        err=True,
    )


def opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as e:
        raise UsageError(f"{path} cannot be written: {e.strerror}") from e
