"""A report as one HTML file: its styles and drawings inside, no script, nothing asked of any host.

Made for the API, the pages and `triage report`; it shows what the page shows, from the same templates.
"""

import base64
import hashlib
from typing import Any

from markupsafe import Markup

from models.taxonomy import Taxonomy
from service.pages import page, plot
from service.pages.shown import titles

STYLES = "".join((page.HERE / "static" / name).read_text("utf-8") for name in ("triage.css", "report.css"))
_HASH = base64.b64encode(hashlib.sha256(STYLES.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
HEADERS = page.HEADERS | {"Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'"}


def render(found: dict[str, Any], vocabulary: Taxonomy) -> str:
    """The file's text; `found` is what `report.build` gives."""
    values = shown(found, vocabulary)
    values["charts"] = "report_drawn.html"
    values["plots"] = {"scatter": plot.curves(found["llms"]), "bar": plot.bars(values["latency"])}
    values["style"] = Markup("<style>{}</style>").format(Markup(STYLES))  # noqa: S704 (two files of ours)
    return page.templates.get_template("report_file.html").render(values, policy=POLICY)


def shown(found: dict[str, Any], vocabulary: Taxonomy) -> dict[str, Any]:
    """What the templates of page and file both show; the page's charts are drawn by its script."""
    named = {"charts": "parts.html", "titles": titles(vocabulary, found["field"])}
    return named | {"report": found, "latency": _latency(found)}


def _latency(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each part of each llm's time that was measured, then the ticket's own times."""
    parts = [(f"{llm['llm']}: {part}", row) for llm in found["llms"] for part, row in llm["times"].items()]
    parts += [(f"ticket: {part}", row) for part, row in found["cascade"]["times"].items()]
    return [{"name": name.removesuffix("_ms").replace("_", " ")} | row for name, row in parts if row["n"]]
