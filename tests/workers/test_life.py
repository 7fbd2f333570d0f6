"""Lives in any order: posted, claimed, lost, recorded, refused, judged, erased; SQL agrees after each step."""

from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from life import Life

from models import taxonomy
from models.db import transaction
from workers.arms import serve
from workers.claim import Claimed, claim, give_back
from workers.figures import Figures
from workers.record import ATTEMPTS, Done, record, reject
from workers.sweep import MOST_LOST, sweep

KEYS, CONTENTS = st.sampled_from("abcd"), st.sampled_from(["my card has not arrived", "I want a refund", "top up"])
LATE, MANY = 3, 4
NUMBERS = st.integers(0, LATE)
TABLES = ("idempotency_keys", "verdicts", "triages", "predictions", "revisions", "tickets")
ROWS = """
    SELECT external_id, id::text, run, status, attempts, lost_leases, lease_id,
           ARRAY(SELECT run FROM triages d WHERE d.ticket_id = t.id ORDER BY 1),
           (SELECT count(*) FROM verdicts v WHERE v.ticket_id = t.id), erased_at IS NOT NULL
    FROM tickets t ORDER BY 1"""
# Each finds tickets for which it is not so; the vocabulary of these tests has one field.
NEVER = {
    "two rows of one key": "SELECT FROM tickets GROUP BY source, external_id HAVING count(*) > 1",
    "not exactly one newest triage": """SELECT FROM triages GROUP BY ticket_id, field
        HAVING count(*) FILTER (WHERE newest) <> 1""",
    "a newest triage that is not of the newest run": """SELECT FROM triages d WHERE newest
        AND run <> (SELECT max(run) FROM triages e WHERE (e.ticket_id, e.field) = (d.ticket_id, d.field))""",
    "two triages of one run": "SELECT FROM triages GROUP BY ticket_id, run, field HAVING count(*) > 1",
    "done without its triage": """SELECT FROM tickets t WHERE status = 'done' AND erased_at IS NULL
        AND (SELECT count(*) FROM triages d WHERE d.ticket_id = t.id AND d.run = t.run) <> 1""",
    "a triage of a run to come": "SELECT FROM triages d JOIN tickets t ON t.id = d.ticket_id WHERE d.run > t.run",
    "a prediction without its triage": """SELECT FROM predictions p WHERE NOT EXISTS
        (SELECT FROM triages d WHERE (d.ticket_id, d.run, d.field) = (p.ticket_id, p.run, p.field))""",
    "working without a lease, or a lease without work": """SELECT FROM tickets
        WHERE (status = 'working') <> (lease_id IS NOT NULL) OR (lease_id IS NULL) <> (lease_until IS NULL)""",
    "beyond its attempts": """SELECT FROM tickets WHERE attempts NOT BETWEEN 0 AND 5 OR lost_leases NOT BETWEEN 0 AND 3
        OR (status IN ('queued', 'working') AND (attempts = 5 OR lost_leases = 3))""",
    "failed without a reason": "SELECT FROM tickets WHERE status = 'failed' AND last_error IS NULL",
    "erased and to be classified": """SELECT FROM tickets
        WHERE erased_at IS NOT NULL AND status NOT IN ('done', 'failed')""",
    "erased and still told": """SELECT FROM tickets t LEFT JOIN revisions r ON r.ticket_id = t.id
        WHERE erased_at IS NOT NULL AND (t.body <> '' OR t.raw <> '' OR r.body <> '' OR r.raw <> '')""",
}


class Lives(RuleBasedStateMachine):
    """Some tickets and the workers that have claimed them, who may act long after their lease is gone."""

    def __init__(self, world):
        super().__init__()
        self.client, self.database, self.sql, self.served, self.version = world
        self.lives, self.batches, self.bodies = {}, [], {}
        self.marks = None
        for table in TABLES:
            self.sql(f"DELETE FROM {table}")

    def post(self, key, content, headers=None):
        return self.client.post("/v1/tickets", json={"external_id": key, "body": content}, headers=headers)

    def taken(self, key, content, answer):
        """What the model says of a post that was not a repeat of a request, and whether the answer says the same."""
        receipt = answer.json()
        assert answer.status_code == 202, answer.text
        if key not in self.lives:
            self.lives[key] = Life(receipt["id"], content)
            assert "duplicate" not in receipt
        else:
            assert receipt.get("duplicate", False) == self.lives[key].posted(content)
        assert (receipt["id"], receipt["status"]) == (self.lives[key].id, self.lives[key].status)

    @initialize()
    def begun(self):
        for key in "abc":
            self.posted(key, "top up")

    # Few rules that do many things each: Hypothesis leaves some rules out of every example.
    @rule(key=KEYS, content=CONTENTS, name=st.sampled_from([None, None, "x", "y"]))
    def someone_posts(self, key, content, name):
        if name is None:
            self.posted(key, content)
        else:
            self.posted_with(name, key, content)

    @rule(act=st.sampled_from(["worked", "claimed_ahead", "nearly_worn_out", "an_hour_passes"]), number=NUMBERS)
    def a_worker_looks(self, act, number):
        getattr(self, act)(number)

    @rule(act=st.sampled_from(["recorded", "refused", "given_back", "lost"]), number=NUMBERS)
    def a_worker_settles(self, act, number):
        self.claimed(number)
        if self.batches:
            getattr(self, act)(number)

    @rule(act=st.sampled_from(["reclassified", "requeued", "erased"]), number=NUMBERS)
    def someone_decides(self, act, number):
        getattr(self, act)(self.any(number))

    @rule(label=st.sampled_from(["refunds", "top_up"]), number=NUMBERS)
    def someone_judges(self, label, number):
        self.judged(self.any(number), label)

    def posted(self, key, content):
        self.taken(key, content, self.post(key, content))

    def posted_with(self, name, key, content):
        answer = self.post(key, content, {"Idempotency-Key": name})
        before = self.bodies.get(name)
        if before is None:
            self.taken(key, content, answer)
            self.bodies[name] = key, content
        elif before in ((key, content), (before[0], None)):
            assert (answer.status_code, answer.json()["id"]) == (202, self.lives[before[0]].id)
        else:
            assert answer.status_code == 422

    def swept(self):
        """Marks of any age must do, for whatever became due since then, except for what a dead worker left."""
        self.marks = sweep(self.database)
        for life in self.lives.values():
            if life.status == "working" and life.expired:
                life.lose()

    def claimed(self, number, busy=False):
        if self.marks is None or self.marks.old or number % 2:
            self.swept()
        due = [life for life in self.lives.values() if life.status == "queued" and life.due]
        suspects = {life.id for life in due if life.lost}
        others = {life.id for life in due} - suspects
        batch = claim(self.database, 1 + number, busy=busy, marks=self.marks)
        ids = {str(ticket.id) for ticket in batch.tickets}
        assert batch.suspect == (bool(suspects) and not busy)
        assert ids <= (suspects if suspects else others)
        assert len(ids) == (not busy if suspects else min(1 + number, len(others)))
        for life in self.of(ids):
            life.claimed(batch.lease)
        self.sql("UPDATE tickets SET lease_until = now() + interval '1 hour' WHERE lease_id = %s", batch.lease)
        self.batches += [batch] if ids else []

    def claimed_ahead(self, number):
        self.claimed(number, busy=True)

    def of(self, ids):
        return [life for life in self.lives.values() if life.id in ids]

    def one(self, number):
        """A batch with those of its tickets that are still its worker's; mostly one that has such tickets."""
        leases = {life.lease for life in self.lives.values()}
        held = [batch for batch in self.batches if batch.lease in leases]
        among = held if held and number < LATE else self.batches
        batch = among[-1 - number % len(among)]
        return batch, [life for life in self.lives.values() if life.lease == batch.lease]

    def worked(self, number):
        self.an_hour_passes()
        self.swept()
        self.claimed(number)
        if self.batches:
            self.recorded(0)

    def recorded(self, number):
        batch, ours = self.one(number)
        results = [Done(ticket, self.served) for ticket in batch.tickets]
        assert record(self.database, batch.lease, self.version, results, Figures()) == len(ours)
        for life in ours:
            life.recorded()

    def refused(self, number):
        batch, ours = self.one(number)
        ticket = batch.tickets[number % len(batch.tickets)]
        reject(self.database, batch.lease, ticket, "too long", Figures())
        for life in ours:
            if life.id == str(ticket.id):
                life.refused()
                self.sql("UPDATE tickets SET due_at = now() + interval '1 hour' WHERE id = %s", ticket.id)

    def given_back(self, number):
        batch, ours = self.one(number)
        delay_s, error = 3600 if number % 2 else 0, "away" if number < 2 else None
        give_back(self.database, batch, [ticket.id for ticket in batch.tickets], delay_s=delay_s, error=error)
        for life in ours:
            life.given_back(not delay_s, error)

    def lost(self, number):
        batch, ours = self.one(number)
        self.sql("UPDATE tickets SET lease_until = now() - interval '1 second' WHERE lease_id = %s", batch.lease)
        for life in ours:
            life.expired = True

    def an_hour_passes(self, number=0):
        self.sql("UPDATE tickets SET due_at = now() WHERE status = 'queued'")
        for life in self.lives.values():
            life.due = life.due or life.status == "queued"

    def nearly_worn_out(self, number):
        """As if it had been refused, or had lost its worker, all but once; a way that takes too many steps."""
        life = self.any(number)
        if life.status == "queued":
            life.attempts, life.lost = ATTEMPTS - 1, MOST_LOST - 1
            self.sql("UPDATE tickets SET attempts = %s, lost_leases = %s WHERE id = %s",
                     life.attempts, life.lost, UUID(life.id))  # fmt: skip

    def any(self, number):
        return list(self.lives.values())[number % len(self.lives)]

    def reclassified(self, life):
        assert self.client.post(f"/v1/tickets/{life.id}/reclassify").status_code == (409 if life.erased else 202)
        life.again(("done", "failed"), life.run + 1)

    def requeued(self, life):
        assert self.client.post(f"/v1/tickets/{life.id}/requeue").status_code == (409 if life.erased else 202)
        life.again(("failed",), life.run)

    def erased(self, life):
        if life.status == "queued" and len(self.batches) < MANY:
            return  # else most lives would be over before they had begun
        assert self.client.delete(f"/v1/tickets/{life.id}").is_success
        life.erase()
        for name, (key, _) in self.bodies.items():
            if self.lives[key] is life:
                self.bodies[name] = key, None

    def judged(self, life, label):
        answer = self.client.post(f"/v1/tickets/{life.id}/verdicts", json={"field": "category", "label": label})
        assert answer.status_code == (201 if life.judged(label) else 200), answer.text

    @invariant()
    def the_rows_are_as_the_model_says(self):
        lives = [
            (key, life.id, life.run, life.status, life.attempts, life.lost, life.lease, sorted(life.runs),
             life.verdicts, life.erased)
            for key, life in sorted(self.lives.items())
        ]  # fmt: skip
        assert self.sql(ROWS) == lives

    @invariant()
    def what_must_never_be_is_not(self):
        parts = [f"SELECT '{what}' WHERE EXISTS ({found})" for what, found in NEVER.items()]
        assert self.sql(" UNION ALL ".join(parts)) == []


@pytest.fixture
def world(client, database, sql, llms, loaded, monkeypatch):
    """The API, the database, and one real answer of the llms, which every ticket gets here."""
    monkeypatch.setattr("workers.sweep.SLACK", "0 seconds")
    monkeypatch.setattr("workers.sweep.OLD_S", 3600.0)  # or a claim may sweep where the model saw no need
    with transaction(database) as session:
        version, vocabulary = taxonomy.active(session)
    ticket = Claimed(UUID(int=1), 1, "", "I want a refund", True, None, None, 0)
    return client, database, sql, serve(llms, loaded.config, vocabulary, ticket), version


def test_whatever_happens_every_ticket_is_one_row_with_one_result_per_run(world):
    # Nothing is made smaller after a failure: that takes minutes, and forty steps can be read.
    few = hypothesis.settings(
        max_examples=15, stateful_step_count=40, derandomize=True, deadline=None, phases=[hypothesis.Phase.generate]
    )
    run_state_machine_as_test(lambda: Lives(world), settings=few)
