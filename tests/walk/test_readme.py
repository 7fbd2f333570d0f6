"""Every curl line of the README works as printed against a running `triage up`; its recipes are the tested ones."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from processes import ROOT, Up, eventually

README = (ROOT / "README.md").read_text()
WALK = README.partition("<!-- walkthrough -->")[2].partition("<!-- end of walkthrough -->")[0]
LINES = [line for block in re.findall(r"```sh\n(.*?)```", WALK, re.DOTALL) for line in block.splitlines()]
RECIPES = ROOT / "tests" / "helpdesks" / "recipes"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("readme"))
    made.start()
    yield made
    made.end()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_work_in_order(up: Up) -> None:
    assert len(LINES) >= 8
    answers = [_run(line, up) for line in LINES]
    posted = answers[0]
    assert posted["triage"][0]["label"] == "card_delivery_and_activation"
    assert posted["triage"][0].keys() >= _shown().keys()
    assert [item.get("status") for item in answers[1]["items"]] == ["queued", None]
    assert [item["external_id"] for item in answers[2]["items"]] == ["1001"]
    assert answers[3]["source"] == "dataset"
    eventually(lambda: _run(LINES[4], up)["counted"]["behind_hours"] == 0, why="the verdict is not counted")
    assert _run(LINES[4], up)["cascade"]["accuracy"][0]["n"] == 1
    assert answers[5]["version"] == 1
    assert len(answers[6]["items"]) == 2
    assert answers[7] == {"status": "ok", "missing": []}


def _run(line: str, up: Up) -> dict:
    assert line.startswith("curl -s ")
    here = line.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{up.port}").replace(
        ".triage/key", str(up.data_dir / "key")
    )
    done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _shown() -> dict:
    """The decision that the README prints."""
    return json.loads(re.search(r"```json\n(.*?)```", WALK, re.DOTALL)[1])


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_readme_s_recipes_are_the_tested_ones(path: Path) -> None:
    printed = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    tested = yaml.safe_load(path.read_text())
    assert tested in printed
