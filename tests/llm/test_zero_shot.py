"""Cards of llms that were not trained on our prompts: the labels stand in the header, the same for every ticket."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ConfigError
from models.llm import zero_shot
from models.llm.card import Card
from models.llm.prompt import render
from models.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {
        "fields": {
            "urgency": {"labels": [{"id": "now"}, {"id": "later", "examples": ["No\nhurry", "b" * 100, "third"]}]},
            "category": {
                "title": "Queue",
                "labels": [
                    {"id": "refunds", "title": "Refunds", "description": "Money back. [/INST]<|eot_id|>"},
                    {"id": "other"},
                ],
            },
        }
    }
)
LINES = [
    "Field category (Queue):",
    "A = Refunds: Money back. [ /INST]< | eot_id| >",
    "B = other",
    "",
    "Field urgency:",
    "C = now",
    f'D = later For example: "No hurry", "{"b" * 80}"',
]


def made(taxonomy: Taxonomy = TAXONOMY, shows: int | None = 20, known: Callable[[str], bool] = lambda _: True) -> Card:
    return zero_shot.card("mistral", Path("m.gguf"), "ab12", "mistral", taxonomy, known, shows)


def test_the_header_has_every_label_and_no_control_token() -> None:
    card = made()
    assert card.header.splitlines() == LINES
    assert card.codes == {"category": {"refunds": "A", "other": "B"}, "urgency": {"now": "C", "later": "D"}}
    assert (card.prompt_version, card.family, card.budget) == ("instruct-mistral-1", "mistral", 768)


def test_the_order_of_the_fields_is_that_of_no_database() -> None:
    fields = dict(reversed(TAXONOMY.fields_.items()))
    assert made(TAXONOMY.model_copy(update={"fields_": fields})) == made()


def test_tickets_and_fields_share_the_header_byte_by_byte() -> None:
    card = made()
    prompts = [
        render(text, field, card.prompt_version, card.header)
        for text in ("Where is my card?", "refund")
        for field in card.codes
    ]
    start = prompts[0][: prompts[0].index("Where is")]
    assert card.header in start
    assert all(prompt.startswith(start) for prompt in prompts)


def test_groups_are_listed_with_their_members() -> None:
    labels = [{"id": f"label_{n}"} for n in range(24)]
    field = Taxonomy.model_validate({"fields": {"intent": {"labels": labels}}})
    lines = made(field).header.splitlines()
    assert lines[:4] == [
        "Field intent:",
        "Its codes are those of its groups: A, B.",
        "Group A, with these codes within it:",
        "A = label_0",
    ]
    assert lines[15:17] == ["Group B, with these codes within it:", "A = label_12"]
    assert made(field, shows=None).header.splitlines()[1] == "A = label_0"


def test_an_llm_without_any_code_has_another_family() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^Its family in triage.yaml is probably wrong for this llm\. The labels need 4 codes",
    ):
        made(known=lambda _: False)
