"""The Grafana dashboard: each metric in it is one that /metrics gives, with labels that it has; its form is right."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from prometheus_client import parser

from workers.engines.base import Timings
from workers.figures import Figures

DASHBOARD = json.loads((Path(__file__).resolve().parents[2] / "docker" / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
OF_PROMETHEUS = {"job", "le"}


@pytest.fixture
def samples(client, sql):
    """Sample name -> its labels, of a service with one worker that has counted everything once."""
    figures = Figures()
    figures.answered("primary", "primary", "assigned", [Timings(3.5, 0.5, 0.0, 2.0, 1.0, 40, 30)])
    figures.labelled(10.0, 20.0)
    figures.decisions.labels("category", "suggest").inc()
    figures.failures.labels("primary", "down").inc()
    with figures.asking("primary"):
        told = json.dumps(figures.dump())
    llms = json.dumps({"primary": {"error": None, "breaker": None}})
    sql("INSERT INTO workers (id, host, pid, llms, figures) VALUES (gen_random_uuid(), 'h', 1, %s, %s)", llms, told)
    families = parser.text_string_to_metric_families(client.get("/metrics").text)
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_it_asks_for_nothing_that_is_not_there(samples):
    for title, target in TARGETS:
        names = set(re.findall(r"triage_\w+", target["expr"]))
        assert names, title
        assert names <= samples.keys(), title
        asked = {label.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(",")}
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for name in names:
            assert asked | shown <= samples[name] | OF_PROMETHEUS, (title, name)


def test_it_leaves_nothing_out(samples):
    told = {re.sub("_(bucket|sum|count)$", "", name) for name in samples}
    asked = {name for _, target in TARGETS for name in re.findall(r"triage_\w+", target["expr"])}
    assert told == {re.sub("_(bucket|sum|count)$", "", name) for name in asked}


def test_its_form_is_what_grafana_imports():
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert DASHBOARD["title"]
    assert "id" not in DASHBOARD  # or an import would overwrite a stranger's
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "job"}
    for panel in PANELS:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_every_expression_is_closed():
    for title, target in TARGETS:
        for opening, closing in ("()", "[]", "{}"):
            assert target["expr"].count(opening) == target["expr"].count(closing), title


def test_no_panel_covers_another():
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)
