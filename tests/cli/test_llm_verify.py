"""llm verify on the real tiny llm, inside the worker and behind an Ollama (the stand-in), and beside an earlier run."""

import json
import shutil

import pytest
from places import PARAMETERS
from standin import ollama

from service.cli.llm import findings, parity
from service.cli.llm import verify as llm_verify
from service.cli.llm.findings import Line
from service.cli.llm.verify import Reference
from service.settings import DEMO_LLMS

YAML = """
engines: {{o: {{kind: ollama, url: {url}, parallel: 2}}, e: {{kind: llamacpp, parallel: 2}}}}
llms:
  inside: {{engine: e, model: mine.gguf}}
  mine: {{engine: o, model: triage-mine, card: mine.json}}
policy: {{primary: inside}}
"""
SHIPPED = [json.loads(line) for line in (DEMO_LLMS / "tickets.jsonl").read_text().splitlines()]


@pytest.fixture
def server(tmp_path, triage):
    """A stand-in with the primary's weights, which are in the folder too, and sixty tickets."""
    (tmp_path / "blobs").mkdir()
    shutil.copyfile(DEMO_LLMS / "taxonomy.yaml", tmp_path / "taxonomy.yaml")
    for suffix in ("json", "gguf"):
        shutil.copyfile(DEMO_LLMS / f"primary.{suffix}", tmp_path / f"mine.{suffix}")
    with ollama(tmp_path / "blobs", version="0.24.0") as standin:
        standin.add("triage-mine", tmp_path / "mine.gguf", **PARAMETERS)
        (tmp_path / "triage.yaml").write_text(YAML.format(url=standin.url))
        write(tmp_path / "t.jsonl", SHIPPED[:60])
        yield standin


def write(path, tickets):
    rows = [{"id": t["id"], "body": t["body"], "label": t["label"]["category"]} for t in tickets]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def verified_as(triage, tmp_path, llm, *options, code=0):
    ran = triage("llm", "verify", llm, "--data", "t.jsonl", "--json", f"{llm}-found.json", *options)
    assert ran.code == code, ran.out + ran.err
    return json.loads((tmp_path / f"{llm}-found.json").read_text()), ran.out


def test_what_is_found_inside_the_worker(triage, server, tmp_path):
    found, out = verified_as(triage, tmp_path, "inside")
    assert [one["ok"] for one in found["checks"]] == [True, True, None, True, None, None, None]
    assert [line[:4] for line in out.splitlines()] == ["ok  ", "ok  ", "    ", "ok  ", "    ", "    ", "    "]
    assert "category, codes: all of them listed in 100.0% of 60 prompts" in out
    one = found["fields"]["category"]
    assert one["answers"].keys() == {ticket["id"] for ticket in SHIPPED[:60]}
    hits = [max(p, key=p.get) for p in one["answers"].values()]
    right = sum(hit == ticket["label"]["category"] for hit, ticket in zip(hits, SHIPPED[:60], strict=True))
    assert (one["accuracy"]["share"]["successes"], one["accuracy"]["share"]["n"]) == (right, 60)
    assert one["accuracy"]["ece"]["null_mean"] > 0
    assert one["mass"]["p5"] <= one["mass"]["median"] <= 1
    assert one["times"]["prefill_ms"]["p50"] <= one["times"]["call_ms"]["p95"]
    assert all(abs(sum(p.values()) - 1) < 1e-4 for p in one["answers"].values())


def test_the_same_weights_behind_ollama_are_the_same_llm(triage, server, tmp_path):
    before, _ = verified_as(triage, tmp_path, "inside")
    answers = before["fields"]["category"]["answers"]
    # Close calls may fall either way: llama.cpp rounds differently from batch to batch.
    write(tmp_path / "t.jsonl", [t for t in SHIPPED[:60] if max(answers[t["id"]].values()) > 0.6])
    found, out = verified_as(triage, tmp_path, "mine", "--reference", "inside-found.json")
    one = found["fields"]["category"]
    assert len(one["answers"]) > 40
    assert f"parity with inside: the same label for {len(one['answers'])} of" in out
    assert "200 tickets or more would say it better" in out
    # Ollama lists 20 tokens of the vocabulary, among which a label far from the ticket is not.
    assert one["codes"]["prompts"] == len(one["answers"])
    assert one["codes"]["complete"] < one["codes"]["prompts"]
    labels = json.loads((tmp_path / "mine.json").read_text())["codes"]["category"]
    assert one["codes"]["missing"].keys() <= {f"{code} = {label}" for label, code in labels.items()}
    assert "missing: " in out


def test_a_calibration_makes_no_difference_to_parity(triage, server, tmp_path):
    before, _ = verified_as(triage, tmp_path, "inside")
    card = json.loads((tmp_path / "mine.json").read_text())
    card["calibration"]["category"]["temperature"] = 3.0
    (tmp_path / "mine.json").write_text(json.dumps(card))
    after, _ = verified_as(triage, tmp_path, "inside")
    one, two = before["fields"]["category"], after["fields"]["category"]
    assert two["calibrated"]
    assert two["accuracy"]["mean_confidence"] < one["accuracy"]["mean_confidence"] - 0.02
    assert parity.compare(one["answers"], two["answers"]).mean < 0.005


def test_another_llm_is_not_taken_for_the_same(triage, server, tmp_path):
    before, _ = verified_as(triage, tmp_path, "inside")
    answers = before["fields"]["category"]["answers"]
    for ticket in list(answers)[:30]:
        answers[ticket] = {"other": 1.0, "refunds": 0.0}
    (tmp_path / "other.json").write_text(json.dumps(before))
    _, out = verified_as(triage, tmp_path, "inside", "--reference", "other.json", code=1)
    assert "FAIL  category, parity with inside" in out
    assert "needed are 99% and a mean below 0.03" in out


@pytest.mark.parametrize("llm", ["inside", "mine"])
def test_a_code_of_several_tokens(triage, server, tmp_path, llm):
    card = json.loads((tmp_path / "mine.json").read_text())
    card["codes"]["category"]["refunds"] = "two words of it"
    (tmp_path / "mine.json").write_text(json.dumps(card))
    found, out = verified_as(triage, tmp_path, llm, code=1)
    assert out.startswith("FAIL  load: ")
    assert "a code must be exactly one" in out
    assert found["fields"] == {}


def test_weights_that_do_not_answer_with_the_codes(triage, server, tmp_path):
    card = json.loads((tmp_path / "mine.json").read_text())
    card |= {"codes": {"category": {"refunds": "x", "transfers": "y"}}, "calibration": {}}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    (tmp_path / "taxonomy.yaml").write_text("fields: {category: {labels: [{id: refunds}, {id: transfers}]}}")
    write(tmp_path / "t.jsonl", [t for t in SHIPPED if t["label"]["category"] in ("refunds", "transfers")][:10])
    _, out = verified_as(triage, tmp_path, "inside", code=1)
    assert "FAIL  category, mass: median 0.0" in out
    assert "the llm does not answer with the codes" in out


def test_stock_weights_behind_ollama_with_codes_of_two_levels(triage, server, tmp_path):
    config = (tmp_path / "triage.yaml").read_text()
    stock = "llms:\n  stock: {engine: o, model: triage-mine, family: plain}"
    (tmp_path / "triage.yaml").write_text(config.replace("llms:", stock))
    labels = [{"id": name} for name in ("refunds", "transfers", *(f"queue{n}" for n in range(28)))]
    (tmp_path / "taxonomy.yaml").write_text(json.dumps({"fields": {"category": {"labels": labels}}}))
    write(tmp_path / "t.jsonl", [t for t in SHIPPED if t["label"]["category"] in ("refunds", "transfers")][:4])
    found, out = verified_as(triage, tmp_path, "stock", code=1)
    assert "ok    load: ollama 0.24.0" in out
    # These weights were never trained to answer such a question, if they have any code to say.
    assert "FAIL  category, " in out
    one = found["fields"]["category"]
    assert one["codes"]["prompts"]
    assert one["codes"]["missing"]
    assert all("group" in code for code in one["codes"]["missing"])
    assert {len(p) for p in one["answers"].values()} <= {30}


def reference(answers):
    return json.dumps({"llm": "x", "data": "", "fields": {"category": {"answers": answers}}})


def test_a_reference_is_refused_before_a_ticket_is_asked_about(triage, server, tmp_path):
    (tmp_path / "far.json").write_text(reference({"1": {"a": 1}}))
    ran = triage("llm", "verify", "mine", "--data", "t.jsonl", "--reference", "far.json")
    assert (ran.code, server.requests) == (1, [])


def test_a_reference_whose_tickets_get_no_answer_is_a_line_that_fails():
    before = Reference.model_validate_json(reference({"1": {"a": 1}}))
    (line,) = llm_verify._parity("category", {}, before, same=True)
    assert line == Line(
        "category, parity with x", False, "no ticket of the reference got a probability, so nothing can be compared"
    )


def test_a_reference_that_is_none(triage, server, tmp_path):
    (tmp_path / "broken.json").write_text('{"llm": "x"}')
    for name, answers in (("far", {"1": {"a": 1}}), ("empty", {SHIPPED[0]["id"]: {}}), ("unsure", {})):
        (tmp_path / f"{name}.json").write_text(reference(answers))
    for name, sentence in (
        ("none.json", "none.json cannot be read"),
        ("broken.json", "is not what triage llm verify --json writes"),
        ("empty.json", "is not what triage llm verify --json writes"),
        ("unsure.json", "The reference has no probability for field category: x gave none."),
        ("far.json", "none of its ids of field category is in --data"),
    ):
        ran = triage("llm", "verify", "inside", "--data", "t.jsonl", "--reference", name)
        assert (ran.code, ran.out) == (1, "")
        assert sentence in ran.err
    assert "There is no folder" in triage("llm", "verify", "inside", "--data", "t.jsonl", "--json", "no/o.json").err
    assert "There is no llm 'nobody'" in triage("llm", "verify", "nobody", "--data", "t.jsonl").err


def test_parity_counts_labels_and_distances():
    now = {"1": {"a": 0.9, "b": 0.1}, "2": {"a": 0.4, "b": 0.6}, "line 3": {"a": 1.0}}
    before = {"1": {"a": 0.8, "b": 0.2}, "2": {"a": 0.6, "b": 0.4}, "line 3": {"b": 1.0}}
    found = parity.compare(now, before)
    assert (found.n, found.agreed, found.greatest) == (3, 1, 1.0)
    assert found.mean == pytest.approx((0.1 + 0.2 + 1) / 3)
    assert not found.good
    # Of another file the third line is another ticket.
    assert parity.compare(now, before, same=False).n == 2


def test_parity_counts_a_difference_among_many_labels_as_one_among_two():
    """The same likeliest label, and half of the probability elsewhere: the mean over labels would be 0.01."""
    rest = {f"q{at}": 0.5 / 50 for at in range(50)}
    others = {f"r{at}": 0.5 / 50 for at in range(50)}
    found = parity.compare({"1": {"a": 0.5} | rest}, {"1": {"a": 0.5} | others})
    assert (found.agreed, found.mean, found.greatest) == (1, pytest.approx(0.5), pytest.approx(0.5))
    assert not found.good


def test_what_a_server_without_log_probabilities_leaves_unsaid():
    share = {"value": None, "n": 0}
    figures = {
        "n": 2,
        "unanswered": {"empty": 1, "refused": 1},
        "codes": {"prompts": 4, "complete": 0, "missing": {"A": 4}, "never": ["A"]},
        "mass": {"median": None, "p5": None},
        "accuracy": {"share": share, "mean_confidence": None, "ece": None},
        "calibrated": False,
        "times": {"call_ms": {"p50": 1.0, "p95": 2.0}, "load_ms": {"p50": None, "p95": None}},
    }
    said = {line.what: (line.ok, line.says) for line in findings.lines("f", figures)}
    assert said["f, answers"] == (False, "1 of 2 tickets were refused or got no score; 1 ticket had no text")
    assert "never listed: A" in said["f, codes"][1]
    assert said["f, mass"][0] is None
    assert said["f, accuracy"] == (None, "no ticket with a label of this field was answered")
    assert said["f, confidence"] == (None, "no confidence to judge")
    assert said["f, times"] == (None, "call 1.0 ms (p95 2.0)")
