"""One verdict everywhere: the terminal, the page, the Markdown and the JSON of a run say the same of every row."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from decoders import UsageError
from decoders.cli import main
from decoders_bench.quality.rows import load
from decoders_bench.quality.settings import unified_run
from decoders_bench.quality.summary import points
from decoders_bench.quality.tables import document, summary_text
from decoders_bench.quality.verdicts import cells, of_rows, usual
from support.quality_runs import rows, write_run

HEADS = ("| decoder | right, % | forwards |", "| decoder | at equal forwards |")


def tables(text: str) -> list[list[list[str]]]:
    """The rows of the two tables of verdicts in a text."""
    out = []
    for head in HEADS:
        lines = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
        out.append([[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines])
    return out


def without_marks(cell: str) -> str:
    return cell.replace("`", "")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Tasks with two and three wordings, and rungs of unequal size."""
    own = rows(items=30)
    extra = [
        replace(r, task="extract", rung="easy", template=t, cell=f"{r.cell}{t}", prompt=f"extract {r.prompt} {t}")
        for r in own if (r.task, r.template) == ("chain", 0) and r.item < 12 for t in range(3)
    ]
    return write_run(tmp_path_factory.mktemp("runs") / "run", [*own, *extra])


def test_terminal_page_markdown_and_json_agree_on_every_row(run, tmp_path):
    made = unified_run(load(run))
    terminal = tables(summary_text(made, "threshold"))
    args = ("--markdown", str(tmp_path / "r.md"), "-o", str(tmp_path / "r.html"), "--json")
    done = CliRunner().invoke(main, ["bench", "report", str(run), *args])
    assert done.exit_code == 0, done.output
    assert tables((tmp_path / "r.md").read_text()) == terminal

    lines = [x for v in document(made, "threshold", True)["verdicts"] if v["axis"] == "forwards" for x in v["lines"]]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["verdicts"]["all tasks"] == json.loads(json.dumps(document(made, "threshold", True)["verdicts"]))
    assert [[f"`{x['decoder']}`", *x["cells"]] for x in lines] == terminal[0]
    assert {x["cells"][-1] for x in lines} >= {"worse", "not distinguishable"}

    data = json.loads((tmp_path / "r.html").read_text().split('id="data">')[1].split("</script>")[0])
    shown = data["views"][0]["against"][0]
    assert shown["baseline"] == "threshold"
    page = [x for c in shown["axes"]["forwards"] for x in c["lines"]]
    labels = [data["settings"][x["setting"]]["label"] for x in page]
    assert [[f"`{label}`", *x["cells"]] for label, x in zip(labels, page, strict=True)] == terminal[0]
    words = [
        [f"`{data['series'][c['series']]}`", *(own[i]["verdict"] for own in shown["axes"].values())]
        for i, c in enumerate(shown["axes"]["forwards"])
    ]
    assert words == terminal[1]
    verdicts = {data["settings"][p["setting"]]["label"]: p["verdict"] for p in data["views"][0]["points"]}
    assert {without_marks(name): word for name, *_, word in terminal[0]} == {k: x for k, x in verdicts.items() if x}


def test_terminal_page_markdown_and_json_give_one_sentence_on_a_pair_and_name_the_same_items(tmp_path):
    """Of a duel: what it prints, and what the report of its run prints, writes and shows."""
    run = write_run(tmp_path / "run", [r for r in rows(items=30) if r.curve in ("threshold", "factor")])
    duel = CliRunner().invoke(main, ["bench", "duel", "factor", "threshold", "--in", str(run), "--json"])
    files = ["-o", str(tmp_path / "r.html"), "--markdown", str(tmp_path / "r.md"), "--json"]
    report = CliRunner().invoke(main, ["bench", "report", str(run), "--mine", "factor", *files])
    told = [json.loads(x.stdout.splitlines()[-1]) for x in (duel, report)]
    said, items = [x for x in duel.stdout.split("\n\n") if x.strip()][:2]
    assert told[0]["verdict"]["forwards"] in said
    assert items.startswith("Items that speak for `factor`: ")
    assert report.stdout.splitlines()[:2] == [said, items]
    assert (tmp_path / "r.md").read_text().split("\n\n")[:2] == [said, items]
    assert (told[1]["pair"]["sentence"], told[1]["pair"]["decision"]) == (said, items)
    assert told[1]["pair"]["verdict"] == told[0]["verdict"]
    assert told[1]["pair"]["deciding"] == told[0]["deciding"]
    page = json.loads((tmp_path / "r.html").read_text().split('id="data">')[1].split("</script>")[0])
    (shown,) = page["views"][0]["against"][0]["axes"]["forwards"]
    assert (shown["sentence"], shown["verdict"]) == (said, told[0]["verdict"]["forwards"])
    assert items.startswith(shown["counted"])
    asked = [page["questions"][q] for q, *_ in shown["items"]]
    assert [(f"{x['task']}/{x['rung']}", x["item"], x["template"]) for x in told[0]["deciding"]["items"]] == [
        (q["task"], q["item"], q["template"]) for q in asked
    ]


def test_who_begins_the_report_can_be_asked_for_and_is_ones_own_decoder_otherwise(run, tmp_path):
    def pair(*args):
        done = CliRunner().invoke(main, ["bench", "report", *map(str, args), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout.splitlines()[-1])["pair"]

    assert (pair(run)["mine"], pair(run)["baseline"]) == ("factor", "threshold")
    assert pair(run, "--mine", "llada:steps=8")["mine"] == "llada"
    other = pair(run, "--baseline", "llada")
    assert (other["mine"], other["baseline"]) == ("threshold", "llada")
    own = [r for r in rows(items=5) if r.curve != "ancestral:temperature=0.0"]
    mine = "support.disguised:SureDecay"
    renamed = [replace(r, decoder=mine, curve=mine) if r.curve == "left_to_right" else r for r in own]
    assert pair(write_run(tmp_path / "own", renamed))["mine"] == mine
    for asked, said in (("threshold", "is not held against threshold"), ("pard", "is not among the decoders")):
        done = CliRunner().invoke(main, ["bench", "report", str(run), "--json", "--mine", asked])
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr


def test_a_difference_is_that_of_the_accuracies_that_are_shown(run):
    shown = {p.decoder: p.summary.accuracy for p in points(load(run).rows)}
    assert any(p.summary.accuracy != pytest.approx(p.summary.right / p.summary.n) for p in points(load(run).rows))
    for own in of_rows(load(run).rows, "threshold").values():
        for a in own:
            for line in a.lines:
                s = line.standing
                assert s.accuracy == pytest.approx(shown[line.point.decoder])
                assert s.difference == pytest.approx(s.accuracy - s.base)
                sides = [shown[p.decoder] for p in (line.cheaper, line.dearer) if p]
                assert min(sides) - 1e-9 <= s.base <= max(sides) + 1e-9


def test_the_baseline_has_to_be_there(run, tmp_path):
    done = CliRunner().invoke(main, ["bench", "report", str(run), "-o", str(tmp_path / "r.html"), "--baseline", "pard"])
    assert done.exit_code == 2
    assert "pard is not among the decoders" in done.stderr
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(UsageError, match="not among"):
        of_rows(load(run).rows, "pard")


def test_another_baseline_can_be_asked_for(run, tmp_path):
    done = CliRunner().invoke(
        main, ["bench", "report", str(run), "--markdown", str(tmp_path / "r.md"), "--baseline", "llada", "--json"]
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert {v["baseline"] for v in report["verdicts"]["all tasks"]} == {"llada"}
    assert "Each against `llada` at equal cost" in (tmp_path / "r.md").read_text()


def test_the_usual_baseline_is_a_threshold_wherever_it_stands():
    assert usual(["factor", "support.disguised:SureDecay", "threshold:temperature=0.0", "llada"]) == (
        "threshold:temperature=0.0"
    )
    assert usual(["factor", "llada"]) == "factor"


def test_flops_are_an_axis_where_all_rows_have_them():
    own = rows(items=10)
    assert list(of_rows(own, "threshold")) == ["forwards", "positions", "seconds"]
    told = of_rows([replace(r, flops=2e6 * r.nfe) for r in own], "threshold")
    assert list(told) == ["forwards", "positions", "seconds", "FLOPs"]
    by_forwards = {a.curve.curve: a.word for a in told["forwards"]}
    assert {a.curve.curve: a.word for a in told["FLOPs"]} == by_forwards
    line = told["FLOPs"][0].lines[0]
    assert cells(line, "FLOPs")[1] == f"{line.standing.cost:,.0f}"
