"""Rows made inside Postgres, as many as a table has after a year: tickets, what llms said of them, what humans decided.

Used by filtering.py, claiming.py and reporting.py.
"""

from itertools import islice
from typing import Any

import orjson

from benchmarks.stage import Stage, category
from benchmarks.tickets import labelled, texts

RARE, COMMON = "rare", "common"
SEARCHED = "unicorn"  # a word of no ticket of the demo
BODIES = 5_000

# The ids are version 7 with the time the ticket came, so that they lie in the index as those of real tickets do.
TICKETS = """
    INSERT INTO tickets (id, source, external_id, subject, body, raw, content_sha256, shadow, shadow_rate, status,
                         received_at, queued_at, due_at, claimed_at, done_at)
    SELECT (lpad(to_hex((1000 * extract(epoch FROM at))::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3)
            || '8' || substr(md5(i::text), 5, 15))::uuid,
           CASE WHEN %(queued)s THEN 'queue' WHEN mod(i, 1000) = 1 THEN 'rare' ELSE 'crm' END, i::text, '',
           body || CASE WHEN mod(i, 5000) = 2 THEN ' unicorn' ELSE '' END, body::bytea, sha256(body::bytea),
           NOT %(queued)s, 1.0,
           CASE WHEN %(queued)s THEN 'queued' WHEN mod(i, 1000) = 3 THEN 'failed' ELSE 'done' END,
           at, at, at, CASE WHEN NOT %(queued)s THEN at END, CASE WHEN NOT %(queued)s THEN at END
    FROM generate_series(1, %(rows)s) i,
         LATERAL (SELECT (%(bodies)s::text[])[1 + mod(i, %(kinds)s)] AS body,
                         now() - (%(rows)s - i) * %(apart)s::interval AS at) made
    ORDER BY i"""
TRIAGES = """
    INSERT INTO triages (ticket_id, run, field, taxonomy_version, label, confidence, calibrated, decided_by, llms,
                         action, reason, alternatives, wait_ms, time_to_label_ms, received_at)
    SELECT id, 1, 'category', 1, CASE WHEN mod(i, 1000) = 4 THEN 'rare' ELSE %(common)s END,
           mod(i, 1000) / 1000.0, true, 'cascade',
           CASE WHEN mod(i, 1000) = 5 THEN '{rare}' ELSE '{primary}' END::text[],
           CASE WHEN mod(i, 1000) = 6 THEN 'automate' ELSE 'suggest' END, 'no_threshold', '[]',
           mod(i, 977), mod(i, 991), received_at
    FROM (SELECT id, external_id::int AS i, received_at FROM tickets) t ORDER BY i"""
LLMS = """
    INSERT INTO llm_versions (name, digest, engine, engine_version, prompt_version, demo)
    SELECT name, name, 'filled', '1', 'tuned-1', true FROM unnest('{primary, fallback}'::text[]) name
    ON CONFLICT DO NOTHING"""
PREDICTIONS = """
    INSERT INTO predictions (ticket_id, run, field, llm_version_id, taxonomy_version, role, reason, label, confidence,
                             raw_confidence, calibrated, label_mass, margin, scores, scores_complete, slot_ms, load_ms,
                             prefill_ms, decode_ms, call_ms, prompt_tokens, cached_tokens, cut)
    SELECT t.id, 1, 'category', l.id, 1, CASE l.name WHEN 'primary' THEN 'primary' ELSE 'shadow' END,
           CASE l.name WHEN 'primary' THEN 'assigned' ELSE 'shadow' END,
           (%(labels)s::text[])[1 + mod(i + (mod(i, 4 + l.id) = 0)::int, 10)], mod(i * 7, 1000) / 1000.0,
           mod(i * 7, 1000) / 1000.0, true, 0.99, 0.5, %(scores)s::jsonb, true, 0, 0,
           mod(i, 97), mod(i, 89), mod(i, 977), 60, 40, false
    FROM (SELECT id, external_id::int AS i FROM tickets) t,
         (SELECT id, name FROM llm_versions WHERE engine = 'filled') l ORDER BY i"""
# Half of all tickets were judged beforehand, and of one in ten an agent changed the label.
VERDICTS = """
    INSERT INTO verdicts (ticket_id, content_sha256, field, label, source, taxonomy_version)
    SELECT id, content_sha256, 'category', (%(labels)s::text[])[1 + mod(i, 10)], source, 1
    FROM (SELECT id, external_id::int AS i, content_sha256 FROM tickets) t,
         (VALUES ('dataset', 2), ('agent_change', 10)) of (source, every)
    WHERE mod(i, every) = 0 ORDER BY i"""


def fill(stage: Stage, side: str, rows: int, *, predicted: bool = False) -> None:
    """An emptied database with so many tickets that are done, and what was decided; `predicted`: and why."""
    stage.empty(side)
    tickets(stage, side, rows)
    statements = [TRIAGES, LLMS, PREDICTIONS, VERDICTS] if predicted else [TRIAGES]
    for statement in statements:
        stage.connection(side).execute(statement.encode(), _given())
    settle(stage, side)


def tickets(stage: Stage, side: str, rows: int, *, queued: bool = False) -> None:
    """Done ones of the last year, or `queued` ones that came within moments and are all there at once."""
    bodies = list(islice(texts(), min(BODIES, len(labelled()))))
    given = {"rows": rows, "queued": queued, "bodies": bodies, "kinds": len(bodies)}
    given["apart"] = "1 millisecond" if queued else "30 seconds"
    connection = stage.connection(side)
    with connection.transaction():
        connection.execute(TICKETS.encode(), given)
        connection.execute("ANALYZE tickets")


def settle(stage: Stage, side: str) -> None:
    """What autovacuum would do in its time, so that it is not part of a window."""
    stage.sql(side, "VACUUM ANALYZE tickets, triages, predictions, verdicts")
    stage.sql(side, "CHECKPOINT")


def _given() -> dict[str, Any]:
    labels = [label.id for label in category().fields_["category"].labels][:10]
    return {"labels": labels, "common": COMMON, "scores": orjson.dumps(dict.fromkeys(labels, 0.123456789)).decode()}
