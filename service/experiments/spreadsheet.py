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
    for llm in report["llms"]:
        yield from _llm(llm)
    yield from _cascade(report["cascade"])
    for pair in report["pair"]:
        yield from _pair(pair, report["experiment"])
    for row in report["corrections"]:
        yield _proportion(row["changed"], part="corrections", source=row["source"], figure="changed")


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


def _pair(pair: dict[str, Any], experiment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    who = {"part": "pair", "who": f"{experiment['a']} against {experiment['b']}", "source": pair["source"]}
    bounds = pair["difference_interval"] or {"low": None, "high": None}
    yield who | {"figure": "accuracy difference", "value": pair["difference"], "n": pair["n"]} | bounds
    yield who | {"figure": "exact McNemar p", "value": pair["p_value"], "n": pair["only_a"] + pair["only_b"]}
    yield who | {"figure": pair["verdict"]["word"], "n": pair["n"]}


def _times(times: dict[str, Any], who: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, row in times.items():
        for quantile in ("p50", "p95"):
            yield who | {"figure": f"{name} {quantile}", "value": row[quantile], "n": row["n"]}


def _proportion(row: dict[str, Any], **named: Any) -> dict[str, Any]:
    return named | {key: row[key] for key in ("value", "low", "high", "n")}
