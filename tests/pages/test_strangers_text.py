"""Text from strangers, in every field of a ticket and of everything said of it, is text on every page."""

import json

import pytest
from selectolax.lexbor import LexborHTMLParser
from sqlalchemy import text

from models import taxonomy
from models.db import transaction

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "</textarea></pre></title><svg/onload=alert(1)>",
    "javascript:alert(1)//{{7*7}}{% raw %}${7*7}",
]
UNSEEN = "a\u202eb\u200bc\x1b[31m\x07\u2028d\ufeff"
MARK = "payload-"
TAGS = """
    html head meta title link script body a header nav form button p strong main h1 h2 h3 section dl dt dd div span em
    figure canvas table caption thead tbody tr th td ol li label textarea input select option details summary pre code
"""


@pytest.fixture(scope="module")
def hostile(site):
    """One ticket per payload, in every field that a stranger, a helpdesk or a colleague may fill."""
    with transaction(site.database) as session:
        _, vocabulary = taxonomy.active(session)
        document = vocabulary.model_dump(by_alias=True)
        for number, label in enumerate(document["fields"]["category"]["labels"]):
            label["title"] = label["description"] = f"{PAYLOADS[number % len(PAYLOADS)]}{MARK}title-{number}"
        document["fields"]["category"]["title"] = PAYLOADS[0] + MARK + "field"
        taxonomy.store(session, taxonomy.Taxonomy.model_validate(document))
    tickets = [site.classify(**_ticket(payload, number)) for number, payload in enumerate(PAYLOADS)]
    for number, (ticket, payload) in enumerate(zip(tickets, PAYLOADS, strict=True)):
        said = {"field": "category", "label": "refunds", "author": f"{payload}{MARK}author-{number}"}
        answer = site.api.post(f"/v1/tickets/{ticket['id']}/verdicts", json=said)
        assert answer.status_code == 201
    site.sql("UPDATE tickets SET status = 'failed', last_error = body WHERE id = %s", tickets[0]["id"])
    site.sql("UPDATE llm_versions SET digest = %s, engine_version = %s", PAYLOADS[1] + MARK, PAYLOADS[0] + MARK)
    return tickets


def _ticket(payload, number):
    names = ("subject", "body", "requester", "external_id", "source", "channel", "language")
    fields = {name: f"{payload}{MARK}{name}-{number}" for name in names}
    return fields | {"metadata": {f"{payload}{MARK}key": [f"{payload}{MARK}metadata"]}}


def live(html):
    """Whatever in a page is not our own: foreign elements, code in attributes, links that leave."""
    nodes = LexborHTMLParser(html).css("*")
    tags = {node.tag for node in nodes} - set(TAGS.split())
    code = [
        node.html
        for node in nodes
        if node.tag == "script" and not node.attributes.get("src", "").startswith("/static/")
    ]
    code += [node.text() for node in nodes if node.tag == "script" and node.text()]
    given = [(name, value or "") for node in nodes for name, value in node.attributes.items()]
    handlers = [name for name, _ in given if name.startswith("on") or name in ("style", "srcdoc")]
    links = [v for n, v in given if n in ("href", "src", "action") and v and not v.startswith(("/", "#"))]
    return [*tags, *code, *handlers, *links, *(v for n, v in given if n in ("href", "src", "action") and v[:2] == "//")]


def shows(answer, *wanted):
    assert answer.status_code == 200, answer.text
    assert live(answer.text) == []
    assert [words for words in wanted if MARK + words not in answer.text] == []


def test_the_test_itself_sees_what_is_live():
    for payload in PAYLOADS[:4]:
        assert live(f"<p>{payload}</p>") or live(f"<input value='{payload}'>")


def test_on_the_page_of_a_ticket(site, browser, hostile):
    for number, ticket in enumerate(hostile):
        answer = browser.get(f"/tickets/{ticket['id']}")
        fields = [
            f"{n}-{number}" for n in ("subject", "body", "requester", "external_id", "source", "channel", "author")
        ]
        shows(answer, *fields, "key", "metadata", "title-", "field")


def test_in_the_list_of_tickets(browser, hostile):
    shows(browser.get("/tickets"), *(f"subject-{n}" for n in range(5)), *(f"title-{n}" for n in range(5)))
    sources = [PAYLOADS[n] + f"{MARK}source-{n}" for n in range(5)]
    for payload in [*PAYLOADS, *sources]:
        for name in ("q", "label", "llm", "source", "external_id", "field"):
            shows(browser.get("/tickets", params={name: payload, "limit": "2"}))
        for name in ("status", "since", "cursor", "min_confidence", payload):
            answer = browser.get("/tickets", params={name: payload})
            assert (answer.status_code, live(answer.text)) == (422, [])


def test_on_the_first_page(site, browser, hostile):
    site.sql("UPDATE triages SET action = 'review'")
    site.sql("DELETE FROM verdicts")
    site.sql(
        "INSERT INTO workers (id, host, pid, llms) VALUES (gen_random_uuid(), 'h', 1, %s)",
        json.dumps({PAYLOADS[0] + MARK: {"error": PAYLOADS[1] + MARK}}),
    )
    shows(browser.get("/"), "subject-0", "body-0", "subject-1", "title-")


def test_on_the_report(browser, hostile):
    shows(browser.get("/report"))
    shows(browser.get("/report?since=2020-01-01&until=2100-01-01"))


def test_the_name_of_a_key(site, hostile):
    browser = site.browser()
    key = site.key("admin", name=PAYLOADS[1] + MARK + "name")
    assert browser.post("/login", data={"key": key}).status_code == 303
    shows(browser.get("/"), "name")
    posted = browser.post(f"/tickets/{hostile[1]['id']}/verdicts", data={"field": "category", "label": "top_up"})
    assert posted.status_code == 303
    shows(browser.get(f"/tickets/{hostile[1]['id']}"), "name")


def test_what_cannot_be_seen_is_shown(site, browser):
    ticket = site.classify(subject=UNSEEN, body=UNSEEN + "\r\nnext \U0001f469\u200d\U0001f4bb line\x00")
    page = browser.get(f"/tickets/{ticket['id']}").text
    assert not set("\u202e\u200b\x1b\x07\u2028\ufeff\x00\r") & set(page)
    for name in ("202E", "200B", "001B", "0007", "2028", "FEFF"):
        assert f">U+{name}</span>" in page
    assert "\nnext \U0001f469\u200d\U0001f4bb line\ufffd" in page
    assert "repaired" in page


def test_every_label_of_every_taxonomy_is_escaped_without_its_title(site, browser, hostile):
    site.sql("UPDATE triages SET label = %s", PAYLOADS[1] + MARK + "gone")
    shows(browser.get("/"), "gone")
    shows(browser.get("/tickets"), "gone")
    shows(browser.get(f"/tickets/{hostile[2]['id']}"), "gone")
    with transaction(site.database) as session:
        assert session.scalar(text("SELECT count(*) FROM taxonomy_versions")) == 2
