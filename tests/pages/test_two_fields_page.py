"""Pages where tickets have two fields: the list is about one of them, a ticket's page about both."""

import pytest
import taxonomies
from selectolax.lexbor import LexborHTMLParser

from models import taxonomy
from models.db import transaction

BODY = "My new card still has not arrived in the post, when will it come?"


@pytest.fixture(scope="module")
def ticket(site):
    """One ticket that is classified, and one that waits."""
    with transaction(site.database) as session:
        taxonomy.store(session, taxonomies.demo("category", "intent"))
    found = site.classify(body=BODY)
    site.api.post("/v1/tickets", json={"body": "later"})
    return found


def rows(browser, **filters):
    """The third and fourth cell of each ticket, and the third heading."""
    page = LexborHTMLParser(browser.get("/tickets", params=filters).text)
    cells = [[cell.text(strip=True) for cell in row.css("td")][1:3] for row in page.css("table.list tbody tr")]
    return page.css("table.list th")[2].text(), cells


def test_the_list_is_about_one_field(browser, ticket):
    sure = [f"{one['confidence'] * 100:.1f} %" for one in ticket["triage"]]
    for field, heading, title, shown in (
        ("category", "Queue", "Card delivery and activation", sure[0]),
        ("intent", "Intent", "Card has not arrived", sure[1]),
    ):
        found, (waiting, done) = rows(browser, field=field)
        assert found == heading
        assert waiting[0] == "\u2013"
        assert done[0] == title
        assert done[1].startswith(shown)


@pytest.mark.parametrize(
    ("filters", "n"),
    [
        ({"status": "queued", "field": "category"}, 1),
        ({"label": "card_arrival", "field": "intent"}, 1),
        ({"label": "card_delivery_and_activation"}, 1),
        ({"llm": "primary", "field": "intent"}, 1),
    ],
)
def test_the_field_alone_hides_no_ticket(browser, ticket, filters, n):
    assert len(rows(browser, **filters)[1]) == n
    assert [*rows(browser, **filters)[1][0]] != ["No ticket is like this."]


def test_a_ticket_s_page_decides_and_judges_each(site, browser, ticket):
    page = LexborHTMLParser(browser.get(f"/tickets/{ticket['id']}").text)
    assert [h2.text() for h2 in page.css(".decision h2")] == [
        "Queue: Card delivery and activation",
        "Intent: Card has not arrived",
    ]
    assert [len(form.css("option")) for form in page.css(".decision select")] == [11, 77]
    said = [next(cell.text() for cell in row.css("td")) for row in page.css("section[aria-labelledby=said] tbody tr")]
    assert sorted(said) == ["category", "category", "intent", "intent"]
    judged = browser.post(f"/tickets/{ticket['id']}/verdicts", data={"field": "intent", "label": "card_arrival"})
    assert judged.status_code == 303
    assert site.sql("SELECT field, label FROM verdicts") == [("intent", "card_arrival")]
