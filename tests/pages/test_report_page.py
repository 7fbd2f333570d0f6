"""The report page says what the report says: its verdict first, every figure with n, and what was left out."""

import pytest
from selectolax.lexbor import LexborHTMLParser

BODIES = [f"{text} {n}" for n in range(3) for text in ("I want a refund", "my top up failed", "money please")]


def first_line(browser, **window):
    answer = browser.get("/report", params=window)
    assert answer.status_code == 200
    node = LexborHTMLParser(answer.text).css_first("main > p.verdict")
    return " ".join(node.text().split())


def test_over_nothing(browser):
    assert first_line(browser).startswith("not enough verdicts: about 1,000 more. Of 0 judged tickets")
    assert "Nothing was measured in this window." in browser.get("/report").text


@pytest.fixture(scope="module")
def tickets(site):
    return [site.classify(body=body) for body in BODIES]


def judge(site, ticket, label, source="dataset"):
    said = {"field": "category", "label": label, "source": source}
    assert site.api.post(f"/v1/tickets/{ticket['id']}/verdicts", json=said).status_code == 201


def test_over_no_one_and_two_verdicts(site, browser, tickets):
    assert first_line(browser).startswith("not enough verdicts")
    assert "not measured: no verdicts" in browser.get("/report").text
    for n, ticket in enumerate(tickets[:2], 1):
        judge(site, ticket, "refunds")
        said = "not enough verdicts: about 990 more. Of 1 judged ticket," if n == 1 else "not enough verdicts: about "
        assert first_line(browser).startswith(said)
        assert f"n = {n})" in browser.get("/report").text


def test_it_shows_the_figures_of_the_api(site, browser, tickets):
    for ticket in tickets:
        judge(site, ticket, "top_up", "agent_change")
    report = site.api.get("/v1/report").json()
    html = browser.get("/report").text
    for llm in report["llms"]:
        assert llm["digest"] in html
        (row,) = llm["accuracy"]
        shares = [f"{row[name] * 100:.1f} %" for name in ("value", "low", "high")]
        assert f"{shares[0]} ({shares[1]} to {shares[2]}, n = {row['n']})" in html
    assert report["sources"]["counted_only"] in html
    assert "agent_change" in html
    drawn = LexborHTMLParser(html).css("section[aria-labelledby=latency] td[data-value]")
    times = [llm["times"][part] for llm in report["llms"] for part in llm["times"] if llm["times"][part]["n"]]
    assert [float(td.attributes["data-value"]) for td in drawn[: 2 * len(times)]] == [
        row[q] for row in times for q in ("p50", "p95")
    ]


def test_the_curve_and_the_confusions_are_those_of_the_api(site, browser, tickets):
    for ticket in tickets:
        judge(site, ticket, "top_up")
    report = site.api.get("/v1/report").json()
    html = LexborHTMLParser(browser.get("/report").text)
    points = [float(td.attributes["data-value"]) for td in html.css("section[aria-labelledby=coverage] td[data-value]")]
    expected = [[row["coverage"], row["value"]] for llm in report["llms"] for row in llm["coverage"]]
    assert points == [number for point in expected for number in point]
    assert len(expected) >= 2
    rows = [[td.text() for td in tr.css("td")] for tr in html.css("section[aria-labelledby=confusions] tbody tr")]
    confusions = [row for llm in report["llms"] for row in llm["confusions"]]
    assert [row[2] for row in rows] == [str(row["n"]) for row in confusions]
    assert {row[0] for row in rows} == {"Top-ups"}


def test_it_can_be_saved_as_the_api_gives_it(site, browser, tickets):
    window = {"since": "2020-01-31"}
    api = {"since": "2020-01-31T00:00:00Z"}
    csv = browser.get("/report.csv", params=window)
    assert (csv.headers["content-type"], csv.headers["x-content-type-options"]) == (
        "text/csv; charset=utf-8",
        "nosniff",
    )
    assert csv.text == site.api.get("/v1/report", params=api | {"format": "csv"}).text
    saved, given = browser.get("/report.json", params=window).json(), site.api.get("/v1/report", params=api).json()
    assert saved | {"generated_at": ""} == given | {"generated_at": ""}
    links = [
        a.attributes["href"] for a in LexborHTMLParser(browser.get("/report", params=window).text).css("a[download]")
    ]
    assert links == [f"/report.{kind}?since=2020-01-31T00%3A00%3A00Z" for kind in ("html", "csv", "json")]
    assert [browser.get(link).status_code for link in links] == [200, 200, 200]


def test_a_better_llm_is_said_first(site, browser, tickets):
    site.sql("UPDATE predictions SET label = 'refunds' WHERE role = 'primary'")
    site.sql("UPDATE predictions SET label = 'top_up' WHERE role <> 'primary'")
    for ticket in tickets:
        judge(site, ticket, "refunds")
    assert first_line(browser).startswith("A better. Of 9 judged tickets, only A was right on 9 and only B on 0")


def test_two_taxonomies_in_the_window_are_told(site, browser, tickets):
    site.sql(
        "INSERT INTO taxonomy_versions (version, sha256, document) SELECT 2, sha256, document FROM taxonomy_versions"
    )
    site.sql("UPDATE triages SET taxonomy_version = 2 WHERE ticket_id = %s", tickets[0]["id"])
    html = browser.get("/report").text
    assert "version 1, 2" in html
    assert "changed inside the window" in html


def test_the_window(site, browser, tickets):
    assert "0 received" in browser.get("/report?until=2020-01-31&since=").text
    assert "9 received" in browser.get("/report?since=2020-01-31&until=").text
    assert 'value="2020-01-31"' in browser.get("/report?since=2020-01-31").text


def test_a_wrong_window_is_said_once(browser):
    assert browser.get("/report?since=soon").text.count("since: must be a time with its zone") == 1
