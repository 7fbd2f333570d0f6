"""The report kept as a file, opened from the disk: it shows everything, runs nothing and asks no host for anything."""

import pytest
from test_looks import serious


@pytest.fixture(scope="module")
def file(site, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "report.html"
    path.write_bytes(site.api.get("/v1/report?format=html").content)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_whole_and_readable(chromium, file, scheme):
    page = chromium.new_page(color_scheme=scheme)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: errors.append(said.text))
    page.goto(file.as_uri())
    assert page.locator("p.verdict strong").is_visible()
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light"), "its styles are applied"
    assert page.locator("svg").count() == 2
    assert page.locator("svg polyline").first.evaluate("(line) => getComputedStyle(line).stroke") != "none"
    assert serious(page) == []
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert (asked, errors) == ([file.as_uri()], [])
    page.close()


def test_the_page_offers_it(person, file):
    person.sign_in()
    page = person.open("/report")
    with page.expect_download() as begun:
        page.get_by_role("link", name="as HTML").click()
    saved = begun.value.path().read_text("utf-8")
    assert saved.splitlines()[:8] == file.read_text("utf-8").splitlines()[:8]
