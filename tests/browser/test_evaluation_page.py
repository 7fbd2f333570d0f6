"""The page that evaluate writes, opened as a file: drawn, silent, asking nobody, and readable on a telephone."""

import pytest
from cli.conftest import triage  # noqa: F401 (a fixture)
from test_looks import serious

from service.settings import DEMO_LLMS

TICKETS = 40


@pytest.fixture
def page(triage, tmp_path):  # noqa: F811
    """Both demo llms and the policy on both fields."""
    assert triage("init").code == 0
    lines = (DEMO_LLMS / "tickets.jsonl").read_text("utf-8").splitlines(keepends=True)[:TICKETS]
    (tmp_path / "t.jsonl").write_text("".join(lines), "utf-8")
    ran = triage("evaluate", "--test", "t.jsonl", "--html", "o.html")
    assert ran.code == 0, ran.err
    return (tmp_path / "o.html").as_uri()


def test_everything_is_drawn_and_nothing_asked(chromium, page):
    window = chromium.new_page()
    said, asked = [], []
    window.on("console", lambda message: said.append(message.text))
    window.on("request", lambda request: asked.append(request.url))
    window.goto(page)
    assert (said, asked) == ([], [page])
    assert window.locator("h2").all_inner_texts() == ["Field category", "Field intent"]
    assert window.locator("svg").count() == 2 * (1 + 3)  # each field: coverage, and how true each one's confidence is
    assert serious(window) == []
    for width in (1200, 390):
        window.set_viewport_size({"width": width, "height": 800})
        drawn = window.locator("svg").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
        assert all(200 < height < 600 for height in drawn)
        assert window.evaluate("document.documentElement.scrollWidth") == width
    window.close()
