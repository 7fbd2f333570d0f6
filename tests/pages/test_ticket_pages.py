"""The list of tickets with its filters and pages, and the page where a ticket is judged."""

import pytest
from selectolax.lexbor import LexborHTMLParser

from models.llm.prompt import render
from models.llm.text import prepare

BODIES = ("I want a refund", "my top up failed", "how long does a transfer take", "money please", "tell me a joke")


@pytest.fixture(scope="module")
def tickets(site):
    return [
        site.classify(body=body, subject=f"about {n}", external_id=str(n), source="crm" if n % 2 else "api")
        for n, body in enumerate(BODIES)
    ]


def links(html):
    return [a.attributes["href"] for a in LexborHTMLParser(html).css("table.list a")]


def paths(tickets):
    return [f"/tickets/{ticket['id']}" for ticket in reversed(tickets)]


def listed(browser, **filters):
    answer = browser.get("/tickets", params=filters)
    assert answer.status_code == 200
    return links(answer.text)


def test_the_filters_are_those_of_the_api(site, browser, tickets):
    first = tickets[0]
    label = first["triage"][0]["label"]
    for filters in (
        {},
        {"status": "done"},
        {"status": "failed"},
        {"label": label},
        {"source": "crm"},
        {"external_id": "3"},
        {"action": "review"},
        {"q": "refund"},
        {"q": "refund or transfer", "source": "api"},
        {"llm": "fallback"},
        {"min_confidence": "0.5", "max_confidence": "0.99"},
        {"since": first["received_at"]},
        {"until": first["received_at"]},
    ):
        found = site.api.get("/v1/tickets", params=filters).json()["items"]
        assert listed(browser, **filters) == [f"/tickets/{t['id']}" for t in found], filters
    assert listed(browser, q="refund", status="", label="", since="", until=" ") == [paths(tickets)[-1]]
    assert listed(browser, since="2020-01-31") == paths(tickets)
    assert listed(browser, until="2020-01-31") == []


def test_pages_follow_each_other_with_their_filters(browser, tickets):
    address, seen = "/tickets?limit=2&status=done", []
    while address:
        html = browser.get(address).text
        assert 'value="done" selected' in html
        seen += links(html)
        older = LexborHTMLParser(html).css_first("a[rel=next]")
        address = older.attributes["href"] if older else None
    assert seen == paths(tickets)
    assert LexborHTMLParser(html).css_first("nav[aria-label='Further pages'] a").attributes["href"] == (
        "/tickets?limit=2&status=done"
    )


def test_a_wrong_filter_keeps_the_form_and_says_what_is_wrong(browser):
    answer = browser.get("/tickets?q=refund&min_confidence=2")
    assert answer.status_code == 422
    assert "The filter is wrong: min_confidence: input should be less" in answer.text
    assert 'name="q" type="search" value="refund"' in answer.text


def text_of(html, selector):
    return [node.text() for node in LexborHTMLParser(html).css(selector)]


def test_a_ticket_as_received_and_as_the_llms_saw_it(browser, site):
    body = "Hello\n\n<b>my   card</b> <|eot|> was lost\n> quoted\n-- \nsignature"
    ticket = site.classify(subject="Lost", body=body, requester="ana@example.com")
    received, prompt = text_of(browser.get(f"/tickets/{ticket['id']}").text, "pre")
    assert received == body
    assert prompt == render(prepare("Lost", body).text, "category", "tuned-1")
    assert "<|eot" not in prompt


def test_every_prediction_with_its_three_best_labels(browser, site, tickets):
    for ticket in tickets:
        html = browser.get(f"/tickets/{ticket['id']}").text
        rows = LexborHTMLParser(html).css("section[aria-labelledby=said] tbody tr")
        assert len(rows) == len(ticket["predictions"]) == 2
        for row, said in zip(rows, ticket["predictions"], strict=True):
            best = sorted(said["scores"].values(), reverse=True)[:3]
            assert [li.css_first(".hint").text() for li in row.css("li")] == [f"{p * 100:.1f} %" for p in best]
            assert [badge.text() for badge in row.css("th .badge")] == ["demo"]
        decided = ticket["triage"][0]
        assert ("uncalibrated" in text_of(html, "section.decision .badge")) == (not decided["calibrated"])


def rows_of(site, ticket):
    return site.sql("SELECT label, source, author FROM verdicts WHERE ticket_id = %s ORDER BY id", ticket["id"])


def test_right_and_another_label_are_verdicts_of_who_signed_in(browser, site, tickets):
    ticket = tickets[1]
    right = ticket["triage"][0]["label"]
    path = f"/tickets/{ticket['id']}"
    for label in (right, right, "cash_and_atm"):
        answer = browser.post(f"{path}/verdicts", data={"field": "category", "label": label})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{path}#verdicts")
    assert rows_of(site, ticket) == [(right, "review", "Ana"), ("cash_and_atm", "review", "Ana")]
    assert "Reviewed: Cash and ATM" in browser.get(path).text


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"field": "category", "label": "nonsense"}, 422),
        ({"field": "colour", "label": "refunds"}, 422),
        ({"label": "refunds"}, 422),
        ({"x": ""}, 422),
        ({"field": "category", "label": "a\0"}, 422),
        ({"field": "category", "label": "refunds", "source": "dataset", "author": "Eve"}, 303),
    ],
)
def test_a_wrong_verdict_is_a_page_and_no_row(browser, site, tickets, given, status):
    answer = browser.post(f"/tickets/{tickets[2]['id']}/verdicts", data=given)
    assert answer.status_code == status
    expected = [("refunds", "review", "Ana")] if status == 303 else []
    assert rows_of(site, tickets[2]) == expected
    site.sql("DELETE FROM verdicts WHERE ticket_id = %s", tickets[2]["id"])


def test_a_verdict_on_no_ticket_is_404(browser):
    path = "/tickets/01a1feef-60f3-7010-b789-e50222ae6516/verdicts"
    assert browser.post(path, data={"field": "category", "label": "refunds"}).status_code == 404


def test_a_verdict_does_not_outlive_the_text_it_was_on(browser, site):
    ticket = site.classify(body="I want a refund", external_id="changes")
    path = f"/tickets/{ticket['id']}"
    browser.post(f"{path}/verdicts", data={"field": "category", "label": "refunds"})
    assert "Reviewed: Refunds" in browser.get(path).text
    site.classify(body="my top up failed", external_id="changes")
    html = browser.get(path).text
    assert "Reviewed:" not in html
    assert "on an older text" in html


def buttons(html):
    return [button.text() for button in LexborHTMLParser(html).css("main button")]


def test_a_done_ticket_can_be_classified_anew(browser, site):
    ticket = site.classify(body="my top up failed")
    path = f"/tickets/{ticket['id']}"
    html = browser.get(path).text
    assert buttons(html) == ["Classify anew", "Right", "Correct it", "Erase for good"]
    assert "after it came in" in html
    assert browser.post(f"{path}/reclassify").headers["location"] == path
    assert "data-look-again" in browser.get(path).text
    assert buttons(browser.get(path).text) == ["Erase for good"]
    assert site.sql("SELECT status, run FROM tickets WHERE id = %s", ticket["id"]) == [("queued", 2)]
    site.drain.run()
    html = browser.get(path).text
    rows = LexborHTMLParser(html).css("section[aria-labelledby=said] tbody tr")
    assert [row.css("td")[0].text() for row in rows] == ["2", "2", "1", "1"]
    assert "after it was queued again" in html
    assert "after it came in" not in html


def test_a_failed_ticket_can_be_tried_again(browser, site):
    ticket = site.classify(body="my top up failed")
    path = f"/tickets/{ticket['id']}"
    site.sql("UPDATE tickets SET status = 'failed', attempts = 5, last_error = 'refused' WHERE id = %s", ticket["id"])
    html = browser.get(path).text
    assert buttons(html)[0] == "Try again"
    assert ">refused</p>" in html
    assert browser.post(f"{path}/requeue").headers["location"] == path
    found = site.sql("SELECT status, run, attempts, last_error FROM tickets WHERE id = %s", ticket["id"])
    assert found == [("queued", 1, 0, None)]
    site.drain.run()
    assert "after it was queued again" in browser.get(path).text
    assert browser.post("/tickets/01a1feef-60f3-7010-b789-e50222ae6516/requeue").status_code == 404


def test_who_may_only_read_sees_no_buttons_that_would_refuse(site, tickets):
    reader = site.browser("tickets:read")
    assert buttons(reader.get(f"/tickets/{tickets[0]['id']}").text) == []
    assert buttons(reader.get("/").text) == []
    assert 'href="/report"' not in reader.get("/").text
    assert buttons(site.browser("tickets:read", "verdicts:write").get(f"/tickets/{tickets[0]['id']}").text) == [
        "Right",
        "Correct it",
    ]


def test_a_label_that_is_gone_cannot_be_called_right(browser, site, tickets):
    site.sql("UPDATE triages SET label = 'gone' WHERE ticket_id = %s", tickets[3]["id"])
    html = browser.get(f"/tickets/{tickets[3]['id']}").text
    assert "Queue: gone" in html
    assert text_of(html, "section.decision button") == ["Correct it"]


def test_a_ticket_still_open_or_without_words(browser, site):
    waiting = site.api.post("/v1/tickets", json={"body": "later"}).json()["id"]
    html = browser.get(f"/tickets/{waiting}").text
    assert 'data-look-again="2"' in html
    assert "No llm was asked in this run." in html
    site.drain.run()
    empty = site.classify(body=" ", subject="")
    html = browser.get(f"/tickets/{empty['id']}").text
    assert "data-look-again" not in html
    assert "Queue: none" in html


def test_an_erased_ticket_shows_what_was_said_of_it_and_nothing_else(browser, site):
    ticket = site.classify(subject="Ana Kovac", body="I want a refund", requester="ana@example.com", external_id="E-9")
    path = f"/tickets/{ticket['id']}"
    editor = site.browser("tickets:read", "tickets:write", "verdicts:write")
    assert "Erase for good" not in editor.get(path).text
    assert editor.post(f"{path}/erase").status_code == 403
    assert browser.post(f"{path}/erase", headers={"Origin": "https://evil.example"}).status_code == 403
    assert "Ana Kovac" in browser.get(path).text
    for _ in range(2):
        answer = browser.post(f"{path}/erase")
        assert (answer.status_code, answer.headers["location"]) == (303, path)
    html = browser.get(path).text
    assert text_of(html, "h1") == ["(erased)"]
    assert text_of(html, "pre") == [""]
    assert buttons(html) == []
    assert len(text_of(html, "section[aria-labelledby=said] tbody tr")) == len(ticket["predictions"])
    assert [words for words in ("Kovac", "want a refund", "example.com") if words in html] == []
    assert text_of(browser.get("/tickets?external_id=E-9").text, "table.list a") == ["(erased)"]
    assert f'href="{path}"' not in browser.get("/").text
