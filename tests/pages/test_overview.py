"""The first page answers its four questions from the rows, for a day, a week or a month."""

import json

import pytest
from selectolax.lexbor import LexborHTMLParser
from serving import draining

from models.db import make_engine, transaction
from models.errors import QueueFull
from service.pages.state import sentence

BODIES = (
    "I want a refund",
    "my top up failed",
    "how long does a transfer take",
    "money please",
    "",
    "why was I charged",
)
QUEUE = {"waiting": 0, "working": 0, "oldest_s": None}
READY = {"primary": {"error": None}, "fallback": {"error": None}}


@pytest.mark.parametrize(
    ("queue", "workers", "on", "words"),
    [
        ({}, [], False, "No: no worker is running. Tickets are taken; no ticket is waiting."),
        ({}, [READY], True, "Yes: 1 worker with fallback and primary ready, no ticket is waiting."),
        ({"waiting": 1, "oldest_s": 3.4}, [READY, READY], True,
         "Yes: 2 workers with fallback and primary ready, 1 ticket is waiting, the oldest for 3 seconds."),
        ({"waiting": 1204, "oldest_s": 7300.0, "working": 8}, [{"a": {"error": None}}], True,
         "Yes: 1 worker with a ready, 1,204 tickets are waiting, the oldest for 2 hours, 8 being read."),
        ({"waiting": 2, "oldest_s": 200_000.0}, [READY, {"primary": {"error": "no file"}}], False,
         "Not fully: primary is not loaded (no file). 2 tickets are waiting, the oldest for 2 days."),
        ({"waiting": 9, "oldest_s": 60.0, "working": 4}, [{"fallback": {"error": None, "breaker": "away."}}], False,
         "Not fully: fallback is not asked for now (away). 9 tickets are waiting, the oldest for 60 seconds,"
         " 4 being read."),
    ],
)  # fmt: skip
def test_is_it_on(queue, workers, on, words):
    assert sentence(QUEUE | queue, workers) == (on, words)


def tiles(html):
    found = LexborHTMLParser(html).css(".tiles > div")
    return {tile.css_first("dt").text(): tile.css_first("dd a").text().split()[0] for tile in found}


def section(html, name):
    return " ".join(LexborHTMLParser(html).css_first(f"section[aria-labelledby={name}]").text().split())


def test_an_empty_service(browser):
    html = browser.get("/").text
    assert set(tiles(html).values()) == {"0"}
    assert "No: no worker is running." in html
    assert "Nothing in the last 24 hours." in section(html, "needs")
    assert "Not measured: 0 of 0 tickets have a verdict" in section(html, "right")


@pytest.fixture(scope="module")
def tickets(site):
    made = [site.classify(body=body) for body in BODIES]
    site.sql("UPDATE tickets SET status = 'failed', last_error = 'refused' WHERE id = %s", made[0]["id"])
    days = "UPDATE {} SET received_at = now() - interval '3 days' WHERE {} = %s"
    site.sql(days.format("tickets", "id"), made[1]["id"])
    site.sql(days.format("triages", "ticket_id"), made[1]["id"])
    site.sql("INSERT INTO workers (id, host, pid, llms) VALUES (gen_random_uuid(), 'h', 1, %s)", json.dumps(READY))
    return made


def test_what_came_in_is_a_recount(site, browser, tickets):
    for window, span in (("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days")):
        html = browser.get(f"/?window={window}").text
        ((received, done, failed),) = site.sql(
            "SELECT count(*), count(*) FILTER (WHERE status = 'done'), count(*) FILTER (WHERE status = 'failed')"
            f" FROM tickets WHERE received_at > now() - interval '{span}'"
        )
        actions = dict(
            site.sql(f"SELECT action, count(*) FROM triages WHERE received_at > now() - interval '{span}' GROUP BY 1")
        )
        expected = {"received": received, "done": done, "failed": failed, "still open": 0}
        expected |= {"suggested": actions.get("suggest", 0), "for review": actions.get("review", 0), "automated": 0}
        assert tiles(html) == {name: str(n) for name, n in expected.items()}
        rows = [
            [td.attributes.get("data-value") for td in tr.css("td")] for tr in LexborHTMLParser(html).css("tbody tr")
        ]
        assert sum(int(row[3]) for row in rows) == sum(actions.values())
        assert all(int(a) + int(s) + int(r) == int(n) for a, s, r, n in rows)
    assert browser.get("/?window=1y").status_code == 422


def test_what_needs_me_is_failed_first_then_the_least_sure(site, browser, tickets):
    links = [a.attributes["href"] for a in LexborHTMLParser(browser.get("/").text).css("ol.cards a")]
    unsure = site.sql(
        "SELECT ticket_id FROM triages WHERE action = 'review' AND received_at > now() - interval '1 day'"
        " ORDER BY confidence NULLS LAST, ticket_id LIMIT 5"
    )
    assert links == [f"/tickets/{tickets[0]['id']}", *(f"/tickets/{row[0]}" for row in unsure)]
    assert len(unsure) >= 2
    reviewed = unsure[0][0]
    said = {"field": "category", "label": "other", "source": "review"}
    assert site.api.post(f"/v1/tickets/{reviewed}/verdicts", json=said).status_code == 201
    assert f"/tickets/{reviewed}" not in section(browser.get("/").text, "needs")
    links = [a.attributes["href"] for a in LexborHTMLParser(browser.get("/").text).css("ol.cards a")]
    assert f"/tickets/{reviewed}" not in links
    site.sql("DELETE FROM verdicts")


def test_is_it_right_counts_only_sources_that_judged_all(site, browser, tickets):
    assert "Not measured: 0 of 5 tickets have a verdict" in section(browser.get("/").text, "right")
    for ticket in tickets[2:4]:
        for source, label in (("agent_change", "refunds"), ("dataset", ticket["triage"][0]["label"])):
            said = {"field": "category", "label": label, "source": source}
            assert site.api.post(f"/v1/tickets/{ticket['id']}/verdicts", json=said).status_code == 201
        if ticket is tickets[2]:
            html = section(browser.get("/").text, "right")
            assert "100.0 % of the labels agree with the verdicts from dataset" in html
            assert "(95 % interval 20.7 % to 100.0 %, n = 1 of 5 tickets)" in html
            assert "Not counted: 1 verdict from where somebody chose to look" in " ".join(html.split())
    assert "(95 % interval 34.2 % to 100.0 %, n = 2 of 5 tickets)" in section(browser.get("/").text, "right")
    site.sql("DELETE FROM verdicts")


def test_a_pasted_ticket_is_a_ticket_like_any_other(site, browser, tickets):
    with draining(site.drain):
        answer = browser.post("/classify", data={"body": "My card\r\nhas not arrived"})
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "Queue: " in page
    found = site.sql("SELECT source, body, raw, status FROM tickets ORDER BY received_at DESC LIMIT 1")
    assert found == [("page", "My card\nhas not arrived", b"My card\nhas not arrived", "done")]


def test_a_key_bound_to_a_source_pastes_under_it(site, monkeypatch):
    monkeypatch.setattr("service.pages.home.WAIT_S", 0)
    key = site.key("tickets:write", name="crm", source="crm")
    browser = site.browser()
    assert browser.post("/login", data={"key": key}).status_code == 303
    assert browser.post("/classify", data={"body": "x"}).status_code == 303
    assert site.sql("SELECT source FROM tickets ORDER BY received_at DESC LIMIT 1") == [("crm",)]


def test_a_pasted_ticket_has_the_size_limit_of_any_other(site, browser):
    before = site.sql("SELECT count(*) FROM tickets")
    limit = site.loaded.settings.max_ticket_bytes
    for body in ("x" * (limit + 1), "\U0001f469" * (limit // 2)):
        assert browser.post("/classify", data={"body": body}).status_code == 413
    assert site.sql("SELECT count(*) FROM tickets") == before


def test_with_a_full_queue_the_page_says_so(site, browser, monkeypatch):
    monkeypatch.setattr("service.intake.depth.Depth.admit", _full)
    answer = browser.post("/classify", data={"body": "x"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert "many tickets are waiting already" in answer.text


def test_with_postgres_away_the_page_says_so(site, browser, monkeypatch):
    away = make_engine("postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setattr("service.pages.home.transaction", lambda engine: transaction(away))
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Postgres does not answer" in answer.text


def _full(depth, tickets):
    raise QueueFull("many tickets are waiting already", retry_after=30)


def test_a_verdict_on_a_new_text_says_nothing_of_the_old_answer(site, browser, tickets):
    ticket = site.classify(body="I want a refund", external_id="revised")
    site.api.post("/v1/tickets", json={"body": "my top up failed", "external_id": "revised"})
    said = {"field": "category", "label": "top_up", "source": "dataset"}
    assert site.api.post(f"/v1/tickets/{ticket['id']}/verdicts", json=said).status_code == 201
    assert "Not measured" in section(browser.get("/").text, "right")
    site.drain.run()
    assert "n = 1" in section(browser.get("/").text, "right")
    site.sql("DELETE FROM verdicts")
