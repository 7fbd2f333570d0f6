"""What the generic adapter reads from an event, and the sentences with which it refuses one."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidRequest, MalformedRequest
from service.helpdesks import build
from service.helpdesks.base import Ignored, Incoming
from service.helpdesks.generic import Generic

NO_JSON = r"The body is not valid JSON at line \d+, column \d+\."

Make = Callable[..., Generic]


def refusal(adapter: Generic, event: Any) -> str:
    """The sentence of the refusal; nothing of the event may be in it or in its chain."""
    with pytest.raises(InvalidRequest) as error:
        adapter.parse({}, orjson.dumps(event))
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert "SECRET-TEXT" not in str(error.value) + str(error.value.errors)
    return error.value.message


def test_a_zendesk_trigger(recipe: Callable[[str], dict[str, Any]], payload: Callable[[str], bytes]) -> None:
    adapter = build(recipe("zendesk"), {"ZENDESK_SECRET": "x"})
    assert adapter.parse({}, payload("zendesk_trigger.json")) == Incoming(
        external_id="5158",
        subject="Double charge",
        body='I was charged twice.\n\nPlease "fix" it, Zoë',
        requester="zoe@example.com",
        channel="Web Form",
        metadata={"group": "Billing", "priority": "Low", "tags": "vip refund"},
    )


def test_a_zammad_webhook(recipe: Callable[[str], dict[str, Any]], payload: Callable[[str], bytes]) -> None:
    adapter = build(recipe("zammad"), {"ZAMMAD_SECRET": "x"})
    assert adapter.parse({}, payload("zammad_webhook.json")) == Incoming(
        external_id="81",
        subject="Webhook-Test",
        body="This is a simple Webhook Test.<div>Emily</div>",
        requester="emily@example.com",
        channel="phone",
        created_at=datetime(2020, 11, 13, 14, 34, 35, 282000, tzinfo=UTC),
        metadata={"number": "10081", "group": "Service Desk", "priority": "2 normal"},
    )


@pytest.mark.parametrize("change", [{"sender": "Agent"}, {"internal": True}, None])
def test_zammads_agents_notes_and_bare_updates_are_ignored(
    recipe: Callable[[str], dict[str, Any]], payload: Callable[[str], bytes], change: dict[str, Any] | None
) -> None:
    event = orjson.loads(payload("zammad_webhook.json"))
    event["article"] = None if change is None else {**event["article"], **change}
    adapter = build(recipe("zammad"), {"ZAMMAD_SECRET": "x"})
    assert adapter.parse({}, orjson.dumps(event)) == Ignored("ignore_when is true for this event")


def test_only_id_and_body_are_needed_and_a_body_may_be_empty(adapter: Make) -> None:
    assert adapter().parse({}, b'{"id": "a", "text": ""}') == Incoming(external_id="a", body="")


def test_whole_numbers_become_digits_without_loss(adapter: Make) -> None:
    ticket = adapter().parse({}, b'{"id": 18446744073709551615, "text": 5}')
    assert ticket == Incoming(external_id="18446744073709551615", body="5")


@pytest.mark.parametrize("value", ["true", "1.5", "81.0", "[1]", '{"a": 1}', "123456789012345678901234"])
def test_an_id_that_is_no_text_is_refused(adapter: Make, value: str) -> None:
    message = refusal(adapter(), orjson.Fragment(f'{{"id": {value}, "text": "SECRET-TEXT"}}'))
    assert message.startswith("external_id is neither text nor a whole number in this event")


@pytest.mark.parametrize("event", [{"text": "SECRET-TEXT"}, {"id": None, "text": "SECRET-TEXT"}, "SECRET-TEXT", [], 5])
def test_an_event_without_an_id_is_refused(adapter: Make, event: Any) -> None:
    assert refusal(adapter(), event).startswith("external_id is missing")


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_id_is_refused(adapter: Make, blank: str) -> None:
    assert refusal(adapter(), {"id": blank, "text": "SECRET-TEXT"}).startswith("external_id is empty")


def test_a_body_that_maps_to_nothing_is_refused_with_the_mapping(adapter: Make) -> None:
    assert refusal(adapter(), {"id": 1, "note": "SECRET-TEXT"}) == (
        "body is missing in this event; it is taken from where map.body of this connection points."
    )


def test_a_refusal_names_its_field_for_the_answer(adapter: Make) -> None:
    with pytest.raises(InvalidRequest) as error:
        adapter().parse({}, b'{"id": 1}')
    assert error.value.errors == [{"field": "body", "message": "is missing"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.672717030Z", datetime(2026, 1, 2, 3, 4, 5, 672717, tzinfo=UTC)),
        ("2026-01-02t03:04:05.5+05:30", datetime(2026, 1, 1, 21, 34, 5, 500000, tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
)
def test_created_at_is_read_as_utc(adapter: Make, text: str | None, expected: datetime | None) -> None:
    ticket = adapter(created_at="at").parse({}, orjson.dumps({"id": 1, "text": "x", "at": text}))
    assert isinstance(ticket, Incoming)
    assert ticket.created_at == expected


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "2026-W01-1T00:00:00Z",
        "٢٠٢٦-01-02T03:04:05Z",
        1767323045,
    ],
)
def test_a_created_at_that_is_not_rfc_3339_is_refused(adapter: Make, text: Any) -> None:
    made = adapter(created_at="at")
    assert refusal(made, {"id": 1, "text": "SECRET-TEXT", "at": text}).startswith("created_at is not an RFC 3339 time")


def test_metadata_is_an_object_or_nothing(adapter: Make) -> None:
    made = adapter(metadata="meta")
    assert made.parse({}, b'{"id": 1, "text": "x"}') == Incoming(external_id="1", body="x")
    assert refusal(made, {"id": 1, "text": "x", "meta": ["SECRET-TEXT"]}).startswith("metadata is not an object")


@pytest.mark.parametrize(
    "expression",
    ["length(n)", "join('', l)", "l[::0]", "sum(l)", "sort_by(l, &@)", "ceil(to_number('1e999'))", "avg()"],
)
def test_an_expression_that_fails_on_an_event_does_not_quote_it(adapter: Make, expression: str) -> None:
    event = {"id": 1, "text": "x", "n": 5, "l": ["SECRET-TEXT", 1]}
    assert refusal(adapter(subject=expression), event) == (
        "map.subject of this connection cannot be applied to this event."
    )


@pytest.mark.parametrize(("expression", "ignored"), [("!tags", False), ("tags[?@ == 'ai']", True), ("nothing", False)])
def test_ignore_when_counts_empty_results_as_false(adapter: Make, expression: str, ignored: bool) -> None:
    result = adapter(ignore_when=expression).parse({}, b'{"id": 1, "text": "x", "tags": ["ai"]}')
    assert isinstance(result, Ignored) == ignored


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        *((raw, NO_JSON) for raw in (b"hello", b'{"id": 1', b'{"id": NaN}', b"\xef\xbb\xbf" * 2 + b"{}")),
        *((raw, r"The body is empty: send JSON\.") for raw in (b"", b" \r\n", b"\xef\xbb\xbf")),
        (b"{\xff\xfe", r"The body is not UTF-8 text at byte 1, as JSON must be\."),
        (b"[" * 10**6, r"The body is JSON that is nested deeper than about 1,000 levels\."),
    ],
)
def test_bytes_that_are_no_json_are_malformed(adapter: Make, raw: bytes, says: str) -> None:
    with pytest.raises(MalformedRequest, match=f"^{says}$"):
        adapter().parse({}, raw)


@pytest.mark.parametrize("depth", [900, 2000, 100_000])
def test_deep_nesting_is_read_or_refused(adapter: Make, depth: int) -> None:
    raw = b'{"id": 1, "text": "x", "deep": ' + b"[" * depth + b"]" * depth + b"}"
    made = adapter(subject="to_string(deep)")
    try:
        assert isinstance(made.parse({}, raw), Incoming)
    except (MalformedRequest, InvalidRequest):
        assert depth > 500


def test_a_line_break_inside_a_string_is_read(adapter: Make) -> None:
    """Templates that paste a customer's text into JSON leave these."""
    assert adapter().parse({}, b'{"id": 1, "text": "two\nlines\t."}') == Incoming(external_id="1", body="two\nlines\t.")


def test_nul_and_half_an_emoji_pass_as_they_came_for_intake_to_repair(adapter: Make) -> None:
    assert adapter().parse({}, b'{"id": 1, "text": "\\u0000\\ud83d"}') == Incoming(external_id="1", body="\x00\ud83d")


def test_repr_shows_no_customers_words() -> None:
    ticket = Incoming(external_id="1", body="SECRET-TEXT", subject="SECRET-TEXT", requester="SECRET-TEXT")
    assert "SECRET-TEXT" not in repr(ticket)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "at", "m"]), inner),
    max_leaves=8,
)
WHOLE = build(
    {
        "name": "crm",
        "kind": "generic",
        "token": {"header": "t", "secret_env": "T"},
        "ignore_when": "contains(m, 'x')",
        "map": {"external_id": "id", "body": "text", "subject": "at.id", "created_at": "at", "metadata": "m"},
    },
    {"T": "x"},
)


@given(JSON.map(lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)) | st.binary(max_size=40))
def test_whatever_comes_is_read_ignored_or_refused(raw: bytes) -> None:
    with suppress(MalformedRequest, InvalidRequest):
        assert isinstance(WHOLE.parse({}, raw), Incoming | Ignored)
