"""At 100,000 tickets every single filter, and five pairs that people use, is served by an index and reads few rows."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from service.tickets.backlog import BACKLOG, FAILED
from service.tickets.query import Filters, filtered

ROWS = 100_000
PAGE = 51
MOST_READ = ROWS // 15  # a walk in order of time may skip what does not fit, but not most of the table
DAY = datetime(2026, 6, 1, tzinfo=UTC)

TICKETS = """
    INSERT INTO tickets (id, source, external_id, subject, body, raw, content_sha256, shadow, shadow_rate, status,
                         received_at)
    SELECT gen_random_uuid(), CASE WHEN i % 1000 = 0 THEN 'rare' ELSE 'crm' END, i::text, 'subject ' || i,
           CASE WHEN i % 5000 = 0 THEN 'unicorn' ELSE 'card' END || ' body of ticket ' || i, '', '', false, 0,
           CASE WHEN i % 2000 = 0 THEN 'failed' ELSE 'done' END,
           timestamptz '2026-01-01' + i * interval '3 minutes'
    FROM generate_series(1, :rows) i"""
TRIAGES = """
    INSERT INTO triages (ticket_id, run, field, taxonomy_version, label, confidence, calibrated, decided_by, llms,
                         action, reason, alternatives, wait_ms, time_to_label_ms, received_at)
    SELECT id, 1, 'category', 1, CASE WHEN external_id::int % 1500 = 0 THEN 'refunds' ELSE 'top_up' END,
           (external_id::int % 997) / 997.0, true, 'cascade',
           CASE WHEN external_id::int % 1000 = 0 THEN '{rare}' ELSE '{primary}' END::text[],
           CASE WHEN external_id::int % 700 = 0 THEN 'automate' ELSE 'suggest' END, 'x', '[]', 0, 0, received_at
    FROM tickets"""

SINGLE = [
    {},
    {"status": "done"},
    {"status": "failed"},
    {"label": "top_up"},
    {"label": "refunds"},
    {"field": "category"},
    {"llm": "primary"},
    {"llm": "rare"},
    {"llm": "nobody"},
    {"source": "crm"},
    {"source": "rare"},
    {"external_id": "77777"},
    {"min_confidence": 0.999},
    {"min_confidence": 0.1},
    {"max_confidence": 0.001},
    {"max_confidence": 0.0},
    {"action": "automate"},
    {"action": "suggest"},
    {"since": DAY},
    {"until": DAY},
    {"q": "unicorn"},
    {"q": "card"},
]
PAIRS = [
    {"status": "failed", "source": "crm"},
    {"label": "refunds", "since": DAY},
    {"label": "top_up", "max_confidence": 0.01},
    {"action": "suggest", "max_confidence": 0.01},
    {"source": "rare", "until": DAY},
]


@pytest.fixture(scope="module")
def filled(module_database: Engine) -> Engine:
    with module_database.begin() as connection:
        connection.execute(text(TICKETS), {"rows": ROWS})
        connection.execute(text(TRIAGES))
    with module_database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE tickets, triages"))
    return module_database


def plan(engine: Engine, filters: Filters) -> dict:
    compiled = filtered(filters).limit(PAGE).compile(dialect=engine.dialect)
    with engine.connect() as connection:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}"
        return connection.exec_driver_sql(explain, compiled.params).scalar_one()[0]["Plan"]


def nodes(found: dict):
    yield found
    for child in found.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("asked", [*SINGLE, *PAIRS], ids=str)
def test_an_index_serves_it(filled, asked):
    found = list(nodes(plan(filled, Filters(**asked))))
    assert not [node for node in found if node["Node Type"] == "Seq Scan"]
    read = sum(
        n["Actual Rows"] * n["Actual Loops"] + n.get("Rows Removed by Filter", 0)
        for n in found
        if "Scan" in n["Node Type"]
    )
    assert read <= MOST_READ, f"{read} rows read for a page"


@pytest.mark.parametrize("asked", [{}, {"label": "top_up"}, {"source": "crm"}], ids=str)
def test_the_hundredth_page_is_as_cheap_as_the_first(filled, asked):
    with filled.connect() as connection:
        far = filtered(Filters(**asked)).offset(100 * PAGE).limit(1)
        ticket = connection.execute(far).one()
    from service.tickets.shapes import cursor

    found = list(nodes(plan(filled, Filters(**asked, cursor=cursor(ticket)))))
    assert not [node for node in found if node["Node Type"] in ("Seq Scan", "Sort")]


def test_search_finds_words_phrases_and_exclusions(filled):
    def count(q):
        with filled.connect() as connection:
            return len(connection.execute(filtered(Filters(q=q, limit=500)).limit(200_000)).all())

    assert count("unicorn") == ROWS // 5000
    assert count('"unicorn body"') == ROWS // 5000
    assert count('"body unicorn"') == 0
    assert count("unicorn -ticket") == 0
    assert count("card or unicorn") == ROWS
    assert count("'; DROP TABLE tickets; --") == 0


def test_what_a_scrape_asks_about_the_queue_reads_only_the_queue(filled):
    with filled.connect() as connection:
        found = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {BACKLOG}"), {"most": 1000}).scalar_one()
    scans = [node for node in nodes(found[0]["Plan"]) if "Scan" in node["Node Type"]]
    assert len(scans) >= 2
    assert all("Index" in node["Node Type"] or "Bitmap" in node["Node Type"] for node in scans)
    assert sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans) == 0


def test_what_a_scrape_asks_about_failed_tickets_reads_only_those(filled):
    with filled.connect() as connection:
        found = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {FAILED}"), {"most": 10_000}).scalar_one()
    scans = [node for node in nodes(found[0]["Plan"]) if "Scan" in node["Node Type"]]
    assert all("Index" in node["Node Type"] or "Bitmap" in node["Node Type"] for node in scans)
    assert max(node["Actual Rows"] for node in scans) == ROWS // 2000
