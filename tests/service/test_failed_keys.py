"""Who sends bad keys is slowed down, nobody else is, and what is remembered of it stays small."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from models.errors import TooManyFailures
from service import failures
from service.auth.known import Keys
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


@pytest.fixture
def held(monkeypatch):
    """Holds each look-up of a key that is unknown until `release`; `begun` are those that have a thread."""

    class Held:
        def __init__(self):
            self.release, self.begun, self.keys = threading.Event(), [], None

        def __call__(self, keys, asked):
            self.keys = keys
            if asked not in keys.cache:
                self.begun.append(asked)
                assert self.release.wait(60)
            return real(keys, asked)

    real, made = Keys._look_up, Held()
    monkeypatch.setattr(Keys, "_look_up", lambda keys, asked: made(keys, asked))
    yield made
    made.release.set()


def under_way(held, wanted):
    deadline = time.monotonic() + 30
    while held.keys is None or held.keys.failures.under_way["127.0.0.1"] < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_is_over_the_limit_holds_one_connection_and_its_good_key_none_of_the_waiting(client, held):
    held.release.set()
    assert client.get("/v1/tickets").status_code == 200
    assert fail(client, MOST) == {401}
    held.release.clear()
    held.begun.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(fail, client, 1) for _ in range(8)]
        under_way(held, 8)
        for key, known in held.keys.cache.items():
            held.keys.cache[key] = dataclasses.replace(known, until=0.0)
        assert client.get("/v1/tickets").status_code == 200
        assert len(held.begun) == 1
        held.release.set()
        assert [answer.result() for answer in answers] == [{429}] * 8


def test_a_made_up_session_counts_as_a_bad_key(client):
    cookie = {"Cookie": f"triage_session=01a1feef-60f3-7010-b789-e50222ae6516.{2**40}.x", "Accept": "text/html"}
    codes = {client.get("/tickets", headers=cookie | {"Authorization": ""}).status_code for _ in range(MOST)}
    assert codes == {303}
    assert client.get("/tickets", headers=cookie | {"Authorization": ""}).status_code == 429


def test_what_is_under_way_counts_until_it_is_answered():
    made = Failures()
    made.count("10.0.0.1")
    with ExitStack() as stack:
        over = [stack.enter_context(made.asking("10.0.0.1")) for _ in range(MOST)]
        assert over == [False] * (MOST - 1) + [True]
        assert not stack.enter_context(made.asking("10.0.0.2"))
    assert made.under_way == {}
    with made.asking("10.0.0.1") as over_now:
        assert not over_now


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
