"""The report page of configured experiments: chosen by name, over their own tickets, a split with its two arms."""

import pytest
from selectolax.lexbor import LexborHTMLParser
from website import configured
from written import Written

from service.config import Config

EXPERIMENTS = [
    {
        "name": "halves",
        "mode": "split",
        "a": {"primary": "primary", "fallback": "fallback", "escalate_below": 0.6},
        "b": {"primary": "fallback"},
        "since": "2020-02-01T00:00:00Z",
        "until": "2020-03-01T00:00:00Z",
    },
    {"name": "doubled", "a": {"primary": "fallback"}, "b": {"primary": "primary"}, "since": "2020-03-01T00:00:00Z"},
]
DAY = "2020-02-02T00:00:00Z"


@pytest.fixture(scope="module")
def module_loaded(module_database, servers, tmp_path_factory):
    found = configured(module_database, servers.redis_url, tmp_path_factory.mktemp("data"))
    given = found.config.model_dump(exclude_unset=True) | {"experiments": EXPERIMENTS}
    return found.model_copy(update={"config": Config.model_validate(given)})


@pytest.fixture(scope="module")
def tickets(site):
    write = Written(site.sql)
    for number in range(36):
        write.served("a", True, f"a {number}", received_at=DAY)
        write.served("b", number % 2 == 0, f"b {number}", received_at=DAY)


def shown(browser, address):
    answer = browser.get(address)
    assert answer.status_code == 200, answer.text
    return LexborHTMLParser(answer.text)


def words(node):
    return " ".join(node.text().split())


def test_the_chooser_lists_all_and_shows_which(browser, tickets):
    for address, name in (
        ("/report", "doubled"),
        ("/report?experiment=halves", "halves"),
        ("/report?experiment=", "doubled"),
    ):
        options = shown(browser, address).css("select[name=experiment] option")
        assert [option.text() for option in options] == ["halves", "doubled", "primary-or-fallback"]
        assert [option.text() for option in options if "selected" in option.attributes] == [name]


def test_it_keeps_the_window_that_was_asked_for(browser, tickets):
    html = shown(browser, "/report?experiment=halves&since=2020-01-15&until=")
    fields = {field.attributes["name"]: field.attributes["value"] for field in html.css("form.filters input")}
    assert fields == {"since": "2020-01-15", "until": ""}
    links = [link.attributes["href"] for link in html.css("a[download]")]
    assert links[1] == "/report.csv?experiment=halves&since=2020-01-15T00%3A00%3A00Z"
    assert "2020-02-01 00:00:00 UTC to 2020-03-01 00:00:00 UTC" in html.css_first("dl.facts").text()


@pytest.mark.parametrize("kind", ["", ".html"])
def test_a_split_says_which_arm_is_better(browser, tickets, kind):
    html = shown(browser, f"/report{kind}?experiment=halves")
    verdict, hint, a, b = [words(node) for node in html.css("main > p")][:4]
    assert verdict.startswith("A better. A was right on 36 of 36 judged tickets, B on 18 of 36 (p < 0.0001)")
    assert hint.startswith("Truth from dataset, over tickets by the arm that their requester was assigned to.")
    assert (a, b) == ("A is primary, below 60.0 % with fallback (average).", "B is fallback alone.")
    arms = [[words(cell) for cell in row.css("td")] for row in html.css("section[aria-labelledby=arms] tbody tr")]
    assert [row[:3] for row in arms[:2]] == [["36", "36", "36"]] * 2
    assert arms[0][7].startswith("100.0 % (90.")
    assert "36 requesters in A, 36 in B (p 1.0000)" in words(html.css_first("section[aria-labelledby=arms]"))
    assert words(html.css("section[aria-labelledby=arms] td")[-1]) == "< 0.0001"
    assert not html.css(".badge.bad")


def test_a_shadow_experiment_has_no_arms(browser, tickets):
    html = shown(browser, "/report?experiment=doubled")
    assert html.css("section[aria-labelledby=arms]") == []
    assert words(html.css("main > p")[2]) == "A is fallback."
    assert "0 received" in html.css_first("dl.facts").text()


def test_uneven_halves_have_a_badge(site, browser, tickets):
    write = Written(site.sql)
    for number in range(60):
        write.served("a", True, f"more {number}", received_at=DAY)
    html = shown(browser, "/report?experiment=halves")
    assert words(html.css("main > p")[0]).startswith(
        "no evidence. The halves are not even: 96 requesters in A, 36 in B"
    )
    assert [badge.text() for badge in html.css(".badge.bad")] == ["not even"]


def test_an_unknown_experiment_is_a_page_that_says_so(browser):
    answer = browser.get("/report?experiment=%3Cscript%3E")
    assert answer.status_code == 404
    assert "There is no experiment &#39;&lt;script&gt;&#39;" in answer.text
