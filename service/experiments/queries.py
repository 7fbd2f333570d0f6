"""What a report reads from rows: how tickets stand now, and the arms of a split. Used by `figures` and `arms`.

Each query takes :experiment (null is all tickets), :field, :since, :until, :exhaustive (verdict sources). The arms are
no rollups: how many requesters an arm has, and how many of each one's tickets were right, cannot be added up from hours
without keeping who they were.
"""

_IN_WINDOW = """
    (CAST(:experiment AS text) IS NULL OR t.experiment = :experiment)
    AND (CAST(:since AS timestamptz) IS NULL OR t.received_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR t.received_at < :until)"""

# Of frozen hours the counts hold what the rows were, also of a ticket that is left.
TICKETS = f"""
    SELECT t.status, count(*) AS n FROM tickets t
    WHERE {_IN_WINDOW} AND t.received_at >= coalesce((SELECT max(before) FROM frozen_hours), '-infinity')
    GROUP BY t.status"""

LLMS = "SELECT id, name, digest, engine, engine_version, prompt_version, calibration_id, demo FROM llm_versions"

_TRIAGES = f"""
    FROM triages d JOIN tickets t ON t.id = d.ticket_id AND t.run = d.run AND d.field = :field AND {_IN_WINDOW}"""

# The newest verdict of each source on what a ticket of the experiment says now.
_VERDICTS = f"""
    (SELECT DISTINCT ON (v.ticket_id, v.source) v.ticket_id, v.source, v.label
     FROM tickets t JOIN verdicts v ON v.ticket_id = t.id AND v.content_sha256 = t.content_sha256 AND v.field = :field
     WHERE t.arm IS NOT NULL AND {_IN_WINDOW} ORDER BY v.ticket_id, v.source, v.id DESC) v"""


def _quantiles(name: str) -> str:
    return (
        f"count(d.{name}) AS {name}_n, "
        f"percentile_cont(0.5) WITHIN GROUP (ORDER BY d.{name}) AS {name}_p50, "
        f"percentile_cont(0.95) WITHIN GROUP (ORDER BY d.{name}) AS {name}_p95"
    )


# What `assignment.unit` assigns: all tickets of a requester together, else the ticket.
_UNIT = "coalesce(nullif(t.requester, ''), nullif(t.external_id, ''), t.id::text)"

# By the arm assigned, whatever served in the end: leaving out what went wrong would compare other tickets.
ARMS = f"""
    SELECT t.arm, count(*) AS tickets, count(DISTINCT {_UNIT}) AS units, count(d.id) AS decided,
           count(*) FILTER (WHERE d.served_arm = t.arm) AS served_as_assigned,
           count(*) FILTER (WHERE d.action = 'automate') AS automate,
           count(*) FILTER (WHERE d.action = 'suggest') AS suggest,
           count(*) FILTER (WHERE d.action = 'review') AS review,
           {_quantiles("time_to_label_ms")}
    FROM tickets t LEFT JOIN triages d ON d.ticket_id = t.id AND d.run = t.run AND d.field = :field
    WHERE t.arm IS NOT NULL AND {_IN_WINDOW} GROUP BY 1 ORDER BY 1"""

ARM_ACCURACY = f"""
    SELECT source, arm, count(*) AS clusters, sum(n)::bigint AS n, sum(s)::bigint AS successes,
           sum(n * n)::bigint AS n_n, sum(n * s)::bigint AS n_s, sum(s * s)::bigint AS s_s
    FROM (SELECT v.source, t.arm, {_UNIT} AS unit, count(*) AS n, count(*) FILTER (WHERE v.label = d.label) AS s
          {_TRIAGES} JOIN {_VERDICTS} ON v.ticket_id = t.id
          WHERE t.arm IS NOT NULL AND v.source = ANY(:exhaustive) GROUP BY 1, 2, 3) units
    GROUP BY 1, 2 ORDER BY 1, 2"""
