"""Two fields, one of them with 77 labels: asked, decided, judged, found and reported each for itself."""

import pytest
import taxonomies

from models import taxonomy
from models.db import transaction

BODY = "My new card still has not arrived in the post, when will it come?"
TRUE = {"category": "card_delivery_and_activation", "intent": "card_arrival"}


@pytest.fixture
def ticket(database, client, drain):
    """Classified with both fields, of a service whose first version had one."""
    with transaction(database) as session:
        taxonomy.store(session, taxonomies.demo("category", "intent"))
    posted = client.post("/v1/tickets", json={"body": BODY}).json()
    drain.run()
    return client.get(f"/v1/tickets/{posted['id']}").json()


def judge(client, ticket, field, label):
    given = {"field": field, "label": label, "source": "dataset"}
    return client.post(f"/v1/tickets/{ticket['id']}/verdicts", json=given)


def test_every_field_has_its_rows(ticket, sql):
    decided = sql("SELECT field, label, taxonomy_version FROM triages ORDER BY field")
    assert decided == [(field, label, 2) for field, label in TRUE.items()]
    said = sql("""SELECT p.field, v.name, p.role, (SELECT count(*) FROM jsonb_object_keys(p.scores))
                  FROM predictions p JOIN llm_versions v ON v.id = p.llm_version_id ORDER BY 1, 2 DESC""")
    labels = {"category": 11, "intent": 77}
    assert [(field, llm, n) for field, llm, _, n in said] == [
        (field, llm, n) for field, n in labels.items() for llm in ("primary", "fallback")
    ]
    assert [t["field"] for t in ticket["triage"]] == ["category", "intent"]


def test_the_stored_vocabulary_begins_with_the_category(ticket, client):
    assert list(client.get("/v1/taxonomy").json()["fields"]) == ["category", "intent"]


def test_a_label_is_true_of_its_own_field_only(ticket, client, sql):
    assert [judge(client, ticket, *pair).status_code for pair in TRUE.items()] == [201, 201]
    assert judge(client, ticket, "category", "card_arrival").status_code == 422
    assert sql("SELECT field, label, taxonomy_version FROM verdicts ORDER BY id") == [(*p, 2) for p in TRUE.items()]
    assert client.get("/v1/report").json()["cascade"]["accuracy"][0]["n"] == 1


@pytest.mark.parametrize(
    ("asked", "n"),
    [
        ("label=card_delivery_and_activation", 1),
        ("label=card_arrival", 0),
        ("field=intent&label=card_arrival", 1),
        ("field=intent&label=card_delivery_and_activation", 0),
    ],
)
def test_a_filter_without_a_field_is_of_the_category(ticket, client, asked, n):
    assert len(client.get(f"/v1/tickets?{asked}").json()["items"]) == n
