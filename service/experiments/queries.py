"""The SQL of the report. Each takes :experiment (null is all tickets), :field, :since, :until, :exhaustive (verdict
sources), :a, :b. Used by `figures` and `arms`."""

_IN_WINDOW = """
    (CAST(:experiment AS text) IS NULL OR t.experiment = :experiment)
    AND (CAST(:since AS timestamptz) IS NULL OR t.received_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR t.received_at < :until)"""

# The newest verdict of each text and source. A verdict on what a ticket said before says nothing of what it says now.
_VERDICTS = """
    (SELECT DISTINCT ON (ticket_id, content_sha256, source) ticket_id, content_sha256, source, label FROM verdicts
     WHERE field = :field ORDER BY ticket_id, content_sha256, source, id DESC) v"""
_OF_THE_TEXT = "v.ticket_id = t.id AND v.content_sha256 = t.content_sha256"

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


# An llm that was asked because another was unsure, or could not answer, saw only such tickets: these do not count.
_COMPARABLE = "IN ('assigned', 'shadow')"
_ALWAYS_ASKED = f"p.reason {_COMPARABLE}"

LLMS = f"""
    SELECT l.id, l.name AS llm, l.digest, l.engine, l.engine_version, l.prompt_version, l.calibration_id, l.demo,
           count(*) AS n, bool_and(p.calibrated) AS calibrated,
           count(*) FILTER (WHERE {_ALWAYS_ASKED}) AS n_always_asked,
           avg(p.confidence) FILTER (WHERE {_ALWAYS_ASKED}) AS mean_confidence,
           jsonb_build_object('primary', count(*) FILTER (WHERE p.role = 'primary'),
                              'fallback', count(*) FILTER (WHERE p.role = 'fallback'),
                              'shadow', count(*) FILTER (WHERE p.role = 'shadow'),
                              'last_resort', count(*) FILTER (WHERE p.role = 'last_resort')) AS roles,
           jsonb_build_object('assigned', count(*) FILTER (WHERE p.reason = 'assigned'),
                              'shadow', count(*) FILTER (WHERE p.reason = 'shadow'),
                              'escalated', count(*) FILTER (WHERE p.reason = 'escalated'),
                              'failure', count(*) FILTER (WHERE p.reason = 'failure')) AS reasons,
           {_quantiles("slot_ms", "load_ms", "prefill_ms", "decode_ms", "call_ms")}
    {_PREDICTIONS}
    GROUP BY l.id ORDER BY l.id"""

LLM_ACCURACY = f"""
    SELECT p.llm_version_id, v.source, count(*) AS n, count(*) FILTER (WHERE v.label = p.label) AS correct
    {_PREDICTIONS} JOIN {_VERDICTS} ON {_OF_THE_TEXT}
    WHERE v.source = ANY(:exhaustive) AND {_ALWAYS_ASKED}
    GROUP BY 1, 2 ORDER BY 1, 2"""

# What was said instead of the truth, most frequent first.
CONFUSIONS = f"""
    SELECT p.llm_version_id, v.source, v.label AS truth, p.label AS said, count(*) AS n
    {_PREDICTIONS} JOIN {_VERDICTS} ON {_OF_THE_TEXT}
    WHERE v.source = ANY(:exhaustive) AND {_ALWAYS_ASKED} AND v.label <> p.label
    GROUP BY 1, 2, 3, 4 ORDER BY n DESC, truth, said"""

# The surest tenth of the judged tickets, two tenths, ...: how many of them were right.
COVERAGE = f"""
    WITH judged AS (
        SELECT p.llm_version_id, v.source, p.confidence, row_number() OVER sure AS n,
               count(*) OVER (PARTITION BY p.llm_version_id, v.source) AS total,
               sum((v.label = p.label)::int) OVER (sure ROWS UNBOUNDED PRECEDING) AS right_so_far
        {_PREDICTIONS} JOIN {_VERDICTS} ON {_OF_THE_TEXT}
        WHERE v.source = ANY(:exhaustive) AND {_ALWAYS_ASKED} AND p.confidence IS NOT NULL
        WINDOW sure AS (PARTITION BY p.llm_version_id, v.source ORDER BY p.confidence DESC, p.id))
    SELECT DISTINCT ON (llm_version_id, source, n)
           llm_version_id, source, n, total, right_so_far, confidence AS threshold
    FROM judged JOIN generate_series(1, 10) tenth ON n = ceil(total * tenth / 10.0)
    ORDER BY llm_version_id, source, n"""

CASCADE = f"""
    SELECT count(*) AS n, count(*) FILTER (WHERE d.action = 'automate') AS automate,
           count(*) FILTER (WHERE d.action = 'suggest') AS suggest,
           count(*) FILTER (WHERE d.action = 'review') AS review,
           count(*) FILTER (WHERE d.llms <> '{{}}') AS asked,
           count(*) FILTER (WHERE d.reason LIKE 'escalated%') AS escalated,
           {_quantiles("wait_ms", "time_to_label_ms", alias="d")}
    {_TRIAGES}"""

CASCADE_ACCURACY = f"""
    SELECT v.source, count(*) AS n, count(*) FILTER (WHERE v.label = d.label) AS correct
    {_TRIAGES} JOIN {_VERDICTS} ON {_OF_THE_TEXT}
    WHERE v.source = ANY(:exhaustive) GROUP BY 1 ORDER BY 1"""

# By name and digest, whatever role each has in the policy now: roles change, and old tickets keep who answered them.
PAIRS = f"""
    SELECT v.source, la.digest AS digest_a, lb.digest AS digest_b,
           count(*) FILTER (WHERE a.label = v.label AND b.label = v.label) AS both,
           count(*) FILTER (WHERE a.label = v.label AND b.label <> v.label) AS only_a,
           count(*) FILTER (WHERE a.label <> v.label AND b.label = v.label) AS only_b,
           count(*) FILTER (WHERE a.label <> v.label AND b.label <> v.label) AS neither
    FROM tickets t
    JOIN predictions a ON a.ticket_id = t.id AND a.run = t.run AND a.field = :field
    JOIN llm_versions la ON la.id = a.llm_version_id AND la.name = :a
    JOIN predictions b ON b.ticket_id = t.id AND b.run = t.run AND b.field = :field
    JOIN llm_versions lb ON lb.id = b.llm_version_id AND lb.name = :b
    JOIN {_VERDICTS} ON {_OF_THE_TEXT}
    WHERE a.reason {_COMPARABLE} AND b.reason {_COMPARABLE} AND v.source = ANY(:exhaustive) AND {_IN_WINDOW}
    GROUP BY 1, 2, 3 ORDER BY 1, count(*) DESC"""

# What the coin asked both llms about, and how often both could answer. A rule decides about tickets without a text.
DRAWN = f"""
    SELECT count(*) AS drawn, count(*) FILTER (
        WHERE (SELECT count(DISTINCT l.name) FROM predictions p JOIN llm_versions l ON l.id = p.llm_version_id
               WHERE p.ticket_id = t.id AND p.run = t.run AND p.field = :field AND p.reason {_COMPARABLE}
                 AND l.name IN (:a, :b)) = 2) AS answered_by_both
    {_TRIAGES} WHERE t.shadow AND d.decided_by <> 'rule'
      AND (CAST(:experiment AS text) IS NOT NULL OR t.experiment IS NULL)"""

CORRECTIONS = f"""
    SELECT v.source, count(*) AS n, count(*) FILTER (WHERE v.label IS DISTINCT FROM d.label) AS changed
    {_TRIAGES} JOIN {_VERDICTS} ON {_OF_THE_TEXT}
    WHERE NOT v.source = ANY(:exhaustive) GROUP BY 1 ORDER BY 1"""

# What `assignment.unit` assigns: all tickets of a requester together, else the ticket.
_UNIT = "coalesce(nullif(t.requester, ''), nullif(t.external_id, ''), t.id::text)"

# By the arm assigned, whatever served in the end: leaving out what went wrong would compare other tickets.
ARMS = f"""
    SELECT t.arm, count(*) AS tickets, count(DISTINCT {_UNIT}) AS units, count(d.id) AS decided,
           count(*) FILTER (WHERE d.served_arm = t.arm) AS served_as_assigned,
           count(*) FILTER (WHERE d.action = 'automate') AS automate,
           count(*) FILTER (WHERE d.action = 'suggest') AS suggest,
           count(*) FILTER (WHERE d.action = 'review') AS review,
           {_quantiles("time_to_label_ms", alias="d")}
    FROM tickets t LEFT JOIN triages d ON d.ticket_id = t.id AND d.run = t.run AND d.field = :field
    WHERE t.arm IS NOT NULL AND {_IN_WINDOW} GROUP BY 1 ORDER BY 1"""

ARM_ACCURACY = f"""
    SELECT source, arm, count(*) AS clusters, sum(n)::bigint AS n, sum(s)::bigint AS successes,
           sum(n * n)::bigint AS n_n, sum(n * s)::bigint AS n_s, sum(s * s)::bigint AS s_s
    FROM (SELECT v.source, t.arm, {_UNIT} AS unit, count(*) AS n, count(*) FILTER (WHERE v.label = d.label) AS s
          {_TRIAGES} JOIN {_VERDICTS} ON {_OF_THE_TEXT}
          WHERE t.arm IS NOT NULL AND v.source = ANY(:exhaustive) GROUP BY 1, 2, 3) units
    GROUP BY 1, 2 ORDER BY 1, 2"""
