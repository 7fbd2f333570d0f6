"""The pause before a refused ticket's next attempt: twice as long each time, partly drawn, never above ten minutes."""

import pytest

from models.db import transaction
from models.tables import new_id
from workers.record import REJECT

INSERT = """INSERT INTO tickets (id, source, subject, body, raw, content_sha256, shadow, shadow_rate, status, attempts,
                                 lease_id, lease_until)
            SELECT gen_random_uuid(), 'api', '', n::text, '', '', false, 0, 'working', %s, %s, now()
            FROM generate_series(1, 40) n"""


@pytest.fixture
def pauses(database, sql):
    """Refuses forty tickets that had this many attempts, all at one moment, and gives their pauses in seconds."""

    def refused(attempts):
        lease = new_id()
        sql(INSERT, attempts, lease)
        with transaction(database) as session:
            for (ticket,) in sql("SELECT id FROM tickets WHERE lease_id = %s", lease):
                given = {"id": ticket, "lease": lease, "error": "too long", "most": 1000}
                assert session.execute(REJECT, given).all() == [(attempts + 1,)]
            found = session.connection().exec_driver_sql(
                "SELECT extract(epoch FROM due_at - now())::float8 FROM tickets WHERE attempts = %s", (attempts + 1,)
            )
            return [pause for (pause,) in found]

    return refused


@pytest.mark.parametrize(("attempts", "most"), [(0, 1), (1, 2), (4, 16), (9, 512), (10, 600), (900, 600)])
def test_it_doubles_up_to_ten_minutes_and_half_of_it_is_drawn(pauses, attempts, most):
    found = pauses(attempts)
    assert len(found) == 40
    assert all(most / 2 <= pause <= most for pause in found)
    # Forty draws within an eighth of the range would be a chance of one in 10^35.
    assert max(found) - min(found) > most / 16
