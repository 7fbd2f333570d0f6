"""evaluate end to end on the real tiny llms: what it prints, its JSON, its page, and what it refuses."""

import csv
import hashlib
import json
import shutil

import pytest
from shipped import SHIPPED, noisy, write
from synthetic import TAXONOMY, tickets

import service.cli.train
import service.pages.evaluation
from service.cli.evaluate import asking
from service.settings import DEMO_LLMS

PROMISED = {
    "llm", "field", "n", "accuracy", "accuracy_ci", "macro_f1", "macro_f1_ci", "top3", "mean_confidence",
    "confidence_gap", "confidence_gap_se", "ece",
    "ece_null_mean", "ece_null_p95", "ece_debiased", "brier", "nll", "aurc", "coverage_at", "oos_auroc", "n_oos",
    "ms_p50", "ms_p95", "tickets_per_s", "calibration",
}  # fmt: skip


def evaluated(triage, folder, *options):
    ran = triage("evaluate", "--taxonomy", "taxonomy.yaml", "--test", "test.jsonl", "--json", "o.json", *options)
    assert ran.code == 0, ran.err
    return json.loads((folder / "o.json").read_text()), ran


def test_several_llms_and_the_policy_in_one_call(triage, folder, answers):
    found, ran = evaluated(triage, folder, "--llm", "primary", "--llm", "fallback", "--policy", "--html", "o.html")
    assert [(one["llm"], one["field"], one["n"]) for one in found["results"]] == [
        (name, "category", 60) for name in ("primary", "fallback", "policy")
    ]
    primary, _, policy = found["results"]
    assert primary.keys() >= PROMISED
    said = answers(SHIPPED[:60])
    hits = [label == ticket["label"]["category"] for (label, _), ticket in zip(said, SHIPPED[:60], strict=True)]
    # llama.cpp rounds differently from batch to batch, so one close call may fall either way
    assert primary["accuracy"] == pytest.approx(sum(hits) / 60, abs=1.01 / 60)
    assert primary["mean_confidence"] == pytest.approx(sum(c for _, c in said) / 60, abs=0.02)
    assert primary["calibration"] == {
        "state": "calibrated", "id": "37c66caf-category-1034", "n": 1034, "beta": pytest.approx(1 / 1.0694),
        "share": 1.0, "refit": {},
    }  # fmt: skip
    assert policy["calibration"]["state"] == "partly calibrated"
    assert policy["policy"]["fallback"] == "fallback"
    assert [pin["name"] for pin in policy["pins"]] == ["primary", "fallback"]
    for figure in ("macro-F1", "ECE minus chance", "AURC", "none of the labels", "precision 0.95"):
        assert figure in ran.out
    assert "needs about 90 rows" in ran.out
    assert "<svg" in (folder / "o.html").read_text()
    assert ran.err.endswith("Wrote o.json.\nWrote o.html.\n")


def test_files_prompt_and_codes_are_named_by_their_hashes(triage, folder):
    found, _ = evaluated(triage, folder, "--llm", "primary")
    for name in ("test", "taxonomy"):
        path = folder / found["files"][name]["name"]
        assert found["files"][name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    (pin,) = found["results"][0]["pins"]
    prompt = (DEMO_LLMS.parent / "prompts" / "tuned-1.txt").read_bytes()
    codes = json.loads((DEMO_LLMS / "primary.json").read_text())["codes"]["category"]
    assert pin["prompt_sha256"] == hashlib.sha256(prompt).hexdigest()
    assert pin["codes_sha256"] == hashlib.sha256(json.dumps(codes, sort_keys=True).encode()).hexdigest()
    assert pin["digest"] == hashlib.sha256((DEMO_LLMS / "primary.gguf").read_bytes()).hexdigest()


def test_without_names_it_is_the_policy_and_its_llms(triage, folder):
    write(folder / "test.jsonl", SHIPPED[:5])
    found, _ = evaluated(triage, folder)
    assert [one["llm"] for one in found["results"]] == ["primary", "fallback", "policy"]


def test_a_gguf_needs_no_triage_yaml_and_labels_may_be_titles(triage, folder):
    (folder / "triage.yaml").unlink()
    shutil.copyfile(DEMO_LLMS / "primary.gguf", folder / "own.gguf")
    shutil.copyfile(DEMO_LLMS / "primary.json", folder / "own.json")
    with (folder / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["body", "label"], ["I want a refund", "Refunds"], ["i want a refund", "refunds"]])
    ran = triage(
        *("evaluate", "--taxonomy", "taxonomy.yaml", "--test", "test.csv"),
        *("--llm", "llamacpp:own.gguf", "--json", "o.json"),
    )
    assert ran.code == 0, ran.err
    (one,) = json.loads((folder / "o.json").read_text())["results"]
    assert (one["llm"], one["n"], one["accuracy"]) == ("llamacpp:own.gguf", 2, 1.0)


def test_tickets_of_no_label_and_without_text(triage, folder):
    outside = [{"body": "what is the meaning of life", "label": "oos"}, {"body": "tell me a joke", "label": "other"}]
    write(
        folder / "test.jsonl",
        [*SHIPPED[:40], *outside, {"body": "> ", "label": "refunds"}, {"body": "", "label": "refunds"}],
    )
    found, ran = evaluated(triage, folder, "--llm", "primary")
    (one,) = found["results"]
    others = sum(ticket["label"]["category"] == "other" for ticket in SHIPPED[:40])
    assert one["n_oos"] == others + 2
    assert one["n"] + one["unanswered"]["empty"] == 40 + 1 + 2  # `other` is a label here too, `oos` is none
    assert one["oos_auroc"] > 0.8
    assert "without an answer, counted nowhere (empty)" in ran.err


def test_rows_that_were_trained_on_are_counted_and_named(triage, folder):
    write(folder / "train.jsonl", [{"body": f"  {SHIPPED[3]['body']}\n"}, {"body": "something else"}])
    found, ran = evaluated(triage, folder, "--llm", "primary", "--train", "train.jsonl")
    assert found["overlap"] == {"train": {"n": 1, "rows": [SHIPPED[3]["id"]]}}
    assert f"--train holds 1 test ticket too, so the figures flatter: {SHIPPED[3]['id']}." in ran.err


def test_a_linear_llm_learns_first(triage, folder):
    (folder / "taxonomy.yaml").write_text("fields: {category: {labels: [{id: transfers}, {id: card_payments}]}}")
    two = [t for t in SHIPPED if t["label"]["category"] in ("transfers", "card_payments")]
    write(folder / "train.jsonl", two[:160])
    write(folder / "test.jsonl", two[160:220])
    found, _ = evaluated(triage, folder, "--llm", "linear", "--train", "train.jsonl")
    (one,) = found["results"]
    assert (one["llm"], one["n"], one["pins"][0]["engine"]) == ("linear", 60, "linear")
    assert one["accuracy"] > 0.75
    assert (one["calibration"]["state"], one["calibration"]["n"]) == ("calibrated", 160)


def test_linear_is_trained_several_times_with_other_folds(triage, folder):
    (folder / "taxonomy.yaml").write_text(TAXONOMY)
    for name, seed in (("train.jsonl", 0), ("test.jsonl", 1)):
        write(folder / name, tickets(n=240, seed=seed))
    found, ran = evaluated(triage, folder, "--llm", "linear", "--train", "train.jsonl", "--seeds", "3")
    (one,), (field,) = found["results"], found["seeds"].values()
    assert field["n"] == 3
    for figure in ("accuracy", "macro_f1", "ece", "nll"):
        values = field[figure]["values"]
        assert (values[0], len(values)) == (one[figure], 3)
        assert field[figure] | {"values": []} == {
            "values": [], "low": min(values), "high": max(values), "mean": pytest.approx(sum(values) / 3),
        }  # fmt: skip
    assert len(set(field["nll"]["values"])) > 1, "other folds make another temperature"
    mean, low, high = (f"{field['nll'][name]:.4f}" for name in ("mean", "low", "high"))
    assert "linear, field category, trained 3 times with other folds: accuracy " in ran.err
    assert f", NLL {mean} ({low} to {high})." in ran.err


def test_a_broken_test_file_is_told_before_the_training(triage, folder, monkeypatch):
    monkeypatch.setattr(service.cli.train, "learn", lambda *_: pytest.fail("it was trained"))
    write(folder / "train.jsonl", tickets(n=5))
    (folder / "test.jsonl").write_text("{")
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "linear", "--train", "train.jsonl")
    assert (ran.code, ran.err) == (1, "triage: test.jsonl, line 1: not valid JSON.\n")


def test_with_train_linear_learns_whatever_triage_yaml_calls_linear(triage, folder):
    (folder / "taxonomy.yaml").write_text("fields: {category: {labels: [{id: transfers}, {id: card_payments}]}}")
    (folder / "triage.yaml").write_text(
        "engines: {cpu: {kind: linear}}\nllms: {linear: {engine: cpu, model: nowhere}}\npolicy: {primary: linear}\n"
    )
    two = [t for t in SHIPPED if t["label"]["category"] in ("transfers", "card_payments")]
    write(folder / "train.jsonl", two[:60])
    write(folder / "test.jsonl", two[160:165])
    given = ["--test", "test.jsonl", "--llm", "linear", "--llm", "linear", "--train", "train.jsonl"]
    ran = triage("evaluate", *given, "--json", "o.json")
    assert ran.code == 0, ran.err
    assert [one["n"] for one in json.loads((folder / "o.json").read_text())["results"]] == [5]
    ran = triage("evaluate", *given, "--policy")
    assert ran.code == 1
    assert "the policy asks the linear of triage.yaml: evaluate --policy by itself." in ran.err


def test_a_linear_llm_learns_the_labels_of_triage_yaml(triage, folder):
    (folder / "taxonomy.yaml").write_text("fields: {category: {labels: [{id: transfers}, {id: card_payments}]}}")
    two = [t for t in SHIPPED if t["label"]["category"] in ("transfers", "card_payments")]
    write(folder / "train.jsonl", two[:60])
    write(folder / "test.jsonl", two[160:165])
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "linear", "--train", "train.jsonl", "--json", "o.json")
    assert ran.code == 0, ran.err
    assert json.loads((folder / "o.json").read_text())["results"][0]["n"] == 5


def test_a_plain_label_is_of_the_category_wherever_it_stands(triage, folder):
    more = "fields:\n  priority: {labels: [{id: refunds}, {id: low}]}\n"
    text = (folder / "taxonomy.yaml").read_text()
    (folder / "taxonomy.yaml").write_text(text.replace("fields:\n", more, 1))
    write(folder / "test.jsonl", [{"body": "I want a refund", "label": "refunds"}])
    found, _ = evaluated(triage, folder, "--llm", "primary")
    assert [(one["field"], one["accuracy"]) for one in found["results"]] == [("category", 1.0)]


def test_the_policy_is_what_is_decided(triage, folder, loaded_policy):
    found, _ = evaluated(triage, folder, "--policy")
    (one,) = found["results"]
    decided = [loaded_policy(ticket) for ticket in SHIPPED[:60]]
    assert one["mean_confidence"] == pytest.approx(sum(d.confidence for d in decided) / 60, abs=0.02)
    assert one["calibration"]["share"] == pytest.approx(sum(d.calibrated for d in decided) / 60, abs=2.01 / 60)


def test_a_temperature_for_this_time(triage, folder, own):
    before = own.read_bytes()
    write(folder / "test.jsonl", noisy(SHIPPED[:150]))
    write(folder / "more.jsonl", noisy(SHIPPED[150:300]))
    plain, _ = evaluated(triage, folder, "--llm", "llamacpp:own.gguf")
    scaled, ran = evaluated(triage, folder, "--llm", "llamacpp:own.gguf", "--calibrate", "more.jsonl")
    one, other = plain["results"][0], scaled["results"][0]
    assert other["calibration"]["n"] == 150
    assert other["calibration"]["beta"] < 0.8
    assert other["calibration"]["id"].startswith("37c66caf-category-150-")
    assert (other["nll"], abs(other["ece_debiased"])) < (one["nll"], abs(one["ece_debiased"]))
    assert "300 or more are better" in ran.err
    assert own.read_bytes() == before
    assert scaled["overlap"]["calibrate"]["n"] == 0


def test_a_temperature_over_fewer_labels_than_the_llm_knows_counts_here(triage, folder):
    text = (folder / "taxonomy.yaml").read_text()
    (folder / "taxonomy.yaml").write_text(text.partition("      - id: other")[0])
    some = [t for t in SHIPPED if t["label"]["category"] != "other"]
    write(folder / "test.jsonl", some[:30])
    write(folder / "more.jsonl", noisy(some[30:150]))
    plain, _ = evaluated(triage, folder, "--llm", "primary")
    assert plain["results"][0]["calibration"]["state"] == "uncalibrated"
    write(
        folder / "more.jsonl",
        [t | {"label": "refunds" if at % 3 == 0 else t["label"]["category"]} for at, t in enumerate(some[30:150])],
    )
    scaled, _ = evaluated(triage, folder, "--llm", "primary", "--calibrate", "more.jsonl")
    assert scaled["results"][0]["calibration"]["state"] == "calibrated"


def test_nothing_of_a_stranger_is_markup_in_the_page(triage, folder):
    evil = '<script>alert("1")</script>\u202e'
    write(folder / "test.jsonl", [SHIPPED[0] | {"id": evil}, SHIPPED[1]])
    write(folder / "train.jsonl", [SHIPPED[0]])
    _, ran = evaluated(triage, folder, "--llm", "primary", "--train", "train.jsonl", "--html", "o.html")
    page = (folder / "o.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert "\u202e" not in page + ran.err
    assert not any(outer in page for outer in ("src=", "href=", "http:", "https:", "url("))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "has no tickets"),
        ('{"body": "a", "label": "refunds"}\n' * 712 + "{\n", "test.jsonl, line 713: not valid JSON."),
        ('{"body": "a", "label": "nonsense"}\n' * 3, "not in the taxonomy: category: 'nonsense' (3 rows)"),
        ('{"body": "a", "label": {"category": "\\u001b[2J"}}\n', "category: '\\x1b[2J' (1 row)"),
        ('{"body": "a", "label": "refunds"}\n{"body": "a"}\n', "1 ticket without a label, the first on line 2"),
        ('{"body": "a", "label": 7}\n', "line 1: `label` must be"),
        ('{"body": "a", "label": "oos"}\n', "No ticket has a label of the taxonomy."),
        ('{"body": "", "label": "refunds"}\n', "No ticket with a label of field category got an answer."),
    ],
)
def test_a_test_file_that_will_not_do_is_refused_in_a_sentence(triage, folder, lines, says):
    (folder / "test.jsonl").write_text(lines)
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "primary", "--json", "o.json")
    assert ran.code == 1
    assert says in ran.err
    assert not (folder / "o.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--llm", "mistral"], "There is no llm 'mistral' in triage.yaml; there are: primary, fallback."),
        (["--llm", "ollama:mistral"], "Nobody knows the card of ollama:mistral"),
        (["--llm", "llamacpp:nowhere.gguf"], "There is no GGUF file at"),
        (["--llm", "linear:nowhere"], "nowhere"),
        (["--llm", "primary", "--taxonomy", "nowhere.yaml"], "nowhere.yaml"),
        (["--llm", "primary", "--test", "-"], "give a file, not standard input"),
        (["--llm", "primary", "--train", "-"], "give a file, not standard input"),
        (["--llm", "linear", "--train", "-"], "give a file, not standard input"),
        (["--llm", "primary", "--calibrate", "-"], "give a file, not standard input"),
        (["--llm", "primary", "--target", "1.5"], "--target is a share"),
        (["--llm", "linear", "--seeds", "3"], "--seeds trains linear several times: say --llm linear and --train too."),
        (["--llm", "primary", "--html", "nowhere/o.html"], "There is no folder nowhere"),
        (["--llm", "primary", "--html", "test.jsonl"], "one of the files that are read"),
        (["--llm", "primary", "--calibrate", "test.jsonl"], "at least 100 labelled tickets, and these are 60"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(triage, folder, options, says):
    ran = triage("evaluate", "--test", "test.jsonl", *options)
    assert ran.code == 1
    assert says in ran.err


def test_a_card_of_other_weights_is_refused(triage, folder, own):
    own.write_text(own.read_text().replace("37c66caf", "00000000", 1))
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "llamacpp:own.gguf")
    assert ran.code == 1
    assert "is not the file its card describes" in ran.err


def test_an_llm_that_lacks_a_label_is_refused(triage, folder):
    (folder / "t.yaml").write_text("fields: {category: {labels: [{id: refunds}, {id: weather}]}}")
    write(folder / "test.jsonl", [{"body": "rain", "label": "weather"}])
    options = ["--test", "test.jsonl", "--taxonomy", "t.yaml"]
    ran = triage("evaluate", *options, "--llm", "primary", "--policy")
    assert ran.code == 1
    assert ran.err.count("was not trained on weather of field category") == 1  # the same for both


def test_an_llm_that_lacks_a_label_is_left_out_beside_one_that_does_not(triage, folder):
    (folder / "t.yaml").write_text(TAXONOMY)
    for name, seed in (("train.jsonl", 0), ("test.jsonl", 1)):
        write(folder / name, tickets(n=120, seed=seed))
    options = ["--test", "test.jsonl", "--train", "train.jsonl", "--taxonomy", "t.yaml", "--json", "o.json"]
    ran = triage("evaluate", *options, "--llm", "linear", "--llm", "primary", "--policy", "--calibrate", "test.jsonl")
    assert ran.code == 0, ran.err
    found = json.loads((folder / "o.json").read_text())
    assert [one["llm"] for one in found["results"]] == ["linear"]
    assert found["notes"][0] == (
        "Left out: primary, policy. The llm primary was not trained on cards of field category: "
        "change taxonomy.yaml or use another llm."
    )
    assert "Left out: primary, policy." in ran.err


@pytest.mark.parametrize("place", [(asking, "classify"), (service.pages.evaluation, "render")])
def test_a_ctrl_c_leaves_no_half_file(triage, folder, monkeypatch, place):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(*place, interrupted)
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "primary", "--html", "o.html")
    assert ran.code == 130
    assert sorted(path.name for path in folder.iterdir()) == ["taxonomy.yaml", "test.jsonl", "triage.yaml"]
