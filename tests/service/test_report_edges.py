"""Reports over very little, over what is gone, and over two taxonomies; and what a split may conclude."""

import pytest
from written import LABELS, Written

from service.config import Arm
from service.experiments import report
from service.experiments.assignment import Experiment
from service.experiments.report import Window

A, B = Arm(primary="primary"), Arm(primary="fallback")
IMPLIED = Experiment("primary-or-fallback", "category", "shadow", A, B, implied=True)
SPLIT = Experiment("halves", "category", "split", A, B)


@pytest.fixture
def write(sql):
    return Written(sql)


@pytest.fixture
def build(database):
    def made(experiment=IMPLIED):
        return report.build(database, experiment, Window())

    return made


def concluded(found):
    (one,) = found["conclusions"]
    return one["sentence"], one["reason"].split(".")[0]


@pytest.mark.parametrize(
    ("verdicts", "sentence", "reason"),
    [
        (0, "about 1,000 more", "Of 0 judged tickets, only A was right on 0 and only B on 0"),
        (1, "about 1,400 more", "Of 1 judged ticket, only A was right on 1 and only B on 0"),
        (2, "about 1,700 more", "Of 2 judged tickets, only A was right on 1 and only B on 1"),
    ],
)
def test_over_no_one_and_two_verdicts(write, build, verdicts, sentence, reason):
    for truth in ("refunds", "top_up")[:verdicts]:
        write.judged("refunds", "top_up", truth)
    found = build()
    assert concluded(found) == (f"not enough verdicts: {sentence}", reason)
    assert [llm["accuracy"][0]["n"] for llm in found["llms"]] == ([verdicts] * 2 if verdicts else [])
    if not verdicts:
        assert found["conclusions"][0]["source"] is None
    else:
        pair = found["pair"][0]
        assert found["conclusions"][0]["more"] == pair["verdict"]["more"]
        assert pair["difference_interval"]["low"] <= pair["difference"] <= pair["difference_interval"]["high"]


def test_over_verdicts_without_an_answer_of_the_coin(write, build):
    for label in LABELS:
        ticket = write.ticket(shadow=False, shadow_rate=0.0)
        write.prediction(ticket, "primary", label)
        write.triage(ticket, label)
        write.verdict(ticket, "refunds")
    found = build()
    assert (found["pair"], concluded(found)[0]) == ([], "not enough verdicts: about 1,000 more")
    assert [(llm["llm"], llm["accuracy"][0]["n"]) for llm in found["llms"]] == [("primary", 3)]
    assert found["cascade"]["accuracy"][0]["successes"] == 1


def test_an_llm_that_was_only_asked_when_another_was_unsure_has_no_accuracy(write, build):
    ticket = write.ticket()
    write.prediction(ticket, "fallback", "refunds", "escalated")
    write.verdict(ticket, "refunds")
    (llm,) = build()["llms"]
    assert (llm["n"], llm["accuracy"], llm["mean_confidence"], llm["mean_confidence_n"]) == (1, [], None, 0)


def test_over_a_label_that_no_longer_exists(write, build):
    for _ in range(2):
        write.judged("abolished", "refunds", "refunds")
    write.judged("refunds", "refunds", "forgotten")
    found = build()
    assert (found["pair"][0]["only_b"], found["pair"][0]["neither"]) == (2, 1)
    confusions = {(c["truth"], c["said"]): c["n"] for llm in found["llms"] for c in llm["confusions"]}
    assert confusions == {("refunds", "abolished"): 2, ("forgotten", "refunds"): 1}


def test_two_taxonomies_in_the_window_are_named(write, build):
    write.sql("INSERT INTO taxonomy_versions SELECT 2, sha256, document FROM taxonomy_versions")
    ticket = write.judged("refunds", "refunds", "refunds")
    write.judged("refunds", "refunds", "refunds")
    write.sql("UPDATE triages SET taxonomy_version = 2 WHERE ticket_id = %s", ticket)
    assert build()["taxonomy_versions"] == [1, 2]


def test_without_a_fallback_nothing_is_compared(write, build):
    write.judged("refunds", "refunds", "refunds")
    found = build(Experiment("primary-or-fallback", "category", "shadow", A, None, implied=True))
    assert concluded(found) == ("no evidence", "The policy has no fallback, so there is nothing to compare")
    assert (found["experiment"]["b"], found["experiment"]["arms"]["b"]) == (None, None)


def test_a_split_over_nothing(build):
    found = build(SPLIT)
    assert (found["arms"], found["split"], found["pair"]) == ({}, [], [])
    assert found["balance"] == {
        "units_a": 0, "units_b": 0, "p_value": 1.0, "suspicious": False, "unserved": None,
    }  # fmt: skip
    assert concluded(found)[0] == "not enough verdicts: about 3,100 more"


def test_a_split_with_verdicts_in_one_arm_only(write, build):
    write.served("a", True, "Ana")
    found = build(SPLIT)
    (row,) = found["split"]
    assert (row["difference"], row["difference_interval"], row["p_value"]) == (None, None, None)
    assert (row["accuracy_b"]["n"], row["accuracy_b"]["value"]) == (0, None)
    assert row["verdict"]["word"] == "not enough verdicts"


def test_a_split_with_an_arm_that_is_better(write, build):
    for number in range(40):
        write.served("a", True, f"a {number}")
        write.served("b", number % 2 == 0, f"b {number}")
    found = build(SPLIT)
    assert concluded(found) == ("A better", "A was right on 40 of 40 judged tickets, B on 20 of 40 (p < 0")
    assert found["split"][0]["difference"] == 0.5


def test_many_tickets_of_few_requesters_decide_nothing(write, build):
    """As many right and wrong tickets as before, but of five requesters."""
    for number in range(40):
        write.served("a", True, f"a {number % 5}")
        write.served("b", number % 5 < 3, f"b {number % 5}")
    (row,) = build(SPLIT)["split"]
    assert row["accuracy_a"]["clusters"] == row["accuracy_b"]["clusters"] == 5
    assert row["accuracy_b"]["design_effect"] == pytest.approx(8 * 5 / 4)
    assert row["verdict"]["word"] == "not enough verdicts"


def test_halves_that_are_not_even_are_told(write, build):
    for number in range(40):
        write.served("a", True, f"a {number}")
        write.served("b", False, f"b {number % 10}")
    found = build(SPLIT)
    assert (found["balance"]["units_a"], found["balance"]["units_b"], found["balance"]["suspicious"]) == (40, 10, True)
    assert concluded(found)[0] == "no evidence"
    assert concluded(found)[1].startswith("The halves are not even: 40 requesters in A, 10 in B")


def test_a_ticket_counts_for_the_arm_it_was_assigned_to(write, build):
    ticket = write.served("a", True, "Ana")
    write.served("b", True, "Ben")
    write.sql("UPDATE triages SET served_arm = NULL WHERE ticket_id = %s", ticket)
    arms = build(SPLIT)["arms"]
    assert [arms[name]["served_as_assigned"] for name in "ab"] == [0, 1]
    assert [arms[name]["accuracy"][0]["n"] for name in "ab"] == [1, 1]


def test_an_arm_that_decided_few_of_its_tickets_is_not_judged(write, build):
    """As after an experiment's end, when its tickets are classified anew: then the policy decides, for both arms."""
    for number in range(40):
        tickets = write.served("a", True, f"a {number}"), write.served("b", number % 2 == 0, f"b {number}")
        if number >= 4:
            write.sql("UPDATE triages SET served_arm = NULL WHERE ticket_id = ANY(%s)", list(tickets))
    found = build(SPLIT)
    assert concluded(found)[0] == "no evidence"
    assert concluded(found)[1].startswith("Arm A itself decided only 4 of the 40 tickets assigned to it")
    write.sql("UPDATE triages SET served_arm = t.arm FROM tickets t WHERE t.id = ticket_id")
    assert concluded(build(SPLIT))[0] == "A better"


def test_what_the_coin_drew_and_one_llm_did_not_answer_is_told(write, build):
    write.judged("refunds", "refunds", "refunds")
    alone = write.ticket()
    write.prediction(alone, "primary", "refunds")
    write.triage(alone, "refunds")
    needed = write.ticket()
    write.prediction(needed, "primary", "refunds")
    write.prediction(needed, "fallback", "refunds", "escalated")
    write.triage(needed, "refunds")
    empty = write.ticket()
    write.triage(empty, None, decided_by="rule", confidence=None, llms=[])
    undrawn = write.ticket(shadow=False)
    write.prediction(undrawn, "primary", "refunds")
    write.triage(undrawn, "refunds")
    assert build()["drawn"] == {"drawn": 3, "answered_by_both": 1}
    assert build(SPLIT)["drawn"] is None
