"""What loading costs: it counts towards the limit of a day, and what cannot be loaded is tried ever more seldom."""

import json

from clouded import PRICE, Clouded

from workers.backoff import FIRST_S, LONGEST_S
from workers.llms import Llms


def answers_uselessly(clouded: Clouded) -> None:
    """It answers, and is paid for, but gives neither log-probabilities nor a label."""
    clouded.cloud.fault, clouded.cloud.refused = "nothing", {"response_format"}


def pause_is_over(llms: Llms) -> None:
    for llm in llms.all.values():
        llm.backoff.not_before = 0.0


def pause_is_long(llms: Llms) -> None:
    """So that none ends by itself on a busy machine."""
    for llm in llms.all.values():
        assert llm.backoff.not_before > 0
        llm.backoff.not_before += 3600


def asked(clouded: Clouded) -> int:
    return len(clouded.cloud.paths)


def test_what_somebody_must_mend_first_is_tried_ever_more_seldom(clouded: Clouded) -> None:
    answers_uselessly(clouded)
    llms = clouded.llms()
    assert not llms.load()
    pause_is_long(llms)
    before, error = asked(clouded), llms.all["primary"].error
    assert not llms.load()
    assert (asked(clouded), llms.all["primary"].error) == (before, error)
    pauses = [llms.all["primary"].backoff.pause_s]
    for _ in range(9):
        pause_is_over(llms)
        assert not llms.load()
        pauses.append(llms.all["primary"].backoff.pause_s)
    assert asked(clouded) > before
    assert pauses == [FIRST_S * 2**n for n in range(9)] + [LONGEST_S]
    pause_is_over(llms)
    clouded.cloud.fault, clouded.cloud.refused = None, set()
    assert llms.load()


def test_another_card_is_tried_at_once(clouded: Clouded) -> None:
    answers_uselessly(clouded)
    llms = clouded.llms()
    assert not llms.load()
    pause_is_long(llms)
    clouded.cloud.fault, clouded.cloud.refused = None, set()
    for name in ("primary", "fallback"):
        path = clouded.folder / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"served": ["mended"]}), "utf-8")
    assert llms.load()


def test_a_server_that_is_away_is_asked_at_every_look(clouded: Clouded) -> None:
    clouded.cloud.fault = 500
    llms = clouded.llms()
    assert not llms.load()
    clouded.cloud.fault = None
    assert llms.load()


def test_loading_counts_and_stops_at_the_limit(clouded: Clouded) -> None:
    answers_uselessly(clouded)
    llms = clouded.llms(spend_limit_per_day=0.001)
    assert not llms.load()
    why = "The engine cloud has spent its 0.001 of today"
    assert all((llm.breaker() or "").startswith(why) for llm in llms.all.values())
    before = asked(clouded)
    assert all(request.get("model") != "second" for request in clouded.cloud.requests)
    pause_is_over(llms)
    assert not llms.load()
    assert asked(clouded) == before
    assert [(llm.error or "").startswith(why) for llm in llms.all.values()] == [True, True]


def test_what_is_loaded_stays_loaded_at_the_limit(clouded: Clouded) -> None:
    llms = clouded.llms(spend_limit_per_day=100.0)
    assert llms.load()
    (spend,) = llms.spends
    replies = sum(path == "/completions" for path in clouded.cloud.paths)
    assert spend._not_in_tables > replies * PRICE["output"] / 1e6
    spend.add(100.0)
    before = asked(clouded)
    assert llms.load()
    assert asked(clouded) == before
