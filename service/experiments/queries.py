"""The SQL of the report. Each query takes :field, :since, :until and :exhaustive (verdict sources). Used by report."""

_IN_WINDOW = """
    (CAST(:since AS timestamptz) IS NULL OR t.received_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR t.received_at < :until)"""

# The newest verdict of each ticket and source.
_VERDICTS = """
    (SELECT DISTINCT ON (ticket_id, source) ticket_id, source, label FROM verdicts
     WHERE field = :field ORDER BY ticket_id, source, id DESC) v"""

# Only joins, so that a query can add its own joins and conditions.
_PREDICTIONS = f"""
    FROM predictions p
    JOIN tickets t ON t.id = p.ticket_id AND t.run = p.run AND p.field = :field AND {_IN_WINDOW}
    JOIN llm_versions l ON l.id = p.llm_version_id"""

_TRIAGES = f"""
    FROM triages d JOIN tickets t ON t.id = d.ticket_id AND t.run = d.run AND d.field = :field AND {_IN_WINDOW}"""

TICKETS = f"SELECT t.status, count(*) AS n FROM tickets t WHERE {_IN_WINDOW} GROUP BY t.status"

TAXONOMIES = f"SELECT DISTINCT d.taxonomy_version {_TRIAGES} ORDER BY 1"


def _quantiles(*names: str, alias: str = "p") -> str:
    parts = [
        f"count({alias}.{name}) AS {name}_n, "
        f"percentile_cont(0.5) WITHIN GROUP (ORDER BY {alias}.{name}) AS {name}_p50, "
        f"percentile_cont(0.95) WITHIN GROUP (ORDER BY {alias}.{name}) AS {name}_p95"
        for name in names
    ]
    return ", ".join(parts)


LLMS = f"""
    SELECT l.id, l.name AS llm, l.digest, l.engine, l.engine_version, l.prompt_version, l.calibration_id, l.demo,
           count(*) AS n, bool_and(p.calibrated) AS calibrated, avg(p.confidence) AS mean_confidence,
           jsonb_build_object('primary', count(*) FILTER (WHERE p.role = 'primary'),
                              'fallback', count(*) FILTER (WHERE p.role = 'fallback'),
                              'shadow', count(*) FILTER (WHERE p.role = 'shadow')) AS roles,
           {_quantiles("slot_ms", "load_ms", "prefill_ms", "decode_ms", "call_ms")}
    {_PREDICTIONS}
    GROUP BY l.id ORDER BY l.id"""

# A fallback that was asked because the primary was unsure saw only hard tickets, so without the coin it does not count.
LLM_ACCURACY = f"""
    SELECT p.llm_version_id, v.source, count(*) AS n, count(*) FILTER (WHERE v.label = p.label) AS correct
    {_PREDICTIONS} JOIN {_VERDICTS} ON v.ticket_id = t.id
    WHERE v.source = ANY(:exhaustive) AND (p.role = 'primary' OR t.shadow)
    GROUP BY 1, 2 ORDER BY 1, 2"""

CASCADE = f"""
    SELECT count(*) AS n, count(*) FILTER (WHERE d.action = 'automate') AS automate,
           count(*) FILTER (WHERE d.action = 'suggest') AS suggest,
           count(*) FILTER (WHERE d.action = 'review') AS review,
           count(*) FILTER (WHERE d.llms <> '{{}}') AS asked,
           count(*) FILTER (WHERE EXISTS (SELECT FROM predictions p WHERE p.ticket_id = d.ticket_id
               AND p.run = d.run AND p.field = d.field AND p.role = 'fallback')) AS escalated,
           {_quantiles("wait_ms", "time_to_label_ms", alias="d")}
    {_TRIAGES}"""

CASCADE_ACCURACY = f"""
    SELECT v.source, count(*) AS n, count(*) FILTER (WHERE v.label = d.label) AS correct
    {_TRIAGES} JOIN {_VERDICTS} ON v.ticket_id = t.id
    WHERE v.source = ANY(:exhaustive) GROUP BY 1 ORDER BY 1"""

PAIRS = f"""
    SELECT v.source, count(*) FILTER (WHERE a.label = v.label AND b.label = v.label) AS both,
           count(*) FILTER (WHERE a.label = v.label AND b.label <> v.label) AS only_a,
           count(*) FILTER (WHERE a.label <> v.label AND b.label = v.label) AS only_b,
           count(*) FILTER (WHERE a.label <> v.label AND b.label <> v.label) AS neither
    FROM tickets t
    JOIN predictions a ON a.ticket_id = t.id AND a.run = t.run AND a.field = :field AND a.role = 'primary'
    JOIN predictions b ON b.ticket_id = t.id AND b.run = t.run AND b.field = :field AND b.role IN ('fallback', 'shadow')
    JOIN {_VERDICTS} ON v.ticket_id = t.id
    WHERE t.shadow AND v.source = ANY(:exhaustive) AND {_IN_WINDOW}
    GROUP BY 1 ORDER BY 1"""

CORRECTIONS = f"""
    SELECT v.source, count(*) AS n, count(*) FILTER (WHERE v.label IS DISTINCT FROM d.label) AS changed
    {_TRIAGES} JOIN {_VERDICTS} ON v.ticket_id = t.id
    WHERE NOT v.source = ANY(:exhaustive) GROUP BY 1 ORDER BY 1"""
