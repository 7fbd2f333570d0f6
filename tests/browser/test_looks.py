"""How pages look: readable by axe's rules and within 400 pixels, by day and by night; the README's pictures.

The pictures in docs/ are made by running this file with TRIAGE_TEST_SCREENSHOTS=docs.
"""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import window

SERIOUS = {"serious", "critical"}
PAGES = ["/login", "/?window=7d", "/tickets?limit=10", "/tickets?status=lost", "/report", "/nothing", "ticket"]
PICTURES = Path(os.environ.get("TRIAGE_TEST_SCREENSHOTS", ""))


@pytest.fixture(scope="module")
def cookies(chromium, site):
    """The state of a browser that has signed in."""
    with window(chromium, site) as person:
        return person.sign_in().context.storage_state()


def address(site, path):
    """`ticket` is one that the two llms disagree about: always the same one, though ids differ from run to run."""
    if path != "ticket":
        return path
    two = "SELECT ticket_id FROM predictions GROUP BY 1 HAVING count(DISTINCT label) > 1"
    first = f"SELECT id FROM tickets WHERE id IN ({two}) ORDER BY length(body), body LIMIT 1"
    return f"/tickets/{site.sql(first)[0][0]}"


def serious(page, **options):
    # Without a choice axe also describes every element that is well, of which a page with graphs has thousands.
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [(v["id"], v["help"], [n["html"] for n in v["nodes"]][:3]) for v in found if v["impact"] in SERIOUS]


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious_and_400_pixels_are_enough(chromium, site, cookies, path):
    with window(chromium, site, storage_state=None if path == "/login" else cookies) as person:
        page = person.open(address(site, path))
        assert serious(page) == []
        page.emulate_media(color_scheme="dark")
        page.reload()
        assert serious(page, runOnly=["color-contrast"]) == []
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert serious(page, runOnly=["scrollable-region-focusable", "target-size"]) == []
        person.errors = [said for said in person.errors if "404" not in said and "422" not in said]


SHOTS = [
    ("overview", "/?window=7d", "light", 860, 780),
    ("ticket", "ticket", "light", 860, 700),
    ("report-dark", "/report", "dark", 860, 600),
    ("tickets-narrow", "/tickets", "dark", 400, 640),
]


@pytest.mark.parametrize(("name", "path", "scheme", "width", "height"), SHOTS)
def test_pictures(chromium, site, cookies, tmp_path, name, path, scheme, width, height):
    look = {"color_scheme": scheme, "viewport": {"width": width, "height": height}}
    with window(chromium, site, storage_state=cookies, **look) as person:
        page = person.open(address(site, path))
        file = (PICTURES if PICTURES.name else tmp_path) / f"{name}.png"
        page.screenshot(path=file)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(255, 255, 255)") == (scheme == "light")
        assert file.stat().st_size < 100_000
