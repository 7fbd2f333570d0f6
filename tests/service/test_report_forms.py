"""A report by experiment, window and form: what is asked for is what comes, and what is misspelt is named."""

import csv
import io

import pytest
from written import Written

from service.config import Config
from service.experiments.spreadsheet import as_csv

EXPERIMENTS = [
    {"name": "over", "a": {"primary": "fallback"}, "b": {"primary": "primary"}, "until": "2020-02-01T00:00:00Z"},
    {
        "name": "halves",
        "mode": "split",
        "a": {"primary": "primary", "fallback": "fallback", "escalate_below": 0.6},
        "b": {"primary": "primary"},
        "since": "2020-02-01T00:00:00Z",
    },
]


@pytest.fixture
def loaded(loaded):
    """The committed configuration with two experiments: one is over, one is running."""
    given = loaded.config.model_dump(exclude_unset=True) | {"experiments": EXPERIMENTS}
    return loaded.model_copy(update={"config": Config.model_validate(given)})


@pytest.fixture
def write(sql):
    return Written(sql)


def test_without_a_name_it_is_the_running_experiments(client):
    experiment = client.get("/v1/report").json()["experiment"]
    alone = {"fallback": None, "escalate_below": 0.8, "combine": "average", "calibration": None}
    assert experiment == {
        "name": "halves",
        "implied": False,
        "mode": "split",
        "field": "category",
        "since": "2020-02-01T00:00:00Z",
        "until": None,
        "a": "primary",
        "b": "primary",
        "arms": {
            "a": {"primary": "primary"} | alone | {"fallback": "fallback", "escalate_below": 0.6},
            "b": {"primary": "primary"} | alone,
        },
    }
    assert client.get("/v1/experiments/halves/report").json()["experiment"] == experiment


def test_the_implied_one_has_a_report_beside_the_others(client):
    found = client.get("/v1/experiments/primary-or-fallback/report").json()["experiment"]
    assert (found["implied"], found["a"], found["b"]) == (True, "primary", "fallback")


@pytest.mark.parametrize("name", ["none", "%00", "%3Cscript%3E"])
def test_an_unknown_experiment_is_404(client, name):
    answer = client.get(f"/v1/experiments/{name}/report")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "There is no experiment" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/report", "/v1/experiments/over/report"])
@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("sinse=2020-01-01", "sinse"),
        ("format=xml", "format"),
        ("format=CSV", "format"),
        ("until=x", "until"),
        ("until=2026", "until"),
    ],
)
def test_what_is_misspelt_is_named(client, path, asked, named):
    answer = client.get(f"{path}?{asked}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [named]


def test_an_experiment_reports_its_own_tickets_of_its_own_time(client, write):
    for experiment, day in [
        ("over", "2020-01-10"),
        ("over", "2020-03-01"),
        (None, "2020-01-10"),
        ("halves", "2020-01-10"),
    ]:
        write.ticket(experiment=experiment, received_at=f"{day}T00:00:00Z")
    found = client.get("/v1/experiments/over/report").json()
    assert (found["tickets"]["received"], found["since"], found["until"]) == (1, None, "2020-02-01T00:00:00Z")
    asked = {"since": "2020-01-11T00:00:00Z", "until": "2020-05-01T00:00:00Z"}
    found = client.get("/v1/experiments/over/report", params=asked).json()
    assert found["tickets"]["received"] == 0
    assert (found["since"], found["until"]) == ("2020-01-11T00:00:00Z", "2020-02-01T00:00:00Z")
    assert client.get("/v1/experiments/primary-or-fallback/report").json()["tickets"]["received"] == 4


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("image/png", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html;q=0.1, text/csv; q=0.5, application/json;q=0.2", "text/csv; charset=utf-8"),
        ("text/csv;q=0, text/html;q=0.000", "application/json"),
        ("TEXT/CSV;q=1.0, application/json", "text/csv; charset=utf-8"),
    ],
)
def test_accept_says_which_form(client, accept, kind):
    answer = client.get("/v1/report", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert (
        client.get("/v1/report?format=json", headers={"Accept": accept}).headers["content-type"] == "application/json"
    )


def test_the_csv_of_a_pair_holds_the_figures_of_the_json(client, write):
    for truth in ("refunds", "top_up", "transfers"):
        write.judged("refunds", "top_up", truth)
    address = "/v1/experiments/primary-or-fallback/report"
    found, answer = client.get(address).json(), client.get(f"{address}?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    accuracy = {row["who"]: row for row in rows if row["part"] == "llm" and row["figure"] == "accuracy"}
    assert set(accuracy) == {"primary", "fallback"}
    for llm in found["llms"]:
        shown = [float(accuracy[llm["llm"]][k]) for k in ("value", "low", "high", "n")]
        assert shown == [llm["accuracy"][0][k] for k in ("value", "low", "high", "n")]
    (conclusion,) = [row for row in rows if row["part"] == "conclusion"]
    assert conclusion["figure"] == found["pair"][0]["verdict"]["sentence"]
    assert ("taxonomy version", "1") in [(row["figure"], row["value"]) for row in rows]


def test_the_csv_of_a_split_holds_the_figures_of_the_json(client, write):
    for number in range(6):
        write.served("ab"[number % 2], number != 1, f"requester {number // 2}", received_at="2020-02-02T00:00:00Z")
    found, text = client.get("/v1/report").json(), client.get("/v1/report?format=csv").text
    rows = {(row["part"], row["who"], row["figure"]): row for row in csv.DictReader(io.StringIO(text))}
    for name, arm in found["arms"].items():
        accuracy = rows["arm", f"{name.upper()}: primary", "accuracy"]
        assert [float(accuracy[k]) for k in ("value", "low", "high")] == [
            arm["accuracy"][0][k] for k in ("value", "low", "high")
        ]
        assert int(rows["arm", f"{name.upper()}: primary", "served as assigned"]["n"]) == 3
    difference = rows["split", "primary against primary", "accuracy difference"]
    (split,) = found["split"]
    assert [float(difference[k]) for k in ("value", "low", "high", "n")] == [
        split["difference"], split["difference_interval"]["low"], split["difference_interval"]["high"], 6,
    ]  # fmt: skip


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_the_csv_is_a_formula(client, write, start):
    write.served("a", True, "Ana", received_at="2020-02-02T00:00:00Z")
    ticket = write.judged("refunds", "top_up", "transfers")
    write.sql("UPDATE llm_versions SET name = %s || name, digest = %s", start, start)
    write.sql("UPDATE verdicts SET label = %s WHERE ticket_id = %s", start, ticket)
    for name in ("halves", "primary-or-fallback"):
        found = client.get(f"/v1/experiments/{name}/report").json()
        found["experiment"] |= {"name": start, "a": start, "b": start}
        found["conclusions"][0]["source"] = start
        rows = list(csv.reader(io.StringIO(as_csv(found))))
        texts = [cell for row in rows[1:] for cell in row if not _number(cell)]
        assert [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
        assert f"'{start} against {start}" in texts


def _number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
