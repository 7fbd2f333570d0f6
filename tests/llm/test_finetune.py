"""The parts of training that run without torch: the split of the rows, the figures, and the tickets that ship."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import models.llm
from models.llm.calibration_key import key
from models.llm.card import load_card
from models.llm.finetune import calibrate, dataset, measure

DEMO = Path(models.llm.__file__).parent / "demo"


def write_rows(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    entries = [
        {"id": f"{path.parent.name}-{n}", "subject": "", "body": body, "label": label}
        for n, (body, label) in enumerate(rows)
    ]
    path.write_text("\n".join(map(json.dumps, entries)) + "\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_rows(
        tmp_path / "banking77" / "train.jsonl", [("my card?", "card_arrival"), ("Give it BACK", "request_refund")] * 50
    )
    queues = {"cards": {"intents": ["card_arrival"]}, "refunds": {"intents": ["request_refund"]}}
    (tmp_path / "banking77" / "queues.json").write_text(json.dumps({"queues": queues}))
    foreign = [("play jazz", "play_music")] * 1_200
    scoped = [("my bank balance", "balance"), ("euro rate", "exchange_rate")] * 50
    write_rows(tmp_path / "clinc150" / "train.jsonl", [("what is life", "oos")] * 100 + foreign + scoped)
    domains = {
        "oos": {},
        "play_music": {"domain": "home"},
        "balance": {"domain": "banking"},
        "exchange_rate": {"domain": "travel"},
    }
    (tmp_path / "clinc150" / "labels.json").write_text(json.dumps(domains))
    return tmp_path


def test_parts_are_stable_and_about_80_10_10() -> None:
    assert [dataset.part(f"row-{n}") for n in (0, 11, 0)] == ["calibrate", "choose", "calibrate"]
    sizes = Counter(dataset.part(str(n)) for n in range(10_000))
    assert 7_800 < sizes["fit"] < 8_200
    assert 900 < sizes["choose"] < 1_100


def test_training_rows_and_their_labels(data: Path) -> None:
    parts = dataset.training(data)
    every = [example for examples in parts.values() for example in examples]
    texts = Counter((example.text, example.labels["category"], example.labels.get("intent")) for example in every)
    assert texts == {
        ("my card?", "cards", "card_arrival"): 50,
        ("Give it BACK", "refunds", "request_refund"): 50,
        ("what is life", "other", None): 100,
        ("play jazz", "other", None): 1_000,
    }
    assert all(dataset.part(example.id) == part for part, examples in parts.items() for example in examples)
    assert dataset.labels(data) == {
        "category": ["cards", "refunds", "other"],
        "intent": ["card_arrival", "request_refund"],
    }


def test_shares_and_pairs_by_literal_numbers() -> None:
    assert measure.share([True] * 9 + [False]) == pytest.approx((0.9, 0.595850, 0.982124), abs=1e-5)
    first, second = [True, True, False, False, False, True], [False, True, True, True, True, True]
    assert measure.mcnemar(first, second) == (1, 3, pytest.approx(0.625))
    assert measure.mcnemar(first, first) == (0, 0, pytest.approx(1))


def test_ece_is_the_gap_per_bin() -> None:
    confidence = np.array([0.9] * 150 + [0.6] * 150)
    right = np.array(([True] * 7 + [False] * 3) * 15 + ([True] * 6 + [False] * 4) * 15)
    assert measure.ece(confidence, right) == pytest.approx(0.1, abs=0.01)
    assert 0.02 < measure.ece_null_mean(confidence, rounds=200) < 0.12
    low, high = measure.ece_interval(confidence, right, rounds=200)
    assert low < 0.13 < high


def test_the_temperature_of_overconfident_rows_is_found() -> None:
    """Labels are drawn from softmax(logits); log-probabilities sharpened threefold need T = 3."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4_000, 5))
    right = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    of = key("f" * 64, "llamacpp 1", "tuned-1", "category", {"refunds": "A"})
    fit = calibrate.fit_temperature(3 * logits, right.tolist(), "x", of)
    assert fit.temperature == pytest.approx(3, rel=0.05)
    assert (fit.n, fit.state, fit.key) == (4_000, "calibrated", of)


def test_the_shipped_tickets() -> None:
    tickets = [json.loads(line) for line in (DEMO / "tickets.jsonl").read_text(encoding="utf-8").splitlines()]
    labels = load_card(DEMO / "primary.gguf").codes["category"]
    assert len({ticket["id"] for ticket in tickets}) == 1_000
    assert sum(ticket["label"]["category"] == "other" for ticket in tickets) == 50
    assert {ticket["label"]["category"] for ticket in tickets} == set(labels)
    assert {ticket["language"] for ticket in tickets} == {"en"}
