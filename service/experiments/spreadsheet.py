"""The report as CSV: one figure a line, with its n, interval and source. Called by the API. Pure."""

import csv
import io
from collections.abc import Iterator
from typing import Any

COLUMNS = ("part", "who", "digest", "source", "figure", "value", "low", "high", "n")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(report: dict[str, Any]) -> str:
    """The figures of `report.build` as RFC 4180 text. Names that a spreadsheet would run as a formula get a quote."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: safe(value) for key, value in line.items()} for line in _lines(report))
    return out.getvalue()


def safe(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _lines(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _over(report)
    for row in report["conclusions"]:
        yield {"part": "conclusion", "who": _both(report), "source": row["source"], "figure": row["sentence"]}
    for llm in report["llms"]:
        yield from _llm(llm)
    yield from _cascade(report["cascade"])
    for pair in report["pair"]:
        yield from _compared(pair, "pair", _both(report), "exact McNemar p", pair["n"])
    for name, arm in report["arms"].items():
        yield from _arm(arm, f"{name.upper()}: {report['experiment'][name]}")
    for row in report["split"]:
        yield from _compared(row, "split", _both(report), "z test p", row["accuracy_a"]["n"] + row["accuracy_b"]["n"])
    for row in report["corrections"]:
        yield _proportion(row["changed"], part="corrections", source=row["source"], figure="changed")


def _both(report: dict[str, Any]) -> str:
    experiment = report["experiment"]
    return f"{experiment['a']} against {experiment['b'] or 'nobody'}"


def _over(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Which tickets the report is over."""
    about = {"part": "report", "who": report["experiment"]["name"]}
    for name in ("since", "until"):
        yield about | {"figure": name, "value": report[name]}
    for version in report["taxonomy_versions"]:
        yield about | {"figure": "taxonomy version", "value": version}
    for status, n in report["tickets"].items():
        yield about | {"figure": f"tickets {status}", "n": n}
    for note in report["counted"]["notes"]:
        yield about | {"figure": note}


def _llm(llm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    who = {"part": "llm", "who": llm["llm"], "digest": llm["digest"]}
    for row in llm["accuracy"]:
        yield _proportion(row, **who, source=row["source"], figure="accuracy")
    yield who | {"figure": "mean_confidence", "value": llm["mean_confidence"], "n": llm["mean_confidence_n"]}
    yield from _times(llm["times"], who)
    for row in llm["coverage"]:
        figure = f"accuracy at confidence >= {row['threshold']:.4f}"
        yield _proportion(row, **who, source=row["source"], figure=figure)
    for row in llm["confusions"]:
        yield who | {"source": row["source"], "figure": f"{row['truth']} called {row['said']}", "n": row["n"]}


def _cascade(cascade: dict[str, Any]) -> Iterator[dict[str, Any]]:
    who = {"part": "cascade", "who": "as served"}
    for row in cascade["accuracy"]:
        yield _proportion(row, **who, source=row["source"], figure="accuracy")
    yield _proportion(cascade["escalated"], **who, figure="escalated")
    for action, n in cascade["actions"].items():
        yield who | {"figure": action, "n": n}
    yield from _times(cascade["times"], who)


def _compared(row: dict[str, Any], part: str, who: str, test: str, n: int) -> Iterator[dict[str, Any]]:
    """A against B by one source of truth; the n of a pair's test is what tells A from B."""
    about = {"part": part, "who": who, "source": row["source"]}
    bounds = row["difference_interval"] or {"low": None, "high": None}
    yield about | {"figure": "accuracy difference", "value": row["difference"], "n": n} | bounds
    yield about | {"figure": test, "value": row["p_value"], "n": row["only_a"] + row["only_b"] if part == "pair" else n}


def _arm(arm: dict[str, Any], who: str) -> Iterator[dict[str, Any]]:
    about = {"part": "arm", "who": who}
    for name in ("tickets", "units", "decided", "served_as_assigned"):
        yield about | {"figure": name.replace("_", " "), "n": arm[name]}
    for action, n in arm["actions"].items():
        yield about | {"figure": action, "n": n}
    for row in arm["accuracy"]:
        yield _proportion(row, **about, source=row["source"], figure="accuracy")
    yield from _times(arm["times"], about)


def _times(times: dict[str, Any], who: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, row in times.items():
        for quantile in ("p50", "p95"):
            yield who | {"figure": f"{name} {quantile}", "value": row[quantile], "n": row["n"]}


def _proportion(row: dict[str, Any], **named: Any) -> dict[str, Any]:
    return named | {key: row[key] for key in ("value", "low", "high", "n")}
