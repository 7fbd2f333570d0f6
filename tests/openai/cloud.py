"""A cloud to test against: several models behind one URL, each answered by llama.cpp's own server; faults on demand.

What is not a fault goes byte for byte to that server and back, but for the model's name, which the server does not look
at.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Before the import, as in the engine: threads that spin at their barriers starve a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import httpx
import xllamacpp
from serving import NO_TLS

CONTEXT = 2_560
LONG = {"error": {"message": "This model's maximum context length is 2560 tokens.", "type": "BadRequestError"}}


class Llama:
    """llama.cpp's own OpenAI-compatible server on loopback, with one GGUF under one name."""

    def __init__(self, gguf: Path, name: str, parallel: int = 4):
        p = xllamacpp.CommonParams()
        p.model.path = str(gguf)
        p.model_alias = {name}
        p.hostnames = ["127.0.0.1"]
        p.port = 0
        p.n_parallel, p.n_ctx = parallel, CONTEXT * parallel
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
        p.n_gpu_layers = p.cache_ram_mib = p.verbosity = 0
        p.warmup = p.fit_params = p.ui = False
        self.server = xllamacpp.Server(p)
        # A server that is dropped before its loop runs never ends; an answer proves that it runs.
        self.server.handle_completions({"prompt": "a", "max_tokens": 1})
        self.url = f"{self.server.listening_address}/v1"


@dataclass
class Cloud:
    """The state. `refused` are top-level keys of a request that get 422, `without` paths that get 404.

    `fault` is a status, or stall, drip, html, nothing (200 without log-probabilities), huge (absurd counts and times),
    or a number to be said instead of each log-probability; `faulty` is the only model that has it.
    """

    url: str = ""
    key: str | None = None
    models: dict[str, Llama] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    fault: int | str | float | None = None
    faulty: str | None = None
    retry_after: str | None = None
    usage: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False, verify=NO_TLS))

    def add(self, name: str, gguf: Path) -> None:
        self.models[name] = Llama(gguf, name)

    def take(self, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        """What a well server answers."""
        if path in self.without:
            return 404, b'{"detail":"Not Found"}'
        if body is None:
            return 200, json.dumps({"object": "list", "data": [{"id": name} for name in self.models]}).encode()
        if unknown := self.refused & body.keys():
            # As FastAPI does: the answer repeats what was sent.
            return 422, json.dumps({"detail": [{"loc": sorted(unknown), "input": body}]}).encode()
        if body["model"] not in self.models:
            return 404, b'{"error":{"message":"The model does not exist","code":"model_not_found"}}'
        answer = self.client.post(self.models[body["model"]].url + path, json=body)
        return answer.status_code, self._renamed(body["model"], answer)

    def _renamed(self, model: str, answer: httpx.Response) -> bytes:
        said = answer.json() | {"model": self.versions.get(model, model)}
        if not self.usage:
            said.pop("usage", None)
        return json.dumps(said).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: sent apart, the second would wait 40 ms for the first one's receipt.
    wbufsize = 1 << 16

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: dict[str, Any] | None) -> None:
        cloud: Cloud = self.server.cloud  # type: ignore[attr-defined]
        path = self.path.removeprefix("/v1")
        with cloud.lock:
            cloud.paths.append(path)
            cloud.requests.append(body or {})
            cloud.in_flight += body is not None
            cloud.most_in_flight = max(cloud.most_in_flight, cloud.in_flight)
        try:
            self._answer(cloud, path, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with cloud.lock:
                cloud.in_flight -= body is not None

    def _answer(self, cloud: Cloud, path: str, body: dict[str, Any] | None) -> None:
        wanted = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if cloud.key is not None and wanted != cloud.key:
            # As OpenAI does: the sentence holds a part of the key.
            self._send(401, json.dumps({"error": {"message": f"Incorrect API key: {wanted}"}}).encode())
            return
        fault = cloud.fault if body is not None and cloud.faulty in (None, body["model"]) else None
        if fault in ("stall", "drip"):
            self._stall(cloud, drip=fault == "drip")
        elif fault == "html":
            self._send(200, b"<html>Sign in</html>")
        elif isinstance(fault, int):
            trouble = LONG if fault == 400 else {"error": {"message": f"no: {body}", "code": "some_trouble"}}
            self._send(fault, json.dumps(trouble).encode(), cloud.retry_after)
        else:
            status, said = cloud.take(path, body)
            self._send(status, _broken(said, fault) if fault is not None and status == 200 else said)

    def _stall(self, cloud: Cloud, *, drip: bool) -> None:
        """Nothing comes, or a byte now and then, until the caller leaves or the test is over."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.flush()
        while not cloud.over.wait(0.02):
            if drip:
                self.wfile.write(b" ")
                self.wfile.flush()
        self.close_connection = True

    def _send(self, status: int, content: bytes, retry_after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)


def _broken(said: bytes, fault: str | float) -> bytes:
    """An answer without log-probabilities, or with the same number for each, or with huge ones besides."""
    answer = json.loads(said)
    choice = answer["choices"][0]
    if fault == "huge":
        answer["usage"] = dict.fromkeys(answer["usage"], 3_000_000_000)
        answer["timings"] = dict.fromkeys(("prompt_ms", "predicted_ms"), 10**400)
    elif isinstance(fault, float):
        for one in choice["logprobs"]["content"][0]["top_logprobs"]:
            one["logprob"] = fault
    else:
        choice["logprobs"] = None
    return json.dumps(answer).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


@contextmanager
def cloud(**settings: Any) -> Iterator[Cloud]:
    """A running cloud on a free port of loopback."""
    made = Cloud(**settings)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.cloud = made  # type: ignore[attr-defined]
    made.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
        made.client.close()
        made.models.clear()
