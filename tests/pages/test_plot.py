"""Charts as shapes: every point lies where its number says, whatever the numbers are."""

import pytest

from service.pages import plot


def llm(name, *points):
    coverage = [{"coverage": share, "value": value} for share, value in points]
    return {"llm": name, "digest": "0123456789", "coverage": coverage}


def test_of_nothing_nothing_is_drawn():
    assert plot.curves([]) is None
    assert plot.curves([llm("one")]) is None
    assert plot.bars([]) is None


@pytest.mark.parametrize(
    ("least", "labels"),
    [
        (1.0, ["98 %", "100 %"]),
        (0.91, ["90 %", "92 %", "94 %", "96 %", "98 %", "100 %"]),
        (0.8, ["80 %", "85 %", "90 %", "95 %", "100 %"]),
        (0.55, ["50 %", "60 %", "70 %", "80 %", "90 %", "100 %"]),
        (0.0, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
    ],
)
def test_a_curve_fits_its_axis(least, labels):
    drawing = plot.curves([llm("one", (0.1, 1.0), (1.0, least))])
    axis = {text.words: text.y for text in drawing.texts if text.anchor == "end"}
    assert list(axis) == labels
    (curve,) = drawing.curves
    (left, top), (right, bottom) = curve.points
    assert top == pytest.approx(axis["100 %"] - 4)
    assert top <= bottom <= max(axis.values())
    if f"{least * 100:.0f} %" in axis:
        assert bottom == pytest.approx(axis[f"{least * 100:.0f} %"] - 4)
    assert 0 < left < right < drawing.width


def test_each_llm_has_a_colour_and_a_line_in_the_legend():
    drawing = plot.curves([llm(name, (1.0, 0.9)) for name in ("one", "two", "one", "a name " * 9)])
    assert [curve.colour for curve in drawing.curves] == ["main", "warn", "good"]
    assert [text.words for text in drawing.texts[:3]] == ["one 012345", "two 012345", "a name a name a name a name a…"]


def test_bars_grow_with_the_logarithm():
    times = [("tiny", 0.0, 0.1), ("ten", 1.0, 10.0), ("slow", 10.0, 100_000.0)]
    drawing = plot.bars([{"name": name, "p50": p50, "p95": p95} for name, p50, p95 in times])
    lengths = [bar.width for bar in drawing.bars[2:]]
    decade = lengths[2]
    assert lengths == pytest.approx([0, 0, decade, 2 * decade, 2 * decade, 6 * decade])
    assert max(bar.x + bar.width for bar in drawing.bars) < drawing.width
    assert [text.words for text in drawing.texts if text.anchor == "middle"][-1] == "100,000 ms"


def test_nothing_below_the_axis_is_drawn_without_one():
    drawing = plot.bars([{"name": "idle", "p50": 0.0, "p95": 0.0}])
    assert [bar.width for bar in drawing.bars[2:]] == [0, 0]


def test_a_name_is_short_and_visible():
    assert plot.plain("a\u202eb\x07") == "a\ufffdb\ufffd"
    assert len(plot.plain("x" * 1000)) == plot.LONGEST
