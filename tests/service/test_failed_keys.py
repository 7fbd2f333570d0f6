"""Who sends bad keys is slowed down, nobody else is, and what is remembered of it stays small."""

import httpx
import pytest

from models.errors import TooManyFailures
from service import failures
from service.failures import ADDRESSES, MOST, WINDOW_S, Failures

BAD = {"Authorization": "Bearer triage_nonsense"}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time that failures are counted by, to be moved."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(failures, "time", made)
    return made


def fail(client, times, **more):
    return {client.get("/v1/tickets", headers=BAD | more).status_code for _ in range(times)}


def test_after_twenty_in_a_minute_bad_keys_are_429_and_good_ones_work(client, new_key, clock):
    good = [client.headers["Authorization"], f"Bearer {new_key('tickets:read')}"]
    assert client.get("/v1/tickets").status_code == 200
    assert fail(client, MOST) == {401}
    clock.now += 20.5
    refused = client.get("/v1/tickets", headers=BAD)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "40")
    assert (refused.json()["title"], "nonsense" in refused.text) == ("Too many failed keys", False)
    # One key that this process knows, and one that it has to look up.
    assert [client.get("/v1/tickets", headers={"Authorization": key}).status_code for key in good] == [200, 200]
    assert client.post("/v1/tickets", json={"body": "a"}, headers=BAD).status_code == 429
    clock.now += 39.5
    assert fail(client, MOST) == {401}
    assert fail(client, 1) == {429}


def test_no_key_at_all_is_no_guess(client):
    assert {client.get("/v1/tickets", headers={"Authorization": ""}).status_code for _ in range(MOST)} == {401}
    assert fail(client, 1) == {401}


def test_each_address_is_counted_by_itself_and_none_can_be_made_up(client):
    base, other = str(client.base_url), httpx.HTTPTransport(local_address="127.0.0.2")
    assert fail(client, MOST) == {401}
    assert fail(client, 1) == {429}
    with httpx.Client(base_url=base, transport=other) as elsewhere:
        # No proxy that uvicorn trusts: what it says of others' addresses is not read.
        assert {code for n in range(MOST) for code in fail(elsewhere, 1, **{"X-Forwarded-For": f"10.0.0.{n}"})} == {401}
        assert fail(elsewhere, 1, **{"X-Forwarded-For": "10.0.1.1"}) == {429}


def test_behind_a_proxy_that_uvicorn_trusts_each_client_is_counted(client):
    assert fail(client, MOST, **{"X-Forwarded-For": "10.0.0.1"}) == {401}
    assert fail(client, 1, **{"X-Forwarded-For": "10.0.0.1"}) == {429}
    assert fail(client, 1, **{"X-Forwarded-For": "10.0.0.2"}) == {401}


def test_signing_in_counts_too(client, new_key):
    ours = {"Origin": str(client.base_url).rstrip("/"), "Accept": "text/html", "Authorization": ""}

    def sign_in(key):
        return client.post("/login", data={"key": key}, headers=ours)

    assert {sign_in("nonsense").status_code for _ in range(MOST)} == {401}
    refused = sign_in("nonsense")
    assert (refused.status_code, 0 < int(refused.headers["Retry-After"]) <= WINDOW_S) == (429, True)
    assert "Too many" in refused.text
    assert sign_in(new_key("tickets:read")).status_code == 303


def test_memory_is_bounded_and_the_oldest_is_forgotten_first():
    made = Failures()
    for number in range(ADDRESSES + 5):
        made.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(made.seen) == ADDRESSES
    assert ("10.0.0.4" in made.seen, "10.0.0.5" in made.seen) == (False, True)
    made.count("10.0.0.5")
    made.count("192.168.0.1")
    assert ("10.0.0.5" in made.seen, "10.0.0.6" in made.seen) == (True, False)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("10.0.0.1", "10.0.0.2", False),
        (None, "", True),
        ("x" * 70, "x" * 80, True),
    ],
)
def test_which_addresses_are_one(one, other, same):
    made = Failures()
    for _ in range(MOST):
        made.count(one)
    if same:
        with pytest.raises(TooManyFailures):
            made.count(other)
    else:
        made.count(other)
