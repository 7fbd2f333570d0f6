"""Counting the rows of a time: one statement whose every figure is a number of tickets, answers or verdicts.

Called by `roll` for whole hours and by `window` for what a report's window cuts from an hour. Whoever changes what is
counted marks every hour in a migration, since what is kept was counted by the code before.
"""

from collections import defaultdict
from datetime import datetime

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from service.experiments.rollups.counts import Counts, add, at
from service.experiments.rollups.rounding import confidence_key, time_key

EXHAUSTIVE = ("dataset",)
"""Sources that judged every ticket they were given, so that their verdicts measure accuracy."""

Key = tuple[datetime, str, str]
"""An hour, an experiment (empty: of none) and a field."""

# Only the newest run of a ticket counts, and of each source the newest verdict on what the ticket says now. An llm that
# was asked because another was unsure, or could not answer, saw only such tickets: these do not count as `always`.
_ROWS = """
    WITH t AS MATERIALIZED (
        SELECT id, run, content_sha256, shadow, coalesce(experiment, '') AS experiment,
               date_trunc('hour', received_at, 'UTC') AS hour
        FROM tickets WHERE received_at >= :since AND received_at < :until),
    v AS MATERIALIZED (
        SELECT DISTINCT ON (v.ticket_id, v.field, v.source) v.ticket_id, v.field, v.source, v.label,
               v.source = ANY(:exhaustive) AS of_all
        FROM t JOIN verdicts v ON v.ticket_id = t.id AND v.content_sha256 = t.content_sha256
        ORDER BY v.ticket_id, v.field, v.source, v.id DESC),
    said AS MATERIALIZED (
        SELECT t.hour, t.experiment, p.field, p.ticket_id, p.llm_version_id AS llm, p.label, p.role, p.reason,
               p.calibrated, p.reason IN ('assigned', 'shadow') AS always,
               CASE WHEN p.confidence >= 0 AND p.confidence <= 1 THEN p.confidence END AS confidence,
               p.slot_ms, p.load_ms, p.prefill_ms, p.decode_ms, p.call_ms
        FROM t JOIN predictions p ON p.ticket_id = t.id AND p.run = t.run),
    decided AS MATERIALIZED (
        SELECT t.hour, t.experiment, d.field, d.ticket_id, d.label, d.action, d.llms, d.reason, d.taxonomy_version,
               d.wait_ms, d.time_to_label_ms, t.shadow AND d.decided_by <> 'rule' AS drawn
        FROM t JOIN triages d ON d.ticket_id = t.id AND d.run = t.run),
    judged AS MATERIALIZED (
        SELECT s.hour, s.experiment, s.field, s.ticket_id, s.llm, s.label, s.confidence, v.source, v.label AS truth
        FROM said s JOIN v ON v.ticket_id = s.ticket_id AND v.field = s.field WHERE s.always AND v.of_all),
    named AS MATERIALIZED (
        SELECT s.hour, s.experiment, s.field, s.ticket_id, min(s.llm) AS llm
        FROM said s JOIN decided d ON d.ticket_id = s.ticket_id AND d.field = s.field
        JOIN llm_versions l ON l.id = s.llm WHERE s.always AND d.drawn GROUP BY 1, 2, 3, 4, l.name)"""

# Each part gives its place in the document and what stands there.
_OF_EACH_LLM = """
    SELECT hour, experiment, field, ARRAY['llms', llm::text], jsonb_build_object(
        'n', count(*), 'uncalibrated', count(*) FILTER (WHERE NOT calibrated), 'always', count(*) FILTER (WHERE always),
        'sure', count(confidence) FILTER (WHERE always),
        'billionths', coalesce(sum(round(confidence * 1e9)::bigint) FILTER (WHERE always), 0)) AS found
    FROM said GROUP BY 1, 2, 3, llm"""
_WHY = """
    SELECT hour, experiment, field, ARRAY['llms', llm::text, '{column}s'], jsonb_object_agg({column}, n)
    FROM (SELECT hour, experiment, field, llm, {column}, count(*) AS n FROM said GROUP BY 1, 2, 3, 4, 5) part
    GROUP BY 1, 2, 3, llm"""
_TIMES = f"""
    SELECT hour, experiment, field, {{place}}, jsonb_object_agg(rounded, n)
    FROM (SELECT hour, experiment, field, {{who}} AS who, name, rounded, count(*) AS n
          FROM {{rows}}, LATERAL (VALUES {{times}}) took (name, ms), LATERAL (SELECT {time_key("ms")} AS rounded) key
          WHERE rounded IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6) part
    GROUP BY 1, 2, 3, who, name"""
_ACCURACY = """
    SELECT hour, experiment, field, ARRAY['llms', llm::text, 'accuracy', source],
           jsonb_build_object('n', count(*), 'right', count(*) FILTER (WHERE label = truth))
    FROM judged GROUP BY 1, 2, 3, llm, source"""
_SURE = f"""
    SELECT hour, experiment, field, ARRAY['llms', llm::text, 'surest', source],
           jsonb_build_object('n', jsonb_object_agg(doubt, n), 'right', jsonb_object_agg(doubt, correct))
    FROM (SELECT hour, experiment, field, llm, source, {confidence_key("confidence")} AS doubt, count(*) AS n,
                 count(*) FILTER (WHERE label = truth) AS correct
          FROM judged WHERE confidence IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6) part
    GROUP BY 1, 2, 3, llm, source"""
_CONFUSIONS = """
    SELECT hour, experiment, field, ARRAY['llms', llm::text, 'confusions', source, truth], jsonb_object_agg(label, n)
    FROM (SELECT hour, experiment, field, llm, source, truth, label, count(*) AS n
          FROM judged WHERE label <> truth GROUP BY 1, 2, 3, 4, 5, 6, 7) part
    GROUP BY 1, 2, 3, llm, source, truth"""
_CASCADE = """
    SELECT hour, experiment, field, ARRAY['cascade'], jsonb_build_object(
        'n', count(*), 'automate', count(*) FILTER (WHERE action = 'automate'),
        'suggest', count(*) FILTER (WHERE action = 'suggest'), 'review', count(*) FILTER (WHERE action = 'review'),
        'asked', count(*) FILTER (WHERE llms <> '{}'), 'escalated', count(*) FILTER (WHERE reason LIKE 'escalated%'),
        'drawn', count(*) FILTER (WHERE drawn))
    FROM decided GROUP BY 1, 2, 3"""
_TAXONOMIES = """
    SELECT hour, experiment, field, ARRAY['taxonomies', taxonomy_version::text], to_jsonb(count(*))
    FROM decided GROUP BY 1, 2, 3, taxonomy_version"""
_AS_SERVED = """
    SELECT d.hour, d.experiment, d.field, ARRAY[CASE WHEN v.of_all THEN 'accuracy' ELSE 'corrections' END, v.source],
           jsonb_build_object('n', count(*), 'right', count(*) FILTER (WHERE d.label = v.label))
    FROM decided d JOIN v ON v.ticket_id = d.ticket_id AND v.field = d.field GROUP BY 1, 2, 3, v.of_all, v.source"""
# By arrays, not by a join of all with all: of how many rows a CTE has the planner knows too little to join it well.
_PAIRS = """
    SELECT hour, experiment, field, ARRAY['pairs', source, llms[a]::text, llms[b]::text], jsonb_build_object(
        'both_right', count(*) FILTER (WHERE rights[a] AND rights[b]),
        'only_a', count(*) FILTER (WHERE rights[a] AND NOT rights[b]),
        'only_b', count(*) FILTER (WHERE NOT rights[a] AND rights[b]),
        'neither', count(*) FILTER (WHERE NOT rights[a] AND NOT rights[b]))
    FROM (SELECT hour, experiment, field, source, array_agg(llm ORDER BY llm) AS llms,
                 array_agg(label = truth ORDER BY llm) AS rights
          FROM judged GROUP BY 1, 2, 3, 4, ticket_id) part,
         LATERAL generate_subscripts(llms, 1) a, LATERAL generate_subscripts(llms, 1) b
    WHERE a < b GROUP BY 1, 2, 3, source, llms[a], llms[b]"""
# The source of these is empty: nobody had to judge.
_ANSWERED = """
    SELECT hour, experiment, field, ARRAY['pairs', '', llms[a]::text, llms[b]::text],
           jsonb_build_object('answered', count(*))
    FROM (SELECT hour, experiment, field, array_agg(llm ORDER BY llm) AS llms
          FROM named GROUP BY 1, 2, 3, ticket_id) part,
         LATERAL generate_subscripts(llms, 1) a, LATERAL generate_subscripts(llms, 1) b
    WHERE a < b GROUP BY 1, 2, 3, llms[a], llms[b]"""


def _timed(rows: str, place: str, who: str, *names: str) -> str:
    times = ", ".join(f"('{name}', {name})" for name in names)
    return _TIMES.format(rows=rows, place=place, who=who, times=times)


TIMES = ("slot_ms", "load_ms", "prefill_ms", "decode_ms", "call_ms")
TICKET_TIMES = ("wait_ms", "time_to_label_ms")
PARTS = (
    _OF_EACH_LLM, _WHY.format(column="role"), _WHY.format(column="reason"), _ACCURACY, _SURE, _CONFUSIONS, _CASCADE,
    _TAXONOMIES, _AS_SERVED, _PAIRS, _ANSWERED,
    _timed("said", "ARRAY['llms', who::text, 'times', name]", "llm", *TIMES),
    _timed("decided", "ARRAY['cascade', 'times', name]", "0", *TICKET_TIMES),
)  # fmt: skip
# Where Postgres can compile a statement, that takes longer than counting an hour.
UNCOMPILED = text("SET LOCAL jit = off")
COUNT = text(
    f"{_ROWS} SELECT hour, experiment, field, path, found::text FROM ({' UNION ALL '.join(PARTS)}) "
    "counted (hour, experiment, field, path, found)"
)


def count(session: Session, since: datetime, until: datetime) -> dict[Key, Counts]:
    """The counts of the tickets received from `since` to before `until`, by hour, experiment and field."""
    found: defaultdict[Key, Counts] = defaultdict(dict)
    session.execute(UNCOMPILED)
    given = {"since": since, "until": until, "exhaustive": list(EXHAUSTIVE)}
    for hour, experiment, field, path, value in session.execute(COUNT, given):
        add(found[hour, experiment, field], at(path, orjson.loads(value)))
    return dict(found)
