"""Who may see pages: a signed cookie over a key, asked for at every request; only our own pages change things."""

import time
from uuid import UUID

import pytest

from models.db import transaction
from service.auth import known
from service.auth.keys import Scope, revoke_key
from service.pages import session

SOME = "/tickets/01a1feef-60f3-7010-b789-e50222ae6516"
PAGES = [("/", Scope.TICKETS_READ), ("/tickets", Scope.TICKETS_READ), (SOME, Scope.TICKETS_READ)]
PAGES += [(path, Scope.REPORTS_READ) for path in ("/report", "/report.csv", "/report.json")]
POSTS = [("/classify", Scope.TICKETS_WRITE), (f"{SOME}/verdicts", Scope.VERDICTS_WRITE)]
POSTS += [(f"{SOME}/{way}", Scope.TICKETS_WRITE) for way in ("reclassify", "requeue")]
POSTS += [(f"{SOME}/erase", Scope.ADMIN)]


def asks_to_sign_in(answer):
    return answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_a_page_needs_its_scope(site, path, scope):
    assert asks_to_sign_in(site.browser().get(path))
    others = site.browser(*(set(Scope) - {scope, Scope.ADMIN})).get(path)
    assert (others.status_code, "lacks the scope" in others.text) == (403, True)
    assert site.browser(scope).get(path).status_code in (200, 404)


@pytest.mark.parametrize(("path", "scope"), POSTS)
def test_a_button_needs_its_scope(site, path, scope):
    assert asks_to_sign_in(site.browser().post(path, data={}))
    assert site.browser(*(set(Scope) - {scope, Scope.ADMIN})).post(path, data={}).status_code == 403
    assert site.sql("SELECT count(*) FROM verdicts") == [(0,)]


def test_who_may_read_reports_alone_finds_them(site):
    page = site.browser("reports:read").get("/")
    assert page.status_code == 403
    assert '<a href="/report">Report</a>' in page.text


def test_a_bearer_key_opens_no_page_and_a_cookie_no_api(site):
    assert asks_to_sign_in(site.api.get("/"))
    assert site.browser("admin").get("/v1/tickets").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(site):
    browser, key = site.browser(), site.key("admin")
    answer = browser.post("/login", data={"key": f" {key}\n"})
    (cookie,) = answer.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie  # the public address is plain http here
    assert key not in answer.text + str(answer.headers)


def test_a_wrong_key_signs_nobody_in(site):
    for wrong in ("", "nonsense", "triage_" + "a" * 43, "\u00e9", "a b"):
        answer = site.browser().post("/login", data={"key": wrong})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        assert "unknown or revoked" in answer.text
    assert site.browser().post("/login", content=b"{}", headers={"Content-Type": "application/json"}).status_code == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.browser().post("/login", content=b"key=%ff", headers=form).status_code == 400


def with_cookie(site, text):
    browser = site.browser()
    browser.cookies.set(session.COOKIE, text)
    return browser.get("/")


def test_only_a_cookie_we_signed_and_that_is_not_over_counts(site):
    key_id = site.sql("SELECT id FROM api_keys ORDER BY created_at LIMIT 1")[0][0]
    other = site.sql("SELECT id FROM api_keys ORDER BY created_at DESC LIMIT 1")[0][0]
    found = known.Keys(site.database)._look_up(key_id)
    good = session.sign(found, time.time())
    assert with_cookie(site, good).status_code == 200
    over = session.sign(found, time.time() - session.LIFE.total_seconds() - 1)
    owner, ends, mac = good.split(".")
    forged = [
        f"{other}.{ends}.{mac}",
        f"{owner}.{int(ends) + 1}.{mac}",
        f"{owner}.{ends}.",
        f"{owner}.{ends}.{'A' * 43}",
    ]
    broken = ["", ".", "..", "x.y.z", good[:-1], good + "A", good.replace(".", ""), f"{UUID(int=0)}.{ends}.{mac}"]
    for text in [over, *forged, *broken]:
        assert asks_to_sign_in(with_cookie(site, text)), text


def test_a_revoked_key_takes_its_sessions_with_it(site, monkeypatch):
    key = site.key("admin", name="short")
    browser = site.browser()
    assert browser.post("/login", data={"key": key}).status_code == 303
    assert browser.get("/").status_code == 200
    ((key_id,),) = site.sql("SELECT id FROM api_keys WHERE name = 'short'")
    with transaction(site.database) as rows:
        revoke_key(rows, key_id)
    real = known.time.monotonic
    monkeypatch.setattr(known.time, "monotonic", lambda: real() + 30)
    assert asks_to_sign_in(browser.get("/"))
    assert asks_to_sign_in(browser.post(f"{SOME}/verdicts", data={}))
    assert browser.post("/login", data={"key": key}).status_code == 401


def test_signing_out_ends_it(site):
    browser = site.browser("admin")
    assert browser.post("/logout").headers["location"] == "/login"
    assert asks_to_sign_in(browser.get("/"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_post_from_another_site_is_refused(site, browser, headers):
    before = site.sql("SELECT count(*) FROM tickets")
    for path in (*(path for path, _ in POSTS), "/logout", "/login"):
        answer = browser.post(path, data={"body": "x"}, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "from another site" in answer.text
        assert "set-cookie" not in answer.headers
    assert site.sql("SELECT count(*) FROM tickets") == before
    assert browser.get("/").status_code == 200


def test_without_an_origin_the_browser_s_word_counts(site):
    browser = site.browser("admin")
    del browser.headers["Origin"]
    assert browser.post("/logout").status_code == 403
    assert browser.post("/logout", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        ("/tickets?label=top_up&status=done", "/tickets?label=top_up&status=done"),
        ("/report", "/report"),
        ("/tickets?q=a%20%26b", "/tickets?q=a%20%26b"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("tickets", "/"),
        ("", "/"),
        ("/login?next=/login", "/"),
        ("/logout", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/%0d%0aSet-Cookie:x", "/%0d%0aSet-Cookie%3Ax"),
    ],
)
def test_signing_in_never_leads_away(site, wanted, to):
    answer = site.browser().post("/login", data={"key": site.key("admin"), "next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, to)
    assert "x=y" not in str(answer.headers)


def test_who_is_not_signed_in_comes_back_to_the_page(site):
    browser = site.browser()
    away = browser.get("/tickets?label=top_up&status=done")
    form = browser.get(away.headers["location"]).text
    assert 'name="next" value="/tickets?label=top_up&amp;status=done"' in form


def test_a_link_on_another_site_is_followed_by_our_own_page(site):
    """A Strict cookie does not come with it, so our page asks again; a signed-in reader never sees the login."""
    answer = site.browser().get("/tickets?q=%22%3E", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 401
    assert 'data-go="/tickets?q=%22%3E"' in answer.text
