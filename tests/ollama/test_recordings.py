"""The stand-in says what two real Ollamas said with the same GGUF: status, shape, why it ended, log-probabilities.

The recordings lie beside the checkout; where they do not, these tests are skipped.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standin import Standin, ollama

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ollama_transcripts"
VERSIONS = ["0.24.0", "0.32.15"]
PARAMETERS = {"num_ctx": 1024, "num_batch": 512, "temperature": 0, "repeat_penalty": 1.0}
# What Triage never asks for, and the stand-in therefore does not do.
ELSEWHERE = {"integer enum", "json schema", "embed of a generating model"}
# Kernels and flash attention differ between the builds.
CLOSE = 0.02


def cases(version: str) -> list[dict[str, Any]]:
    path = RECORDINGS / f"v{version}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def served(case: dict[str, Any]) -> bool:
    return case["case"] not in ELSEWHERE and not case["path"].startswith("/v1/")


@pytest.fixture(scope="module", params=VERSIONS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Standin, Any]]:
    found = cases(request.param)
    if not found:
        pytest.skip(f"no recordings at {RECORDINGS}")
    with ollama(tmp_path_factory.mktemp("ollama"), version=request.param, says="0.0.0") as standin:
        standin.add("tiny", RECORDINGS / "tiny.gguf", **PARAMETERS)
        yield standin, found


def shape(value: Any) -> Any:
    """Keys and kinds; a list by what its first item is."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key not in ("model_info", "tensors")}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def asked(standin: Standin, case: dict[str, Any]) -> tuple[int, str, Any]:
    body = case["request"]
    content = body.encode() if isinstance(body, str) else None
    json_ = body if content is None and body is not None else None
    answer = httpx.request(case["method"], standin.url + case["path"], content=content, json=json_, timeout=30)
    kind = answer.headers["Content-Type"]
    if "ndjson" in kind:
        return answer.status_code, kind, [json.loads(line) for line in answer.text.splitlines()]
    return answer.status_code, kind, answer.json() if "json" in kind else answer.text


def lines(body: Any) -> list[dict[str, Any]]:
    return body if isinstance(body, list) else [body] if isinstance(body, dict) else []


def probabilities(entry: dict[str, Any]) -> dict[str, float]:
    return {top["token"]: math.exp(top["logprob"]) for top in entry["top_logprobs"]}


def test_every_recorded_answer_is_reproduced(recorded: tuple[Standin, list[dict[str, Any]]]) -> None:
    standin, found = recorded
    compared = 0
    for case in filter(served, found):
        status, kind, body = asked(standin, case)
        name = case["case"]
        assert (status, kind.split(";")[0]) == (case["status"], case["content_type"].split(";")[0]), name
        # The recording servers held other models too, so only what one has to say of a model can be compared.
        if name != "ps after unload":
            assert shape(body) == shape(case["response"]), name
        if status >= 400:
            assert body == case["response"], name
        for ours, theirs in zip(lines(body), lines(case["response"]), strict=True):
            for key in ("response", "done", "done_reason", "prompt_eval_count", "eval_count"):
                assert ours.get(key) == theirs.get(key), (name, key)
            compared += _compare(ours.get("logprobs", []), theirs.get("logprobs", []), name)
    assert compared > 300


def _compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], name: str) -> int:
    """How many probabilities are close; what one list lacks is no likelier than the other list's last."""
    count = 0
    for mine, real in zip(ours, theirs, strict=True):
        one, other = probabilities(mine), probabilities(real)
        assert len(one) == len(other)
        for token in one.keys() | other.keys():
            assert abs(one.get(token, min(one.values())) - other.get(token, min(other.values()))) < CLOSE, (name, token)
            count += 1
    return count


def test_nothing_recorded_is_left_out_unseen(recorded: tuple[Standin, list[dict[str, Any]]]) -> None:
    left_out = {case["case"] for case in recorded[1] if not served(case)}
    assert left_out == {*ELSEWHERE, "openai completions: no logprobs", "openai chat: logprobs"}
