"""The report as a file: what the page says, in one piece that asks nothing of anybody and runs nothing."""

import base64
import hashlib
import re

import pytest
from selectolax.lexbor import LexborHTMLParser
from test_strangers_text import MARK, PAYLOADS, live
from written import Written

from models import taxonomy
from models.db import transaction
from service.pages import document

SHAPES = {"svg", "line", "rect", "polyline", "circle", "text", "title"}


@pytest.fixture(scope="module")
def hostile(site):
    """Strings of strangers wherever a report could show one, also in labels that are in no taxonomy."""
    write = Written(site.sql)
    with transaction(site.database) as session:
        _, vocabulary = taxonomy.active(session)
        given = vocabulary.model_dump(by_alias=True)
        for number, label in enumerate(given["fields"]["category"]["labels"]):
            label["title"] = f"{PAYLOADS[number % len(PAYLOADS)]}{MARK}title"
        taxonomy.store(session, taxonomy.Taxonomy.model_validate(given))
    for number, payload in enumerate(PAYLOADS):
        strange = f"{payload}{MARK}{number}"
        pin = {"digest": f"{strange}digest", "prompt_version": f"{strange}prompt", "calibration_id": f"{strange}fit"}
        write.llm(strange, engine=f"{strange}engine", engine_version=f"{strange}version", demo=True, **pin)
        ticket = write.ticket(requester=f"{strange}requester", external_id=strange, source=strange)
        write.prediction(ticket, strange, f"{strange}label")
        write.prediction(ticket, "primary", "top_up")
        write.prediction(ticket, "fallback", f"{strange}label", "shadow")
        write.triage(ticket, f"{strange}label")
        write.verdict(ticket, "refunds", author=f"{strange}author")
        write.verdict(ticket, f"{strange}label", "review", author=f"{strange}author")
    return [f"{payload}{MARK}{number}" for number, payload in enumerate(PAYLOADS)]


@pytest.fixture(scope="module")
def answer(site, hostile):
    found = site.api.get("/v1/report?format=html")
    assert found.status_code == 200
    return found


def test_it_shows_what_strangers_said_as_text(browser, answer, hostile):
    for html in (browser.get("/report").text, answer.text):
        shown = LexborHTMLParser(html).css_first("main").text()
        for part in ("", "engine", "version", "label", "prompt"):
            assert [strange + part for strange in hostile if strange + part not in shown] == []
        assert MARK + "title" in shown
        assert [strange for strange in hostile if strange + "requester" in shown or strange + "author" in shown] == []


def test_nothing_in_the_page_is_live(browser, hostile):
    assert live(browser.get("/report").text) == []


def test_nothing_in_the_file_is_live(answer):
    assert set(live(answer.text)) <= SHAPES | {"style"}
    html = LexborHTMLParser(answer.text)
    assert html.css("script, link, img, iframe, object, form, a, base, [style], foreignObject, use, image") == []
    names = {name for node in html.css("*") for name in node.attributes}
    assert not {name for name in names if name.startswith("on") or name in ("href", "src", "xlink:href", "action")}
    assert "@import" not in document.STYLES
    assert "url(" not in document.STYLES


def test_its_only_styles_are_those_its_policy_names(answer):
    html = LexborHTMLParser(answer.text)
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert html.css_first("meta[http-equiv=Content-Security-Policy]").attributes["content"] == policy
    assert answer.headers["content-security-policy"] == f"{policy}; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_label_that_no_longer_exists_has_a_badge(answer):
    rows = LexborHTMLParser(answer.text).css("section[aria-labelledby=confusions] tbody tr")
    gone = [row for row in rows if "no longer a label" in row.text()]
    assert len(gone) >= len(PAYLOADS)
    assert len(gone) < len(rows)


def test_page_and_file_say_the_same(browser, answer):
    page, file = (LexborHTMLParser(html) for html in (browser.get("/report").text, answer.text))
    for where in ("main > p", "section h2", "section td", "section th", "section dd"):
        texts = [[" ".join(node.text().split()) for node in html.css(where)] for html in (page, file)]
        differ = [(a, b) for a, b in zip(*texts, strict=True) if a != b]
        assert [a for a, _ in differ if not a.endswith("UTC")] == [], "only the time at which it was made"
    assert len(answer.content) < 300_000


def test_the_drawings_are_of_the_numbers_below_them(site, answer):
    html = LexborHTMLParser(answer.text)
    llms = site.api.get("/v1/report").json()["llms"]
    for svg in html.css("svg"):
        assert svg.attributes["role"] == "img"
        assert html.css_first(f"#{svg.attributes['aria-labelledby']}").text().endswith("has the same numbers")
    curves = [node.attributes["points"].split() for node in html.css("section[aria-labelledby=coverage] polyline")]
    assert [len(points) for points in curves] == [len(llm["coverage"]) for llm in llms if llm["coverage"]]
    rows = html.css("section[aria-labelledby=latency] tbody tr")
    bars = html.css("section[aria-labelledby=latency] rect")
    assert len(bars) == 2 + 2 * len(rows)


def test_over_nothing_it_is_a_report_too(site, hostile):
    found = site.api.get("/v1/report?format=html&until=2000-01-01T00:00:00Z")
    assert found.status_code == 200
    assert "not enough verdicts: about 1,000 more" in found.text
    assert "Nothing was measured in this window." in found.text


def test_the_page_gives_the_file_to_keep(browser, answer):
    saved = browser.get("/report.html")
    assert saved.headers["content-security-policy"] == answer.headers["content-security-policy"]
    times = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
    assert times.sub("", saved.text) == times.sub("", answer.text)


@pytest.mark.parametrize("path", ["/report", "/report.html", "/report.csv", "/report.json"])
def test_a_reader_without_the_scope_and_nobody_at_all_get_none(site, path):
    assert site.browser("tickets:read").get(path).status_code == 403
    assert site.browser().get(path).headers["location"].startswith("/login")
    assert site.browser("reports:read").get(f"{path}?experiment=none").status_code == 404
