"""Debian's Chromium, driven by Playwright, on a service with real tickets; without that browser all this is skipped."""

import json
import shutil
from collections.abc import Iterator

import pytest
from browsing import Watched, window
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Engine
from website import Site, configured, opened

from service.datadir import Urls
from service.settings import DEMO_LLMS
from workers.llms import Llms

CHROMIUM = shutil.which("chromium")
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
LAN = "triage.test"  # a name as on an office network: plain http, not loopback
FLAGS += [f"--host-resolver-rules=MAP {LAN} 127.0.0.1"]
TICKETS = 200
JUDGED = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        for item in items:
            if "browser" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="chromium is not installed: apt-get install chromium"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser, in a profile of its own that is gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(
    module_database: Engine, servers: Urls, llms: Llms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The demo's tickets, classified, the first of them with their true labels, and one that failed."""
    loaded = configured(module_database, servers.redis_url, tmp_path_factory.mktemp("data"), allowed_hosts=LAN)
    with opened(loaded, module_database, llms) as made:
        _fill(made)
        yield made


def _fill(site: Site) -> None:
    lines = (DEMO_LLMS / "tickets.jsonl").read_text("utf-8").splitlines()[:TICKETS]
    rows = [json.loads(line) for line in lines]
    tickets = [{"body": row["body"], "external_id": row["id"], "source": "demo"} for row in rows]
    items = site.api.post("/v1/tickets/batch", json={"tickets": tickets}).json()["items"]
    site.drain.run()
    for item, row in list(zip(items, rows, strict=True))[:JUDGED]:
        verdict = {"field": "category", "label": row["label"]["category"], "source": "dataset", "author": "banking77"}
        assert site.api.post(f"/v1/tickets/{item['id']}/verdicts", json=verdict).status_code == 201
    why = "The llm primary refused this ticket five times."
    site.sql("UPDATE tickets SET status = 'failed', last_error = %s WHERE id = %s", why, items[-1]["id"])
    llms = json.dumps({"primary": {"error": None}, "fallback": {"error": None}})
    later = "now() + interval '1 hour'"  # a heartbeat that outlives the tests
    site.sql(f"INSERT INTO workers (id, host, pid, llms, seen_at) VALUES (gen_random_uuid(), '', 1, %s, {later})", llms)


@pytest.fixture
def person(chromium: Browser, site: Site) -> Iterator[Watched]:
    with window(chromium, site) as made:
        yield made
