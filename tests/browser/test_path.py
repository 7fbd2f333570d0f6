"""What a support lead does, in a real browser: sign in, filter, correct a label, read the report."""

import pytest

from service.pages import home


def test_the_path_of_a_support_lead(person, site):
    page = person.open("/tickets?status=done")
    assert page.url.endswith("/login?next=%2Ftickets%3Fstatus%3Ddone")
    page.get_by_label("API key").fill(site.key("admin", name="Lea"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/tickets?status=done")

    page.get_by_label("words in the text").fill("refund")
    page.get_by_role("combobox", name="Queue", exact=True).select_option(label="Refunds")
    page.get_by_role("button", name="Filter").click()
    rows = page.locator("tbody tr")
    assert rows.count() > 0
    assert all("Refunds" in text and "refund" in text.lower() for text in rows.all_inner_texts())

    rows.first.get_by_role("link").click()
    page.get_by_label("The right label for category").select_option(label="Transfers")
    page.get_by_role("button", name="Correct it").click()
    page.get_by_text("Reviewed: Transfers").wait_for()
    ticket_id = page.url.split("/")[-1].split("#")[0]
    found = site.sql("SELECT label, source, author FROM verdicts WHERE ticket_id = %s AND source = 'review'", ticket_id)
    assert found == [("transfers", "review", "Lea")]

    page.get_by_role("button", name="Right").click()
    page.get_by_text("Reviewed: Refunds").wait_for()

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Report").click()
    words = ("A better", "B better", "no evidence", "not enough verdicts: about ")
    assert page.locator(".verdict strong").inner_text().startswith(words)
    page.get_by_role("button", name="Sign out Lea").click()
    page.wait_for_url("**/login")
    assert person.open("/report").url.endswith("/login?next=%2Freport")


def test_a_pasted_ticket_shows_its_answer_as_soon_as_it_is_there(person, site, monkeypatch):
    monkeypatch.setattr(home, "WAIT_S", 0.2)
    page = person.sign_in()
    page.get_by_label("The text of a ticket").fill("My card has not arrived")
    page.get_by_role("button", name="Classify").click()
    page.get_by_text("No answer yet.").wait_for()
    site.drain.run()
    page.get_by_role("heading", name="Queue: Card delivery").wait_for()
    assert site.sql("SELECT source, body FROM tickets ORDER BY received_at DESC LIMIT 1") == [
        ("page", "My card has not arrived")
    ]


def test_by_keyboard_alone(person):
    page = person.sign_in()
    page.goto(page.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", seen
    assert seen[:5] == ["Triage", "Overview", "Tickets", "Report", "Sign out Ana"]


DRAWN = """(id) => Chart.getChart(document.querySelector(`section[aria-labelledby=${id}] canvas`))
    .data.datasets.map((one) => [one.label, one.data])"""


def numbers(page, section):
    """Of each row of a chart's table, its name and its numbers."""
    rows = page.locator(f"section[aria-labelledby={section}] figure tbody tr").all()
    cells = "(row) => [...row.querySelectorAll('[data-value]')].map((cell) => Number(cell.dataset.value))"
    return [(row.locator("th").text_content(), row.evaluate(cells)) for row in rows]


@pytest.mark.parametrize(
    ("path", "section", "names"),
    [
        ("/?window=7d", "came", ["automated", "suggested", "for review"]),
        ("/report", "latency", ["median", "95th percentile"]),
    ],
)
def test_bars_show_the_numbers_of_their_table(person, path, section, names):
    person.sign_in()
    page = person.open(path)
    drawn = page.evaluate(DRAWN, section)
    assert [name for name, _ in drawn] == names
    rows = [values for _, values in numbers(page, section)]
    assert [data for _, data in drawn] == [[row[column] for row in rows] for column in range(len(names))]
    assert any(sum(data) > 0 for _, data in drawn)


def test_curves_show_the_numbers_of_their_table(person):
    person.sign_in()
    page = person.open("/report")
    drawn = dict(page.evaluate(DRAWN, "coverage"))
    assert len(drawn) == 2
    rows = numbers(page, "coverage")
    for name, points in drawn.items():
        assert [[point["x"], point["y"]] for point in points] == [values for row, values in rows if row == name]
        assert points[-1]["x"] == 1


def test_a_link_from_another_site_reaches_a_signed_in_reader(person, site):
    """The Strict cookie does not travel with it; our own page asks again."""
    page = person.sign_in()
    other = str(site.api.base_url).replace("127.0.0.1", "localhost").rstrip("/")
    page.route(
        "**/elsewhere", lambda route: route.fulfill(content_type="text/html", body=f'<a href="{page.url}">x</a>')
    )
    page.goto(f"{other}/elsewhere")
    page.get_by_role("link").click()
    page.get_by_role("heading", name="Overview").wait_for()
    person.strangers = [url for url in person.strangers if not url.startswith(other)]
    person.errors = [error for error in person.errors if "401" not in error and "favicon" not in error]


def test_over_plain_http_on_a_network_our_own_forms_are_known_by_their_origin(chromium, site):
    """There a browser sends no Sec-Fetch-Site, and with the stricter no-referrer it would send `Origin: null`."""
    context = chromium.new_context()
    page, sent = context.new_page(), []
    page.on("request", lambda request: sent.append(request.all_headers()) if request.method == "POST" else None)
    address = str(site.api.base_url).replace("127.0.0.1", "triage.test").rstrip("/")
    page.goto(f"{address}/login")
    page.get_by_label("API key").fill(site.key("admin"))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    assert [(headers.get("origin"), headers.get("sec-fetch-site")) for headers in sent] == [(address, None)]
    context.close()
