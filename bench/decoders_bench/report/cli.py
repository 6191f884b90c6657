"""`decoders bench report`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import emit, json_option

FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE", type=FILE, help="write the page, one HTML file that needs no network")
@click.option("--markdown", metavar="FILE", type=FILE, help="write the findings and tables as Markdown")
@click.option("--png", metavar="DIR", type=DIRECTORY, help="write the charts as PNG files to this directory")
@click.option("--svg", metavar="DIR", type=DIRECTORY, help="write the charts as SVG files to this directory")
@click.option("--baseline", metavar="SPEC",
              help="decoder that the others are compared with  [default: that of the first run, or threshold]")
@click.option("--mine", metavar="SPEC",
              help="the decoder that the report begins with, against the baseline  [default: one of your own, or the "
              "first]")
@click.option("--replays", default=0, show_default=True, type=click.IntRange(0), metavar="K",
              help="decode again the K items that distinguish the two best, with both, to record their replays")
@json_option
def report(
    runs: tuple[Path, ...], output: Path | None, markdown: Path | None, png: Path | None, svg: Path | None,
    baseline: str | None, mine: str | None, replays: int, as_json: bool,
) -> None:
    """Make one page of the runs of `bench quality` and `bench duel`. It begins with a comparison of two decoders: both
    curves, the difference at each cost, the verdict in one sentence, the items that decide it, and one such item
    decoded by both, side by side, with the model's prediction for every token. Then follow accuracy against forward
    passes, seconds and parallelism, every decoder against the baseline at equal cost, every setting, the spread over
    wordings, and every item with its replay.

    Several runs are merged. Each item counts once, and equal settings are treated as one, even if they are written
    differently; the report says if the environments of the runs differ. Of an unfinished run, the finished items are
    shown.
    """
    from decoders import UsageError
    from decoders_bench.report.document import brief, document
    from decoders_bench.report.gather import gather
    from decoders_bench.report.page import page
    from decoders_bench.report.plots import plots
    from decoders_bench.report.text import text

    if not (output or markdown or png or svg or as_json):
        raise UsageError(
            "there is nothing to write: give -o report.html, --markdown FILE, --png DIR, --svg DIR or --json"
        )
    found = gather(runs)
    if replays:
        from decoders_bench.report.replays import with_replays  # and the model that it needs

        found = with_replays(found, replays, baseline, mine)
    whole = document(found, baseline, mine)
    written = []
    try:
        if output:
            written.append(write(output, page(whole, f"{', '.join(p.name for p in runs)}: steps against quality")))
        if markdown:
            written.append(write(markdown, text(found, baseline, mine)))
        for where, kind in ((png, "png"), (svg, "svg")):
            written += plots(whole, where, kind) if where else []
    except OSError as e:
        raise UsageError(f"{e.filename or 'the report'} cannot be written: {e.strerror}") from None
    if whole["pair"]:
        click.echo(f"{whole['pair']['sentence']}\n{whole['pair']['decision']}")
    for path in written:
        click.echo(f"wrote {path}")
    for line in found.clashes:
        click.echo(line, err=True)
    if as_json:
        emit({"command": "report", **brief(whole), "wrote": [str(path) for path in written]})


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # the limit may have cut a surrogate pair in two
    path.write_text(content, encoding="utf-8", errors="backslashreplace")
    return path
