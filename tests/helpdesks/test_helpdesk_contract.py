"""What every adapter promises about authenticity. A new vendor joins by adding a Case."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from models.errors import Unauthorized
from service.helpdesks import build
from service.helpdesks.base import REFUSED, Adapter
from service.helpdesks.generic import Generic

BODY = '{"id":1,"subject":"Café"}'.encode()
MAP = {"external_id": "id", "body": "subject"}


@dataclass(frozen=True)
class Case:
    """A connection, and headers that are right for BODY with the secret s3cr3t at unix time `now`."""

    name: str
    config: dict[str, Any]
    headers: dict[str, str]
    now: float = 1767323045.0

    def adapter(self, secret: str = "s3cr3t") -> Adapter:  # noqa: S107  the secret of the published test vectors
        made = build({"name": self.name, **self.config}, {"SECRET": secret})
        if isinstance(made, Generic):
            made.clock = lambda: self.now
        return made


def signature(scheme: str, encoding: str, header: str, **more: Any) -> dict[str, Any]:
    how = {"scheme": scheme, "encoding": encoding, "header": header, "secret_env": "SECRET", **more}
    return {"kind": "generic", "map": MAP, "signature": how}


ZENDESK_TIME = "X-Zendesk-Webhook-Signature-Timestamp"
CASES = [
    Case(
        "zendesk",
        signature("hmac-sha256", "base64", "X-Zendesk-Webhook-Signature", timestamp_header=ZENDESK_TIME),
        {
            "x-zendesk-webhook-signature": "vVzhrxsmBQyTOrcTut3McYyS7oFri0kIJtevzxfh07s=",
            ZENDESK_TIME.lower(): "2026-01-02T03:04:05Z",
        },
    ),
    Case(
        "zammad",
        signature("hmac-sha1", "hex", "X-Hub-Signature", prefix="sha1="),
        {"x-hub-signature": "sha1=1d47dc57732ab60284a745fed722ba167a01232f"},
    ),
    Case(
        "helpscout",
        signature("hmac-sha1", "base64", "X-HelpScout-Signature"),
        {"x-helpscout-signature": "HUfcV3MqtgKEp0X+1yK6FnoBIy8="},
    ),
    Case(
        "jira",
        signature("hmac-sha256", "hex", "X-Hub-Signature", prefix="sha256="),
        {"x-hub-signature": "sha256=278335bd74c49ac75965eaa412baf5722e253e8dbcb5988e3c060ee0d25b59eb"},
    ),
    Case(
        "token",
        {"kind": "generic", "map": MAP, "token": {"header": "X-Token", "secret_env": "SECRET"}},
        {"x-token": "s3cr3t"},
    ),
]
SIGNED = [case for case in CASES if case.name != "token"]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
signed = pytest.mark.parametrize("case", SIGNED, ids=lambda case: case.name)


def refused(case: Case, headers: dict[str, str], raw: bytes = BODY) -> str:
    """Asserts the one refusal and gives the note for our log."""
    with pytest.raises(Unauthorized) as error:
        case.adapter().verify(headers, raw)
    assert error.value.message == REFUSED
    return error.value.__notes__[0]


@every
def test_a_right_request_is_accepted(case: Case) -> None:
    case.adapter().verify({**case.headers, "content-type": "application/json"}, BODY)


@signed
def test_one_flipped_bit_anywhere_in_the_body_is_refused(case: Case) -> None:
    for position in range(len(BODY)):
        flipped = bytearray(BODY)
        flipped[position] ^= 1
        assert refused(case, case.headers, bytes(flipped)) == "the signature does not fit the body"


@signed
def test_an_empty_a_shorter_and_a_longer_body_are_refused(case: Case) -> None:
    for raw in (b"", BODY[:-1], BODY + b"\n", BODY + BODY):
        refused(case, case.headers, raw)


@every
def test_each_header_is_needed_and_must_be_right(case: Case) -> None:
    for name, value in case.headers.items():
        others = {key: kept for key, kept in case.headers.items() if key != name}
        refused(case, others)
        for wrong in ("", " ", value[:-1], value + "0", "x" + value[1:], value.swapcase() + "!", "0" * 5000):
            refused(case, {**others, name: wrong})


@every
def test_a_header_outside_ascii_is_refused_and_does_not_crash(case: Case) -> None:
    for name, value in case.headers.items():
        for wrong in (value + "é", "\x00" + value, "\udcff", "٣" * 10):
            refused(case, {**case.headers, name: wrong})


@every
def test_another_secret_is_refused(case: Case) -> None:
    with pytest.raises(Unauthorized):
        case.adapter("s3cr3T").verify(case.headers, BODY)


@every
def test_the_secret_is_in_no_repr_and_no_refusal(case: Case) -> None:
    adapter = case.adapter()
    assert "s3cr3t" not in f"{adapter!r} {vars(adapter)!r} {refused(case, {})}"


def test_a_signature_without_its_prefix_is_refused() -> None:
    refused(CASES[1], {"x-hub-signature": "1d47dc57732ab60284a745fed722ba167a01232f"})


def test_hex_may_come_in_capitals_but_base64_not() -> None:
    CASES[1].adapter().verify({"x-hub-signature": "SHA1=1D47DC57732AB60284A745FED722BA167A01232F"}, BODY)
    refused(CASES[2], {"x-helpscout-signature": "HUFCV3MQTGKEP0X+1YK6FNOBIY8="})


def test_zendesks_current_documentation_vector() -> None:
    """Timestamp then body. An older page of theirs prints body then timestamp, which must not pass."""
    auth = signature(
        "hmac-sha256", "base64", "X-Zendesk-Webhook-Signature", timestamp_header=ZENDESK_TIME, max_age_s=None
    )
    adapter = Case("zendesk", auth, {}).adapter("HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA=")
    stamp = {ZENDESK_TIME.lower(): "2021-07-25T10:00:00Z"}
    right = {**stamp, "x-zendesk-webhook-signature": "Rry/4TtIdFyawtXXp8QdI6tlAUUQ/5kL1OTp5qo/ZIk="}
    adapter.verify(right, b'{"say": "hello"}')
    wrong = {**stamp, "x-zendesk-webhook-signature": "tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw="}
    with pytest.raises(Unauthorized):
        adapter.verify(wrong, b'{"say": "hello"}')


def test_githubs_documentation_vector() -> None:
    auth = signature("hmac-sha256", "hex", "X-Hub-Signature-256", prefix="sha256=")
    adapter = Case("github", auth, {}).adapter("It's a Secret to Everybody")
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    adapter.verify({"x-hub-signature-256": f"sha256={digest}"}, b"Hello, World!")


@pytest.mark.parametrize(("drift", "accepted"), [(0, True), (299, True), (-299, True), (301, False), (-301, False)])
def test_an_old_or_future_timestamp_is_refused(drift: int, accepted: bool) -> None:
    case = Case("late", CASES[0].config, CASES[0].headers, now=CASES[0].now + drift)
    if accepted:
        case.adapter().verify(case.headers, BODY)
    else:
        assert refused(case, case.headers) == "the timestamp is too far from our clock"


@pytest.mark.parametrize("stamp", ["1767323045", "1767323045000", "2026-01-02T03:04:05.123456789Z"])
def test_timestamps_come_in_seconds_milliseconds_or_rfc_3339(stamp: str, sign: Callable[[str], str]) -> None:
    auth = signature("hmac-sha256", "hex", "X-Sig", timestamp_header="X-Time")
    case = Case("times", auth, {"x-sig": sign(stamp), "x-time": stamp})
    case.adapter().verify(case.headers, BODY)


@pytest.mark.parametrize("stamp", ["now", "17673230450001", "1" * 5000, "2026-01-02", "2026-13-02T03:04:05Z"])
def test_a_timestamp_that_is_no_time_is_refused_even_if_signed(stamp: str, sign: Callable[[str], str]) -> None:
    auth = signature("hmac-sha256", "hex", "X-Sig", timestamp_header="X-Time")
    assert refused(Case("times", auth, {}), {"x-sig": sign(stamp), "x-time": stamp}) == "the timestamp is not a time"


@pytest.fixture
def sign() -> Callable[[str], str]:
    return lambda stamp: hmac.new(b"s3cr3t", stamp.encode() + BODY, "sha256").hexdigest()
