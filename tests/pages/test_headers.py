"""What every page carries, and which names the service answers to."""

import httpx
import pytest
from serving import serving
from sqlalchemy import text
from structlog.testing import capture_logs

from models.errors import ConfigError
from service import settings
from service.pages import figures
from service.pages.page import HERE, templates

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SOME = "/tickets/01a1feef-60f3-7010-b789-e50222ae6516"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/?window=1y", 422),
        ("/login", 200),
        ("/login?next=a&next=b", 200),
        ("/tickets", 200),
        ("/tickets?status=lost", 422),
        ("/tickets?q=%00", 422),
        ("/tickets?cursor=x", 422),
        ("/tickets?nonsense=1", 422),
        (SOME, 404),
        ("/tickets/no-id", 422),
        ("/report", 200),
        ("/report?since=soon", 422),
        ("/report?since=2026", 422),
        ("/report.json?until=20261122", 422),
        ("/tickets?since=2026", 422),
        ("/report?since=2026-01-31&until=", 200),
        ("/nonsense", 404),
        ("/classify", 405),
        ("/static/none.js", 404),
    ],
)
def test_every_page_carries_the_headers_and_nothing_inline(browser, path, status):
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert "<script>" not in answer.text
    assert "Demo llms" in answer.text


def test_a_page_that_takes_no_get_names_what_it_takes(browser):
    assert browser.get("/classify").headers["allow"] == "POST"


def test_no_template_has_inline_code_or_switches_escaping_off():
    forbidden = (
        "|safe",
        "autoescape",
        " style=",
        "<style",
        "http:",
        "https:",
        "javascript:",
        "onclick",
        "onload",
        "onsubmit",
    )
    for path in (HERE / "templates").iterdir():
        assert not [word for word in forbidden if word in path.read_text()], path.name
        assert templates.get_template(path.name)


def test_static_files_need_no_key_and_come_from_here(site):
    for name in ("triage.css", "triage.js", "icon.svg", "Chart.bundle.js"):
        answer = site.browser().get(f"/static/{name}")
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff")
        assert (
            site.browser().get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        )
    assert site.browser().get("/static/../page.py").status_code == 404
    assert site.browser().get("/static/%2e%2e/page.py").status_code == 404


@pytest.mark.parametrize("path", ["/v1/none", "/v1/report", "/openapi.json", "/healthz"])
def test_the_api_still_answers_json(site, path):
    assert "json" in site.browser().get(path).headers["content-type"]


def test_an_unknown_path_is_a_page_for_who_reads_html(site):
    assert "problem+json" in site.api.get("/nonsense").headers["content-type"]
    assert "There is no such page." in site.browser().get("/nonsense").text


def test_a_failure_of_ours_is_a_page_that_tells_nothing(browser, monkeypatch):
    monkeypatch.setattr(figures, "UNSURE", text("SELECT secret FROM nowhere"))
    with capture_logs() as logged:
        answer = browser.get("/")
    assert "request.failed" in [line["event"] for line in logged]
    assert (answer.status_code, answer.headers["content-security-policy"]) == (500, POLICY)
    assert "The log has the reason." in answer.text
    assert "secret" not in answer.text


HOSTS = [
    "localhost",
    "LOCALHOST:80",
    "127.0.0.1:8080",
    "[::1]:8080",
    "triage.example",
    "triage.example:443",
    "crm",
    "b.c",
]


@pytest.fixture(scope="module")
def public(module_loaded):
    """The service under a public https name, with two further names."""
    more = {"public_url": "https://triage.example", "allowed_hosts": "crm, B.c"}
    with serving(module_loaded.model_copy(update={"settings": module_loaded.settings.model_copy(update=more)})) as made:
        yield made


@pytest.mark.parametrize("host", HOSTS)
def test_our_own_names_are_answered(public, host):
    assert public.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "triage.example.evil.example", "localhost.evil.example", "", "[", "@localhost"]
)
def test_a_foreign_name_that_points_here_reaches_nothing(public, host):
    for path in ("/login", "/v1/tickets", "/static/triage.js"):
        assert public.get(path, headers={"Host": host}).status_code == 400
    assert public.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "wrong", ["triage.example", "https://", "https://[", "https://a/b", "ftp://a", "https://u:p@a"]
)
def test_a_public_address_that_is_none_stops_the_start(wrong):
    with pytest.raises(ConfigError, match="TRIAGE_PUBLIC_URL is wrong: it must be like https://"):
        settings.settings(None, public_url=wrong)
    assert settings.settings(None, public_url="https://triage.example:8443/").public_url


def test_behind_https_the_cookie_is_secure_and_the_public_origin_ours(site, public):
    given = {"data": {"key": site.key("admin")}, "follow_redirects": False}
    for origin, status in (
        ("https://triage.example", 303),
        ("https://evil.example", 403),
        ("https://triage.example.x", 403),
    ):
        answer: httpx.Response = public.post("/login", headers={"Origin": origin}, **given)
        assert answer.status_code == status
        assert ("Secure" in answer.headers.get("set-cookie", "")) == (status == 303)
