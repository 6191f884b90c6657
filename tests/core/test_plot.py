"""Figures for papers."""

from __future__ import annotations

import pytest

from decoders import Generator, UsageError, plot
from support.quality_runs import rows, write_run

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def paper():
    """Figures that nobody shows, and that are closed again."""
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before  # what others have set stays theirs
    plt.close("all")


@pytest.fixture(scope="module")
def nano():
    return Generator("nano")


def test_a_canvas_has_a_row_for_each_forward_and_a_column_for_each_position(nano, tmp_path):
    (g,) = nano("Sort: c a b", trace=True, length=8)
    axes = plot.canvas(g)
    values = axes.images[0].get_array()
    assert values.shape == (g.nfe, g.generated_tokens + (g.finish_reason == "stop"))
    assert [t.get_text() for t in axes.get_xticklabels()][:3] == ["a", "b", "c"]
    assert not values[-1].mask.any()
    axes.figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 2000
    assert plot.canvas(g, axes) is axes
    with pytest.raises(UsageError, match="trace=True"):
        plot.canvas(nano("Sort: c a b", length=8)[0])


def test_the_order_of_commitments_is_that_of_the_text_and_several_have_a_mean(nano):
    (g,) = nano("Chain: 3 ; + 4 ; - 2", length=48)
    (points,) = plot.order(g).lines
    assert points.get_ydata().tolist() == [n + 1 for n in g.commit_steps]
    several = nano(["Chain: 3 ; + 4 ; - 2", "Sort: b a"], length=48)
    *_, mean = plot.order(several).lines
    first, second = (x.commit_steps for x in several)
    assert mean.get_ydata()[0] == (first[0] + second[0]) / 2 + 1
    assert len(mean.get_ydata()) == max(len(first), len(second))
    with pytest.raises(UsageError, match="no committed position"):
        plot.order([])


def test_accuracy_is_the_chart_of_the_report(tmp_path):
    axes = plot.accuracy(write_run(tmp_path / "run", rows(items=5), traces=1))
    assert axes.get_xlabel() == "forward passes an item"
    assert {t.get_text() for t in axes.get_legend().get_texts()} >= {"threshold", "llada", "left_to_right"}
    with pytest.raises(UsageError):
        plot.accuracy(tmp_path / "nowhere")


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'dllm-decoders\[plots\]'"):
        plot.matplotlib()
